"""Integrity of a run: each file against its own digest and the certificate, and every figure computed again from the files.

Each result carries its own check, the digest of files.write_result or a CRC in every line, which every reader verifies. The
certificate states the SHA-256 of those that are final when it is written.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import has_digest, read_json
from scarlet_tf.export.certificate import CERTIFICATE_VERSION, certificate_text, check_digests
from scarlet_tf.export.verification import Check
from scarlet_tf.results import Certificate, NetworkResult, to_json
from scarlet_tf.run.exporting import FINAL, folded_network, verification
from scarlet_tf.run.folder import Run, from_here, is_run, open_existing
from scarlet_tf.search.journal import read_lines
from scarlet_tf.space.cost import count_spec
from scarlet_tf.training.learning import FILE

TOP1_TOLERANCE = 0.005
"""Allowed difference of a top-1 from the certificate's: other processors round differently, and a few images flip."""
_JOURNALS = (*(name for name in FINAL if name.endswith(".jsonl")), "compare/evaluations.jsonl")
_RESULTS = (
    *(name for name in FINAL if name.endswith(".json")),
    "export/certificate.json",
    "timing.json",
    "supernet/monitor.json",
    f"supernet/{FILE}",
    f"retrain/{FILE}",
    "ranking/result.json",
    "compare/compare.json",
)
# Advice for results that `scarlet run` does not make again.
_REMEDIES = {
    "finalists.json": "remove it; a search measures them again",
    "search/sizes/result.json": "remove it; `scarlet search` makes it again from the journals beside it",
    "race/result.json": "remove it; `scarlet run` writes it again from the files of the race",
    "supernet/monitor.json": "remove it; the report omits it",
    f"supernet/{FILE}": "remove it",
    f"retrain/{FILE}": "remove it",
    "ranking/result.json": "remove it, and `scarlet rank` makes it again",
    "compare/compare.json": "remove it, and `scarlet search --compare` makes it again",
}


def verify_files(files: Sequence, run_dir=None) -> list[dict[str, Any]]:
    """Verify files, one row each; `run_dir` is by default found from the first file's path."""
    paths = [pathlib.Path(file) for file in files]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"{path}: expected a .tflite file or a SavedModel folder, found nothing{from_here(path)};"
                " runs/NAME of `scarlet run` has them in export/"
            )
    folder = pathlib.Path(run_dir) if run_dir else find_run_dir(paths[0])
    run = open_existing(folder)
    _load_data(run)
    return [{"file": str(path), **verification(run, path)} for path in paths]


def verify_run(folder, digests_only: bool = False) -> dict[str, Any]:
    """Compare a run's files and figures with its certificate: {"run", "passed", "checks", "files", "unchecked"}.

    Checks the SHA-256 of every file and the results' own digests; then computes again, from the files, everything that can
    be: the network's costs, the data's fingerprint, and each file's operations, partitions, parity and top-1. A
    file that is not the certificate's is not run. Latencies are not compared: they depend on the host. "unchecked" names
    results of an earlier version, in which changes cannot be detected.
    """
    run = open_existing(folder)
    path = run.file(Certificate)
    try:
        certificate = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; `scarlet export`, or `scarlet run`, writes it") from error
    version = certificate.get("certificate_version") if isinstance(certificate, Mapping) else None
    if version != CERTIFICATE_VERSION:
        raise InputError(f"{path}: certificate_version: expected {CERTIFICATE_VERSION}, got {version!r}")
    try:
        digests = check_digests(certificate, run.export_folder)
        named = (*certificate["files"], *certificate["other_files"])
        changed = {row["file"] for row, check in zip(named, digests, strict=True) if not check.passed}
        results = check_results(run.folder, "summary.json")
        checks = [*digests, *results, check_text(run.folder, certificate)]
        rows = []
        # A changed file is neither loaded nor run: it may crash an interpreter.
        if not digests_only and not any(file.endswith(".keras") for file in changed):
            _load_data(run)
            checks += _check_figures(run, certificate)
            for row in certificate["files"]:
                found, failed = _verify_again(run, row) if row["file"] not in changed else ([], [])
                rows += found
                checks += failed
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a certificate, {type(error).__name__}: {error}") from error
    return {
        "run": str(folder),
        "passed": all(check.passed for check in checks),
        "checks": [check.to_dict() for check in checks],
        "files": rows,
        "unchecked": unchecked(run.folder, "summary.json"),
    }


def find_run_dir(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above `path` that holds a config.yaml."""
    for folder in path.resolve().parents:
        if is_run(folder):
            return folder
    raise InputError(f"{path}: it lies in no run folder; name the run it belongs to with --run-dir")


def _load_data(run: Run) -> None:
    """Load the run's dataset now; InputError names the configuration, as `data.directory` may be relative to elsewhere."""
    try:
        run.data  # noqa: B018 - loaded once
    except InputError as error:
        raise InputError(f"{run.folder / 'config.yaml'}: {error}") from error


def _check_figures(run: Run, certificate: Mapping) -> Iterator[Check]:
    yield _equal("data fingerprint", certificate["dataset"]["fingerprint"], run.data.fingerprint)
    choices: str
    test: Any
    try:
        stated = run.get(NetworkResult)
        choices, test = stated.architecture.to_string(), to_json(stated.test)
    except InputError as error:
        choices = test = f"no readable {run.file(NetworkResult).name}: {error}"
    yield _equal("architecture", certificate["architecture"]["string"], choices)
    yield _equal("test figures", certificate["details"].get("test", test), test)
    cost = count_spec(folded_network(run)[0].spec)
    yield _equal("multiply-adds", certificate["multiply_adds"], cost.multiply_adds)
    yield _equal("params", certificate["params"], cost.params)


def _verify_again(run: Run, row: Mapping) -> tuple[list[dict], list[Check]]:
    """A file's figures (none if it does not run) and their comparison with its row in the certificate."""
    name, stated = row["file"], row["verification"]
    path = run.export_folder / name
    try:
        found = verification(run, path)
    except InputError as error:
        return [], [Check(name, "a file that runs", str(error), False)]
    checks = [Check(**{**check, "name": f"{name} {check['name']}"}) for check in found["checks"]]
    for key in ("operations", "partitions", "inputs", "outputs", "num_images"):
        checks.append(_equal(f"{name} {key}", stated[key], found[key]))
    for key in ("top1", "model_top1"):
        near = abs(stated[key] - found[key]) <= max(TOP1_TOLERANCE, 1 / found["num_images"])
        checks.append(Check(f"{name} {key}", f"{stated[key]:.4f}", f"{found[key]:.4f}", near))
    return [{**found, "file": str(path)}], checks


def _equal(name: str, stated, found) -> Check:
    return Check(name, str(stated), str(found), stated == found)


def check_results(folder: pathlib.Path, *further: str) -> list[Check]:
    """A check of each result and journal in the folder by its own digest or CRCs; `further`: names of other results."""
    checks = []
    for name in _present(folder, *_RESULTS, *further, *_JOURNALS):
        fault = _fault(folder, name)
        checks.append(Check(name, "as it was written", fault or "as it was written", not fault))
    return checks


def unchecked(folder: pathlib.Path, *further: str) -> list[str]:
    """Names of results, `further` ones among them, that an earlier version wrote: they contain no check."""
    return [name for name in _present(folder, *_RESULTS, *further) if not has_digest(folder / name)]


def _present(folder: pathlib.Path, *patterns: str) -> list[str]:
    """Names of the files in the folder, those of each pattern in alphabetical order."""
    return [path.relative_to(folder).as_posix() for pattern in patterns for path in sorted(folder.glob(pattern))]


def check_text(folder: pathlib.Path, certificate: Mapping) -> Check:
    """Check certificate.md, the readable copy of certificate.json."""
    path = folder / "export" / "certificate.md"
    try:
        same = path.read_text(encoding="utf-8") == certificate_text(certificate)
    except (OSError, UnicodeDecodeError):
        return Check(path.name, "the text of certificate.json", "no readable file", False)
    return Check(path.name, "the text of certificate.json", "the same" if same else "another text", same)


def complaints(folder: pathlib.Path) -> list[str]:
    """One sentence for each result, journal or exported file that is not as the run wrote it."""
    return list(_complaints(folder))


def _complaints(folder: pathlib.Path) -> Iterator[str]:
    known = {check.name: check.found for check in check_results(folder) if not check.passed}
    yield from (f"{folder / name}: {found}" for name, found in known.items())
    path = folder / "export" / "certificate.json"
    if not path.exists() or "export/certificate.json" in known:
        return
    certificate = read_json(path)
    if not (text := check_text(folder, certificate)).passed:
        yield f"{path.with_name(text.name)}: expected {text.expected}, found {text.found}"
    result, stated = folder / NetworkResult.FILE, certificate["details"].get("test")
    if (
        stated
        and result.exists()
        and "retrain/result.json" not in known
        and (found := read_json(result)["test"]) != stated
    ):
        yield f"{result}: expected the test figures that {path} states, {stated}, found {found}"
    rows = (*certificate["files"], *certificate["other_files"])
    for row, check in zip(rows, check_digests(certificate, path.parent), strict=True):
        name = os.path.normpath(f"export/{row['file']}")
        if not check.passed and name not in known:
            yield f"{folder / name}: expected the file that {path} states, {check.expected}, found {check.found}"


def _fault(folder: pathlib.Path, name: str) -> str | None:
    """The fault of an existing file and the remedy; None if it is intact."""
    path = folder / name
    if path.suffix == ".jsonl":
        lines = read_lines(path)
        torn = [str(number) for number, line in enumerate(lines, 1) if line is None]
        return f"torn or changed: line {', '.join(torn[:5])} of {len(lines)}; restore it" if torn else None
    try:
        read_json(path)
    except InputError as error:
        is_kept = name.startswith("search/sizes/")  # nothing reads it once a size is chosen
        remedy = _REMEDIES.get(name, "remove it" if is_kept else "`scarlet run` makes it again")
        return f"{str(error).removeprefix(f'{path}: ')}; {remedy}"
    return None
