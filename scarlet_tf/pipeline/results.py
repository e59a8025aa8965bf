"""Checks of a run's files whose figures are shown, and the messages about those that were changed.

Each carries its own check, the digest of files.write_result or a CRC in every line, which every reader verifies. The
certificate states the SHA-256 of those that are final when it is written.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

from scarlet_tf.errors import InputError
from scarlet_tf.export.certificate import check_digests
from scarlet_tf.export.checks import Check
from scarlet_tf.files import has_digest, read_json
from scarlet_tf.report.certificate import certificate_text
from scarlet_tf.search.journal import read_lines
from scarlet_tf.training.learning import FILE

# Files that the certificate lists beside the exported files and the network.
FINAL = (
    "config.yaml",
    "dataset.json",
    "supernet/result.json",
    "search/trials.jsonl",
    "pareto.json",
    "finalists.json",
    "retrain/result.json",
    "optimize/result.json",
)
_JOURNALS = ("search/trials.jsonl", "compare/evaluations.jsonl")
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
    "supernet/monitor.json": "remove it; the report omits it",
    f"supernet/{FILE}": "remove it",
    f"retrain/{FILE}": "remove it",
    "ranking/result.json": "remove it, and `scarlet rank` makes it again",
    "compare/compare.json": "remove it, and `scarlet search --compare` makes it again",
}


def final_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Existing files of FINAL."""
    return [folder / name for name in FINAL if (folder / name).exists()]


def check_results(folder: pathlib.Path, *further: str) -> list[Check]:
    """A check of each result and journal in the folder by its own digest or CRCs; `further`: names of other results."""
    checks = []
    for name in (*_RESULTS, *further, *_JOURNALS):
        if (folder / name).exists():
            fault = _fault(folder, name)
            checks.append(Check(name, "as it was written", fault or "as it was written", not fault))
    return checks


def unchecked(folder: pathlib.Path, *further: str) -> list[str]:
    """Names of results, `further` ones among them, that an earlier version wrote: they contain no check."""
    return [name for name in (*_RESULTS, *further) if (folder / name).exists() and not has_digest(folder / name)]


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
    result, stated = folder / "retrain" / "result.json", certificate["details"].get("test")
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
    if name in _JOURNALS:
        lines = read_lines(path)
        torn = [str(number) for number, line in enumerate(lines, 1) if line is None]
        return f"torn or changed: line {', '.join(torn[:5])} of {len(lines)}; restore it" if torn else None
    try:
        read_json(path)
    except InputError as error:
        remedy = _REMEDIES.get(name, "`scarlet run` makes it again")
        return f"{str(error).removeprefix(f'{path}: ')}; {remedy}"
    return None
