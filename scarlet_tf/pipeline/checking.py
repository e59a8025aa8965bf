"""Verification of exported files, or of a whole run against its certificate, with the present machine and libraries."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.config import load_config
from scarlet_tf.cost import count_spec
from scarlet_tf.errors import InputError
from scarlet_tf.export.certificate import CERTIFICATE_VERSION, check_digests
from scarlet_tf.export.checks import Check
from scarlet_tf.files import read_json
from scarlet_tf.pipeline.exporting import folded_network, verification
from scarlet_tf.pipeline.results import check_results, check_text, unchecked
from scarlet_tf.pipeline.run import Run

TOP1_TOLERANCE = 0.005
"""Allowed difference of a top-1 from the certificate's: other processors round differently, and a few images flip."""


def verify_files(files: Sequence, run_dir=None) -> list[dict[str, Any]]:
    """Verify files, one row each; `run_dir` is by default found from the first file's path."""
    paths = [pathlib.Path(file) for file in files]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"{path}: expected a .tflite file or a SavedModel folder, found nothing{_from_here(path)};"
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
    run = open_existing(pathlib.Path(folder))
    try:
        certificate = read_json(run.certificate)
    except InputError as error:
        raise InputError(f"{error}; `scarlet export`, or `scarlet run`, writes it") from error
    version = certificate.get("certificate_version") if isinstance(certificate, Mapping) else None
    if version != CERTIFICATE_VERSION:
        raise InputError(f"{run.certificate}: certificate_version: expected {CERTIFICATE_VERSION}, got {version!r}")
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
        raise InputError(f"{run.certificate}: expected a certificate, {type(error).__name__}: {error}") from error
    return {
        "run": str(folder),
        "passed": all(check.passed for check in checks),
        "checks": [check.to_dict() for check in checks],
        "files": rows,
        "unchecked": unchecked(run.folder, "summary.json"),
    }


def is_run(path) -> bool:
    """True if `path` is a run's folder."""
    return (pathlib.Path(path) / "config.yaml").exists()


def find_run_dir(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above `path` that holds a config.yaml."""
    for folder in path.resolve().parents:
        if is_run(folder):
            return folder
    raise InputError(f"{path}: it lies in no run folder; name the run it belongs to with --run-dir")


def open_existing(folder: pathlib.Path) -> Run:
    """The run in a folder, without reading its dataset; InputError if it is not a run folder."""
    if not is_run(folder):
        raise InputError(
            f"{folder}: expected a run folder with config.yaml, which `scarlet run CONFIG` makes{_from_here(folder)}"
        )
    return Run(load_config(folder / "config.yaml"), folder)


def _from_here(path: pathlib.Path) -> str:
    return "" if path.is_absolute() else f"; looked for {path.absolute()}, for the path counts from the current folder"


def _load_data(run: Run) -> None:
    """Load the run's dataset now; InputError names the configuration, as `data.directory` may be relative to elsewhere."""
    try:
        run.data  # noqa: B018 - loaded once
    except InputError as error:
        raise InputError(f"{run.folder / 'config.yaml'}: {error}") from error


def _check_figures(run: Run, certificate: Mapping) -> Iterator[Check]:
    yield _equal("data fingerprint", certificate["dataset"]["fingerprint"], run.data.fingerprint)
    try:
        stated = read_json(run.retrain_result)
        choices, test = ",".join(map(str, stated["architecture"]["choices"])), stated["test"]
    except (InputError, KeyError, TypeError) as error:
        choices = test = f"no readable {run.retrain_result.name}: {error}"
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
