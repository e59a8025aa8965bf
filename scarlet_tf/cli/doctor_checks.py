"""Checks of `scarlet doctor`: Python and packages, TensorFlow and devices, the machine, folders, a configuration.

Each check yields findings. What a check imports, it imports itself, so that a broken installation is a finding, too.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import gibibytes

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclasses.dataclass(frozen=True)
class Finding:
    """status: "ok", "warning" (a run works, perhaps not as intended) or "problem"; advice: the next step, if there is one."""

    check: str
    status: str
    found: str
    advice: str = ""


def judged(good: bool, check: str, found: str, advice: str, otherwise: str = WARNING) -> Finding:
    """A finding that is fine, or of the status `otherwise` with advice."""
    return Finding(check, OK, found) if good else Finding(check, otherwise, found, advice)


# -- Python and packages, against this package's metadata ---------------------------------------------------------

DISTRIBUTION = "scarlet_tf"
SHOWN = ("tensorflow", "keras", "keras-tuner", "ai-edge-litert", "numpy")
PURPOSES = {
    "jax": "FairLanes on JAX",
    "mediapipe": "a test that opens exported files",
    "optimization": "quantisation-aware training and pruning",
    "pretrained": "parent.name: lite0, lite1 or lite2, and .safetensors files",
    "serving": "export.warm_up",
    "tensorboard": "tensorboard: true",
    "torch": "PyTorch's checkpoints",
}


def check_python() -> Iterator[Finding]:
    """Check the interpreter against Requires-Python."""
    from packaging.specifiers import SpecifierSet

    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    version = platform.python_version()
    fits = SpecifierSet(wanted).contains(version, prereleases=True)
    found = version if fits else f"{version}, expected {wanted}"
    yield judged(fits, "python", found, "make a virtual environment with such a Python", PROBLEM)


def check_packages() -> Iterator[Finding]:
    """Check every required package; those that satisfy the requirements share a line, which names some."""
    fitting: dict[str, str] = {}
    for requirement in _requirements():
        version = _version(requirement)
        install = f"pip install '{requirement.name}{requirement.specifier}'"
        if version is None:
            yield Finding("packages", PROBLEM, f"{requirement.name} is not installed", install)
        elif not _fits(requirement, version):
            text = f"{requirement.name} {version}, tested with {requirement.specifier}"
            yield Finding("packages", WARNING, text, install)
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
        found = f"other versions than tested: {', '.join(others)}" if others else f"installed, for {purpose}"
        yield judged(not others, name, found, install)


def _requirements(extra: str = "") -> Iterator[Requirement]:
    """Requirements of one extra alone, or those of every installation."""
    from packaging.requirements import Requirement

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


# -- TensorFlow, Keras and their devices --------------------------------------------------------------------------

_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"


def check_tensorflow() -> Iterator[Finding]:
    """Check that TensorFlow can be imported and computes."""
    try:
        import tensorflow as tf
    except Exception as error:  # a broken installation may raise anything
        found = f"cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
        yield Finding("tensorflow", PROBLEM, found, "pip install --force-reinstall tensorflow")
        return
    total = float(tf.reduce_sum(tf.matmul(tf.ones([8, 8]), tf.ones([8, 8]))))
    found = f"{tf.__version__} calculates" if total == 8**3 else f"{tf.__version__}: 512 became {total}"
    yield judged(total == 8**3, "tensorflow", found, "", PROBLEM)


def check_keras() -> Iterator[Finding]:
    """Check that Keras 3 runs on TensorFlow in float32, which everything except layers and models needs."""
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        yield Finding("keras", PROBLEM, "TF_USE_LEGACY_KERAS makes TensorFlow use Keras 2", "unset TF_USE_LEGACY_KERAS")
    try:
        host.check()
        import keras
    except InputError as error:
        found, _, advice = str(error).partition("; ")
        yield Finding("keras", PROBLEM, found, advice)
        return
    yield Finding("keras", OK, f"{keras.__version__} on TensorFlow")


def check_devices() -> Iterator[Finding]:
    """List GPUs, or possible reasons for their absence."""
    import tensorflow as tf

    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    if gpus:
        grows = os.environ.get(_GROWTH, "").lower() == "true"
        found = f"{', '.join(gpus)}; a process takes {'memory as it needs it' if grows else 'all of the memory'}"
        yield Finding("devices", OK, found, "" if grows else f"to share a GPU: export {_GROWTH}=true")
    elif shutil.which("nvidia-smi"):
        text = "nvidia-smi is there, but TensorFlow sees no GPU"
        yield Finding("devices", WARNING, text, "pip install 'tensorflow[and-cuda]', then: nvidia-smi")
    else:
        yield Finding("devices", OK, "no GPU: processors train; configs for small images are meant for that")


# -- the machine --------------------------------------------------------------------------------------------------

# A small run's needs, with a margin: TensorFlow alone takes several hundred MiB, a run folder tens of MiB.
LEAST_MEMORY = 2 * 2**30
LEAST_DISK = 2**30
PROGRAMS = {
    "adb": ("--adb, latencies on a phone", "install Android's platform-tools"),
    "npm": ("make browser, a page that classifies", "install Node.js"),
    "chromium": ("tools/bench_browser.py", "pip install playwright && playwright install chromium"),
}


def check_cores() -> Iterator[Finding]:
    """Count the cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", OK, f"{usable} usable of {os.cpu_count()}")


def check_memory() -> Iterator[Finding]:
    """Check total and free memory of the machine or its container."""
    from scarlet_tf.training.memory import limit_bytes, reachable_bytes

    limit, free = limit_bytes(), reachable_bytes()
    found = "; ".join(filter(None, [f"{gibibytes(free)} of {gibibytes(limit)} available", host.allocator_in_words()]))
    advice = "end other programs, or: --set supernet.execution=sequential --set supernet.batch_size=32"
    yield judged(free >= LEAST_MEMORY, "memory", found, advice)


def check_disk(folder: str | os.PathLike = ".") -> Iterator[Finding]:
    """Check that run folders can be written below the current folder, and the free space."""
    path = pathlib.Path(folder).resolve()
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        advice = "change to a folder of yours, or give --run-dir"
        yield Finding("disk", PROBLEM, f"{path} cannot be written: {error.strerror or error}", advice)
        return
    free = shutil.disk_usage(path).free
    found, advice = f"{gibibytes(free)} free in {path}", "make room, or give --run-dir on another disk"
    yield judged(free >= LEAST_DISK, "disk", found, advice)


def check_programs() -> Iterator[Finding]:
    """Check programs that only some commands need; a missing one is not a fault."""
    for program, (purpose, advice) in PROGRAMS.items():
        place = shutil.which(program)
        found = f"{place}, for {purpose}" if place else f"not found; only for {purpose}"
        yield Finding(f"program {program}", OK, found, "" if place else advice)


# -- folders and a configuration ----------------------------------------------------------------------------------


def check_data_folder() -> Iterator[Finding]:
    """Check $SCARLET_DATA_DIR."""
    from scarlet_tf.data.sources import DATA_DIR_VARIABLE, data_root

    root = data_root()
    if root is None:
        found = f"{DATA_DIR_VARIABLE} is not set: relative folders are looked up in the current one alone"
        yield Finding("data folder", OK, found)
    elif not _is_readable(root):
        advice = f"export {DATA_DIR_VARIABLE}=/a/folder/with/datasets, or unset it"
        yield Finding("data folder", PROBLEM, f"{DATA_DIR_VARIABLE}={root} is no readable folder", advice)
    else:
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        more = ", ..." if len(names) > 5 else ""
        yield Finding("data folder", OK, f"{root} with {len(names)} folders: {', '.join(names[:5])}{more}")


def check_zoo_folder() -> Iterator[Finding]:
    """Check $SCARLET_ZOO_DIR or its default."""
    from scarlet_tf.models.zoo_data import FOLDER_VARIABLE, find_own, own_names, zoo_folder

    folder = zoo_folder()
    if not folder.exists():
        where = "" if os.environ.get(FOLDER_VARIABLE) else ", the default place"
        yield Finding("zoo folder", OK, f"{folder}{where}: not there yet", "scarlet zoo NAME --add runs/RUN makes it")
        return
    if not _is_readable(folder):
        advice = f"export {FOLDER_VARIABLE}=/a/folder/of/yours"
        yield Finding("zoo folder", PROBLEM, f"{folder} is no readable folder", advice)
        return
    names = own_names()
    for name in names:
        try:
            find_own(name)
        except InputError as error:
            yield Finding("zoo folder", WARNING, str(error), f"scarlet zoo {name} --remove")
    yield Finding("zoo folder", OK, f"{folder} with {len(names)} networks")


def _is_readable(folder: pathlib.Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)


def check_config(path: str) -> Iterator[Finding]:
    """Check the configuration, its images and the feasibility of its budget."""
    from scarlet_tf.config import load_config

    config = load_config(path)
    yield Finding("config", OK, f"{path} is valid")
    if config.optimization.is_wanted:
        from scarlet_tf.optimization.config import check_extra

        check_extra()
    from scarlet_tf.data.looking import look_at

    facts = look_at(config.data)
    yield from _check_images(facts)
    if not config.finetune.is_wanted:
        yield from _check_budget(config, pathlib.Path(path), len(facts.class_names))


def _check_images(facts) -> Iterator[Finding]:
    """Check classes, numbers and unused files, and the decoding of a sample."""
    from scarlet_tf.data.image_files import LARGEST_SKIPPED_SHARE

    counts = ", ".join(f"{count:,} {split}" for split, count in facts.num_examples.items())
    found = f"{facts.name}: {counts} images of {len(facts.class_names)} classes, shorter side {facts.side} pixels"
    if facts.unreadable:
        few = ", ".join(facts.unreadable[:3])
        found += f"; {len(facts.unreadable)} of {facts.num_sampled} sampled files cannot be decoded: {few}"
    many = len(facts.unreadable) > LARGEST_SKIPPED_SHARE * facts.num_sampled
    advice = f"convert them to JPEG or PNG, or remove them; a run refuses more than {LARGEST_SKIPPED_SHARE:.0%}"
    yield judged(not facts.unreadable, "images", found, advice, PROBLEM if many else WARNING)
    for note in facts.notes:
        yield Finding("images", WARNING, note)


def _check_budget(config, path: pathlib.Path, classes: int) -> Iterator[Finding]:
    from scarlet_tf.search.objectives import cost_model_and_objectives
    from scarlet_tf.space.cost import cost_table

    costs = cost_table(config.space, config.data.image_size, classes)
    figures, objectives = cost_model_and_objectives(costs, **config.search.objective_settings(costs))
    bounds = ", ".join(objectives.bounds_in_words()) or "no bounds"
    yield Finding("budget", OK, f"{bounds}; {figures.reach(['multiply_adds'])}", f"scarlet run {path}")
