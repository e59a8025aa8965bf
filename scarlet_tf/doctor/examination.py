"""All checks in order; an exception in a check is reported as a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from scarlet_tf.doctor import folders, frameworks, machine, modes, packages
from scarlet_tf.doctor.finding import PROBLEM, Finding
from scarlet_tf.errors import InputError

Check = Callable[[], Iterable[Finding]]


def examine(config: str | None = None) -> Iterator[Finding]:
    """Yield each finding as soon as it is known. `config`: a configuration that is checked with its images."""
    yield from findings_of(_checks(config))


def _checks(config: str | None) -> Iterator[tuple[str, Check]]:
    yield "python", packages.check_python
    yield "packages", packages.check_packages
    yield "tensorflow", frameworks.check_tensorflow
    yield "keras", frameworks.check_keras
    yield "devices", frameworks.check_devices
    yield "cores", machine.check_cores
    yield "memory", machine.check_memory
    yield "disk", machine.check_disk
    yield "extras", packages.check_extras
    yield "programs", machine.check_programs
    yield "data folder", folders.check_data_folder
    yield "zoo folder", folders.check_zoo_folder
    if config is not None:
        yield "config", lambda: folders.check_config(config)
    yield "trial", modes.check_trials


def findings_of(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Findings of the checks; an exception in one of them is its last finding."""
    for name, check in checks:
        try:
            yield from check()
        except InputError as error:
            yield Finding(name, PROBLEM, str(error))
        except Exception as error:
            yield Finding(name, PROBLEM, f"{type(error).__name__}: {error}".splitlines()[0], "scarlet doctor --verbose")
