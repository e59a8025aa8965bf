"""`scarlet verify`: a run's figures, computed again and compared with its certificate."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.base import host
from scarlet_tf.base.errors import ChecksFailedError, InputError
from scarlet_tf.cli.output import library_lines_held_back, say, show
from scarlet_tf.cli.parsing import add_command
from scarlet_tf.cli.run import print_files


def add(commands) -> None:
    """Add the command."""
    example = "scarlet verify runs/digits; scarlet verify runs/digits/export/model_int8.tflite"
    text = (
        "compute a run's figures again and compare them with its certificate, or compare single files with the Keras network"
        " they came from, on the run's test images; exit code 1 where a check fails"
    )
    command = add_command(commands, "verify", text, example, verify)
    what = "a run folder, or .tflite files and SavedModels of one"
    command.add_argument("files", metavar="RUN|FILE", nargs="+", help=what)
    run_dir = "the run that files belong to (default: the folder they lie in)"
    command.add_argument("--run-dir", metavar="DIR", help=run_dir)
    digests = "of a run: compare the files' SHA-256 alone, which needs no dataset"
    command.add_argument("--digests-only", action="store_true", help=digests)


def verify(arguments: argparse.Namespace) -> None:
    """Compute figures of a run or of files again; ChecksFailedError if they differ."""
    host.check()
    with library_lines_held_back(arguments):
        from scarlet_tf.run import is_run, verify_files, verify_run

        if any(map(is_run, arguments.files)):
            if len(arguments.files) > 1 or arguments.run_dir:
                raise InputError("verify: expected one run folder, or files of one, not both")
            results = verify_run(arguments.files[0], arguments.digests_only)
        else:
            if arguments.digests_only:
                raise InputError("--digests-only: expected a run folder with it")
            results = verify_files(arguments.files, arguments.run_dir)
    show(arguments, results, print_verification)
    failed = [check for check in all_checks(results) if not check["passed"]]
    if failed:
        raise ChecksFailedError(f"{len(failed)} of {len(all_checks(results))} checks failed")


def print_verification(results: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print one line per verified file, then one per failed check. `results`: of `verify_run` or `verify_files`."""
    checks = all_checks(results)
    files = results["files"] if isinstance(results, Mapping) else results
    if files:
        print_files(files)
    for check in checks:
        if not check["passed"]:
            say(f"FAILED {check['name']}: expected {check['expected']}, found {check['found']}")
    if isinstance(results, Mapping) and results["unchecked"]:
        names = ", ".join(results["unchecked"])
        say(f"Not checked, since an earlier version wrote them without a digest: {names}")
    say(f"{sum(check['passed'] for check in checks)} of {len(checks)} checks passed")


def all_checks(results: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The checks of a whole run, or of single files with the files' names."""
    if isinstance(results, Mapping):
        return results["checks"]
    return [{**check, "name": f"{row['file']} {check['name']}"} for row in results for check in row["checks"]]
