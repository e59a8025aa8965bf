"""Commands of the first hour: a check of the machine, a configuration for the user's images, shell completion."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf import logs, streams
from scarlet_tf.arguments import make_parser
from scarlet_tf.commands.terminal import library_lines_held_back, say, show
from scarlet_tf.errors import ChecksFailedError, InputError

# Device files of NVIDIA's driver, of AMD's, and of Windows' in a Linux subsystem.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def completion(arguments: argparse.Namespace) -> None:
    """Print the script for a shell."""
    from scarlet_tf.arguments.completion import completion_script
    from scarlet_tf.models.zoo_folder import zoo_names

    print(completion_script(make_parser(), arguments.shell, zoo_names()))


def init(arguments: argparse.Namespace) -> None:
    """Write a configuration after validating it."""
    if arguments.hours is not None and not arguments.hours > 0:
        raise InputError(f"--hours: expected a number > 0, got {arguments.hours!r}")
    with library_lines_held_back(arguments):
        from scarlet_tf.drafting import data_config, draft, parse_time
        from scarlet_tf.files import file_name, write_text
        from scarlet_tf.settings import quantity

        budget = None if arguments.budget is None else quantity("--budget", arguments.budget)
        seconds = None if arguments.time is None else parse_time(arguments.time)
        data = data_config(arguments.dataset)
        path = pathlib.Path(arguments.out or f"{file_name(_stem(arguments.dataset))}.yaml")
        _check_free(path, arguments.force)
        made = draft(data, budget, _has_gpu(), arguments.name or path.stem, path, seconds)
        write_text(path, made.text)
    commands = _next_commands(path, arguments.hours)
    figures = {"file": str(path), **made.figures, "next": commands}
    show(arguments, figures, lambda figures: say("\n".join(_init_lines(figures))))


def _has_gpu() -> bool:
    """True if TensorFlow sees a GPU; it is imported, which takes time and memory, only if there is a driver."""
    if sys.platform == "linux" and not any(pathlib.Path(device).exists() for device in _GPU_DEVICES):
        return False
    from scarlet_tf.training.memory import gpu_names

    return bool(gpu_names())


def _stem(dataset: str) -> str:
    """A file name for a dataset's name."""
    return pathlib.Path(dataset.removeprefix("tfds:").partition(":")[0]).resolve().name.replace(".", "_") or "my"


def _check_free(path: pathlib.Path, force: bool) -> None:
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out: expected a .yaml file, got {path}")
    if path.exists() and not force:
        raise InputError(f"{path}: it exists; take another --out, or --force to replace it")


def _next_commands(path: pathlib.Path, hours: float | None) -> list[str]:
    # Two trainings and the search get a third each.
    limit = [] if hours is None else ["--max-hours", f"{hours / 3:.3g}"]
    return [
        shlex.join(command)
        for command in (["scarlet", "doctor", "--config", str(path)], ["scarlet", "run", str(path), *limit])
    ]


def _init_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    images = ", ".join(f"{count:,} {split}" for split, count in figures["images"].items())
    yield f"{figures['dataset']}: {images} images, {figures['classes']} classes, shorter side {figures['median_side']} pixels"
    for warning in figures["warnings"]:
        yield f"warning: {warning}"
    least, greatest = (figures["reach"][key] / 1e6 for key in ("least", "greatest"))
    width = figures["width_multiplier"]
    space = figures["space"] + ("" if width == 1 else f" x {width:g}")
    yield f"image_size {figures['image_size']}, space {space}: {least:.2f} M to {greatest:.2f} M multiply-adds"
    if figures["forecast_seconds"]:
        from scarlet_tf.config.run_time import in_words

        yield f"forecast {in_words(figures['forecast_seconds'])} (steps were tried here; other work on this machine counts)"
    else:
        yield "no forecast of the time; --time 10m makes one, and chooses lengths for it; scarlet run makes one, too"
    yield f"wrote {figures['file']}, which explains each choice; next:"
    for command in figures["next"]:
        yield f"  {command}"


def doctor(arguments: argparse.Namespace) -> None:
    """Print each finding as it is made; ChecksFailedError if one is a problem."""

    from scarlet_tf.doctor import OK, PROBLEM, examine

    findings, terminal = [], sys.stdout
    if arguments.loudness == "normal":  # lines are not findings; bars disappear again
        logs.log_to_terminal("quiet")
    with library_lines_held_back(arguments):
        for finding in examine(arguments.config):
            findings.append(finding)
            if not (arguments.json or (arguments.loudness == "quiet" and finding.status == OK)):
                with streams.STDOUT.override(terminal):
                    show(arguments, finding, lambda finding: say(_finding_text(finding)))
    problems = [finding for finding in findings if finding.status == PROBLEM]
    if arguments.json:
        show(arguments, {"passed": not problems, "checks": [finding.to_dict() for finding in findings]}, print)
    if problems:
        raise ChecksFailedError(f"{len(problems)} of {len(findings)} checks found a problem")


def _finding_text(finding) -> str:
    """Such as "warning  memory           1.20 GiB of 2.00 GiB available -> end other programs"."""
    return f"{finding.status:8} {finding.check:17} {finding.found}{f' -> {finding.advice}' if finding.advice else ''}"
