"""`scarlet doctor`: checks of a run's requirements, from Python to a tiny network in a .tflite file."""

from __future__ import annotations

import argparse
import sys

from scarlet_tf import logs, streams
from scarlet_tf.cli.output import library_lines_held_back, say, show
from scarlet_tf.cli.parsing import add_command
from scarlet_tf.errors import ChecksFailedError


def add(commands) -> None:
    """Add the command."""
    text = (
        "check what runs need: Python, packages, devices, memory, disk, folders of data, and what training and"
        " export compute, against plain Keras with oneDNN on and off; exit code 1 where something is a problem"
    )
    command = add_command(commands, "doctor", text, "scarlet doctor --config my.yaml", doctor)
    command.add_argument("--config", metavar="CONFIG", help="check this configuration and its images, too")


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
