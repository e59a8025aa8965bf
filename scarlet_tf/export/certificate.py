"""export/certificate.json: the evidence for the exported files in one place."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping

from scarlet_tf.cost import Cost
from scarlet_tf.errors import InputError
from scarlet_tf.files import write_json
from scarlet_tf.space import Architecture

CERTIFICATE_VERSION = 1
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


def write_certificate(
    path,
    *,
    architecture: Architecture,
    cost: Cost,
    files: Mapping[str, Mapping | None],
    seeds: Mapping[str, int],
    dataset: Mapping,
    details: Mapping | None = None,
) -> dict:
    """Writes the certificate and returns it.

    Args:
        cost: multiply-adds and parameters of the exported network.
        files: path of each exported file or folder, with what `verify` said of it (None where it was not run). Paths
            are stated relative to the certificate.
        seeds: by stage.
        dataset: name, fingerprint and what else identifies the data.
        details: anything further, in plain JSON types.
    """
    path = pathlib.Path(path)
    certificate = {
        "certificate_version": CERTIFICATE_VERSION,
        "architecture": {"string": architecture.to_string(), **architecture.to_dict()},
        "space_fingerprint": architecture.space.fingerprint,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        "files": [_describe(pathlib.Path(file), path.parent, result) for file, result in files.items()],
        "seeds": dict(seeds),
        "dataset": dict(dataset),
        "versions": versions(),
        "details": dict(details or {}),
    }
    write_json(path, certificate)
    return certificate


def versions() -> dict[str, str]:
    """Of Python, the platform and the packages that had a part in the figures."""
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


def _describe(file: pathlib.Path, root: pathlib.Path, result: Mapping | None) -> dict:
    size, sha256 = digest(file)
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    verification = None if result is None else {key: value for key, value in result.items() if key != "artifact"}
    return {"file": name, "bytes": size, "sha256": sha256, "verification": verification}


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
