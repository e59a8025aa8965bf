"""Commands of the documentation that tests do not run as they are: why not, and what is checked instead."""

import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
from collections.abc import Callable

from doc_blocks import ROOT

from scarlet_tf.cli import make_parser
from scarlet_tf.config import load_config

_OPTION = re.compile(r"--[a-z][a-z-]*")


def is_shell(command: str) -> None:
    """It is a command that bash understands."""
    subprocess.run(["bash", "-n"], input=command, text=True, check=True)


def is_target(command: str) -> None:
    """make knows the target."""
    done = subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def is_script(command: str) -> None:
    """The script, or the test file, is there and knows the options; benchmarks name them as keywords of `parse`."""
    path = next(word for word in shlex.split(command) if word.endswith((".py", ".sh")))
    source = (ROOT / path).read_text(encoding="utf-8")
    own = command.split(" -- ")[0].split(path)[1]
    known = [
        option for option in _OPTION.findall(own) if option in source or f"{option[2:].replace('-', '_')}=" in source
    ]
    assert known == _OPTION.findall(own)


def is_npm_script(command: str) -> None:
    """package.json has the script."""
    words = shlex.split(command)
    scripts = json.loads((ROOT / "export/browser/package.json").read_text())["scripts"]
    assert words[1] in ("ci", "test") or words[2] in scripts


def is_valid(command: str) -> None:
    """scarlet knows the options, and takes the configuration with its overrides; one of the reader's own may be missing."""
    words = shlex.split(command[command.index("scarlet ") :])
    arguments = make_parser().parse_args(words[1:])
    config = getattr(arguments, "config", None)
    if config is not None and (config.startswith("configs/") or pathlib.Path(config).is_file()):
        load_config(config, getattr(arguments, "overrides", ()))


@dataclasses.dataclass(frozen=True)
class Exemption:
    """Commands that begin with `prefix`."""

    prefix: str
    reason: str
    check: Callable[[str], None]


TRAINS = "trains; a slow test runs it"
EXEMPTIONS = (
    Exemption("git clone", "needs the repository's address", is_shell),
    Exemption("make ", "installs, trains or measures for minutes", is_target),
    Exemption("pip install", "downloads packages", is_shell),
    Exemption(". .venv/bin/activate", "the tests' environment is another one", is_shell),
    Exemption("python tools/", "takes minutes, and has its own tests", is_script),
    Exemption("SCARLET_DATA_DIR=data python tools/", "takes minutes, on images that may be missing", is_script),
    Exemption("SCARLET_DATA_DIR=data scarlet run", "takes an hour, on images that may be missing", is_valid),
    Exemption("taskset -c 1 python tools/", "takes minutes", is_script),
    Exemption("tools/check_aarch64.sh", "needs qemu", is_script),
    Exemption("python export/", "tests/export runs the scripts", is_script),
    Exemption("python -m pytest", "is a test", is_script),
    Exemption("python -m http.server", "serves until it is stopped", is_shell),
    Exemption("python -c", "counts for a minute; tests/test_scaling.py has its figures", is_shell),
    Exemption("for file in", "a loop over commands that have blocks of their own", is_shell),
    Exemption("cp runs/digits/export", "copies into the repository", is_shell),
    Exemption("cp runs/my/export", "copies into the repository", is_shell),
    Exemption("export TF_CONFIG", "needs several machines", is_shell),
    Exemption("scarlet train-supernet my.yaml --run-dir /shared/runs/my", "needs several machines", is_valid),
    Exemption("scarlet search my.yaml --run-dir runs/multi", "goes on from what several workers trained", is_valid),
    Exemption("scarlet export my.yaml --run-dir runs/multi", "goes on from what several workers trained", is_valid),
    Exemption("eval ", "tests/cli/test_completion.py asks bash itself", is_shell),
    Exemption("docker run", "needs docker", is_shell),
    Exemption("jupyter execute", "takes minutes; a slow test runs them shortened", is_shell),
    Exemption("npm ", "needs npm and its registry", is_npm_script),
    Exemption("scarlet run my.yaml --run-dir", TRAINS, is_valid),
    Exemption("scarlet run my.yaml --run-dir runs/cluster", "goes on from what several workers searched", is_valid),
    Exemption("scarlet run my.yaml --set optimization", TRAINS, is_valid),
    Exemption("scarlet run runs/other/config.yaml", TRAINS, is_valid),
    Exemption("scarlet init images", "reads images that are not here", is_valid),
    Exemption("scarlet run images.yaml", "trains on images that are not here", is_valid),
    Exemption("scarlet run photos.yaml", TRAINS, is_valid),
    Exemption("scarlet finetune", TRAINS, is_valid),
    Exemption("scarlet finetune scarlet_a --weights scarlet_a.weights.h5", "trains a large network", is_valid),
    Exemption("scarlet finetune scarlet_a --weights ScarletA.pth.tar", "needs the authors' checkpoint", is_valid),
    Exemption("scarlet verify runs/photos", TRAINS, is_valid),
    Exemption("scarlet rank", TRAINS, is_valid),
    Exemption("scarlet search runs/my/config.yaml --run-dir runs/my --compare", TRAINS, is_valid),
)


def exemption_of(command: str) -> Exemption | None:
    """The longest one that fits."""
    fitting = [one for one in EXEMPTIONS if command.startswith(one.prefix)]
    return max(fitting, key=lambda one: len(one.prefix), default=None)


def trains(command: str) -> bool:
    """Whether a slow test runs it."""
    exemption = exemption_of(command)
    return exemption is not None and exemption.reason == TRAINS


# What is run in the shell, beside scarlet's own commands.
HARMLESS = ("cp -r runs/", "sed ")
