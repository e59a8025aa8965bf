"""The certificate: the evidence for the exported files in one place."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import before_scaling, flat, millions, percent, text_template
from scarlet_tf.export.verification import Check
from scarlet_tf.results import Score, from_json
from scarlet_tf.space.cost import Cost
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture

CERTIFICATE_VERSION = 2
_PACKAGES = (
    "scarlet_tf",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "numpy",
    "tensorflow-datasets",
    "pymoo",
    "keras-tuner",
)


def make_certificate(
    folder,
    *,
    architecture: Architecture,
    cost: Cost,
    files: Mapping[Any, Mapping | None],
    seeds: Mapping[str, int],
    dataset: Mapping,
    others: Iterable = (),
    latencies: Mapping[str, Mapping] | None = None,
    host: Mapping | None = None,
    details: Mapping | None = None,
) -> dict:
    """Content of certificate.json for `folder`, in plain JSON types.

    Args:
        cost: multiply-adds and parameters of the exported network.
        files: path of each exported file or folder, with what `verify` said of it (None where it was not run). Paths
            are stated relative to `folder`.
        seeds: by stage.
        dataset: name, fingerprint and what else identifies the data.
        others: further files whose SHA-256 is stated: the network, labels and metadata.
        latencies: what `benchmark` said of a file, by its path; `host` is what they were measured on.
        details: anything further, in plain JSON types.
    """
    folder, latencies = pathlib.Path(folder), {pathlib.Path(file): row for file, row in (latencies or {}).items()}
    rows = [
        {
            **_describe(pathlib.Path(file), folder),
            "verification": None if result is None else {k: v for k, v in result.items() if k != "artifact"},
            "latency": _latency(latencies.get(pathlib.Path(file))),
        }
        for file, result in files.items()
    ]
    return {
        "certificate_version": CERTIFICATE_VERSION,
        "architecture": {"string": architecture.to_string(), **architecture.to_dict()},
        "space_fingerprint": architecture.space.fingerprint,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        "passed": all(row["verification"]["passed"] for row in rows if row["verification"]),
        "files": rows,
        "other_files": [_describe(pathlib.Path(file), folder) for file in others],
        "host": None if host is None else dict(host),
        "seeds": dict(seeds),
        "dataset": dict(dataset),
        "versions": versions(),
        "details": dict(details or {}),
    }


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that affect the figures."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def digest(path) -> tuple[int, str]:
    """(bytes, SHA-256) of a file; of a folder over the names and contents of all files in it."""
    path = pathlib.Path(path)
    if not path.exists():
        raise InputError(f"{path}: expected an exported file, found none")
    if path.is_file():
        return path.stat().st_size, _sha256(path)
    parts = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    whole = hashlib.sha256("".join(f"{_sha256(file)}  {name}\n" for name, file in parts).encode())
    return sum(file.stat().st_size for _, file in parts), whole.hexdigest()


def check_digests(certificate: Mapping, folder) -> list[Check]:
    """Checks that each file named by the certificate in `folder` is unchanged, one Check per file."""
    return [_check_digest(row, pathlib.Path(folder)) for row in (*certificate["files"], *certificate["other_files"])]


def _check_digest(row: Mapping, folder: pathlib.Path) -> Check:
    path, stated = folder / row["file"], f"{row['sha256'][:16]}..., {row['bytes']} bytes"
    if not path.exists():
        return Check(f"{row['file']} SHA-256", stated, "no such file", False)
    size, sha256 = digest(path)
    return Check(f"{row['file']} SHA-256", stated, f"{sha256[:16]}..., {size} bytes", sha256 == row["sha256"])


def _describe(file: pathlib.Path, root: pathlib.Path) -> dict:
    size, sha256 = digest(file)
    return {"file": pathlib.Path(os.path.relpath(file, root)).as_posix(), "bytes": size, "sha256": sha256}


def _latency(row: Mapping | None) -> dict | None:
    keys = ("milliseconds", "deviation", "runs", "ratio")
    return None if row is None else {key: row[key] for key in keys}


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def certificate_text(certificate: Mapping[str, Any]) -> str:
    """certificate.md for people: everything in certificate.json except operations and single layers."""
    checks = [
        {**check, "file": row["file"]}
        for row in certificate["files"]
        for check in (row["verification"] or {}).get("checks", ())
    ]
    details = certificate["details"]
    before = [details[f"searched_{name}"] for name in ("multiply_adds", "params")] if "scaling" in details else []
    filters: dict[str, Callable] = {"figure": _figure, "flat": flat, "millions": millions, "percent": percent}
    return text_template("scarlet_tf.export", "certificate.md.j2", filters).render(
        certificate,
        checks=checks,
        before_scaling=before_scaling(Scaling(**details["scaling"]), *before) if before else None,
        warning=from_json(Score, details["test"], "certificate").warning if "test" in details else None,
    )


def _figure(value: Any, form: str = "%s") -> str:
    return "-" if value is None else form % value
