"""The commands of `scarlet` and their options."""

from __future__ import annotations

import argparse
import importlib.metadata

from scarlet_tf.arguments import networks, runs, start
from scarlet_tf.arguments.common import add_loudness
from scarlet_tf.arguments.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's --help ends with an example, and `handler` names the function that runs it."""
    parser = Parser(
        prog="scarlet",
        description="From a dataset and a budget to the best compact vision network for a phone.",
        epilog="example: scarlet run configs/digits.yaml",
    )
    version = importlib.metadata.version("scarlet_tf")
    parser.add_argument("--version", action="version", version=f"scarlet {version}")
    parser.set_defaults(log=None, loudness="normal")
    add_loudness(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    start.add_doctor(commands)
    start.add_init(commands)
    runs.add_run(commands)
    for name, text in runs.STAGE_HELP.items():
        runs.add_stage(commands, name, text)
    runs.add_finetune(commands)
    runs.add_rank(commands)
    runs.add_report(commands)
    networks.add_cost(commands)
    networks.add_zoo(commands)
    networks.add_verify(commands)
    networks.add_benchmark(commands)
    networks.add_latency(commands)
    start.add_completion(commands)
    return parser
