"""Checks of Python and of required and optional packages against this package's metadata."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

DISTRIBUTION = "scarlet_tf"
SHOWN = ("tensorflow", "keras", "keras-tuner", "ai-edge-litert", "numpy")
PURPOSES = {
    "jax": "FairLanes on JAX",
    "mediapipe": "a test that opens exported files",
    "optimization": "quantisation-aware training and pruning",
    "serving": "export.warm_up",
    "tensorboard": "tensorboard: true",
    "torch": "PyTorch's checkpoints",
}


def check_python() -> Iterator[Finding]:
    """Check the interpreter against Requires-Python."""
    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    version = platform.python_version()
    if SpecifierSet(wanted).contains(version, prereleases=True):
        yield Finding("python", OK, version)
    else:
        yield Finding(
            "python", PROBLEM, f"{version}, expected {wanted}", "make a virtual environment with such a Python"
        )


def check_packages() -> Iterator[Finding]:
    """Check every required package; those that satisfy the requirements share a line, which names some."""
    fitting: dict[str, str] = {}
    for requirement in _requirements():
        version = _version(requirement)
        if version is None:
            yield Finding("packages", PROBLEM, f"{requirement.name} is not installed", _install(requirement))
        elif not _fits(requirement, version):
            text = f"{requirement.name} {version}, tested with {requirement.specifier}"
            yield Finding("packages", WARNING, text, _install(requirement))
        else:
            fitting[requirement.name] = f"{requirement.name} {version}"
    if fitting:
        shown = ", ".join(fitting[name] for name in SHOWN if name in fitting)
        yield Finding("packages", OK, f"{len(fitting)} are as required; {shown}")


def check_extras() -> Iterator[Finding]:
    """Check every optional group. A missing one is not a fault: the line states its purpose."""
    for extra, purpose in PURPOSES.items():
        installed = [(requirement, _version(requirement)) for requirement in _requirements(extra)]
        missing = [requirement.name for requirement, version in installed if version is None]
        install = f"pip install '{DISTRIBUTION}[{extra}]'"
        name = f"extra {extra}"
        if missing:
            yield Finding(name, OK, f"not installed ({', '.join(missing)}); only for {purpose}", install)
            continue
        others = [
            f"{r.name} {version} ({r.specifier})" for r, version in installed if version and not _fits(r, version)
        ]
        if others:
            yield Finding(name, WARNING, f"other versions than tested: {', '.join(others)}", install)
        else:
            yield Finding(name, OK, f"installed, for {purpose}")


def _requirements(extra: str = "") -> Iterator[Requirement]:
    """Requirements of one extra alone, or those of every installation."""
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        needed_always = marker is None or marker.evaluate({"extra": ""})
        needed_by_extra = marker is not None and not needed_always and marker.evaluate({"extra": extra})
        if needed_by_extra if extra else needed_always:
            yield requirement


def _version(requirement: Requirement) -> str | None:
    try:
        return importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(requirement: Requirement, version: str) -> bool:
    return requirement.specifier.contains(version, prereleases=True)


def _install(requirement: Requirement) -> str:
    return f"pip install '{requirement.name}{requirement.specifier}'"
