"""The page of the site on the commands of `scarlet`, made from their parser."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator

from scarlet_tf.cli import make_parser

HEAD = """# Commands

Exit codes: 0 success, 1 failure (a check that fails, or a traceback in `run.log`), 2 bad input, 130 interrupted. `--json` prints
the figures as one JSON object and nothing else.

"""


def cli_page() -> str:
    """Markdown: a section for each command with its usage, its options and its examples."""
    return HEAD + "\n".join("\n".join(_section(parser)) for parser in commands(make_parser()))


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, those of commands' actions included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from commands(inner)
            return
    yield parser


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines at the end of the command's --help."""
    return (parser.epilog or "").removeprefix("example: ").split("; ") if parser.epilog else []


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {parser.prog}\n"
    yield f"{parser.description}\n"
    if examples(parser):
        yield "```sh\n" + "\n".join(examples(parser)) + "\n```\n"
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if rows and group.title and group.description:
            yield f"{group.title.capitalize()}: {group.description}\n"
        yield from (_row(action, parser) for action in rows)


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    names = ", ".join(action.option_strings) or action.metavar or action.dest
    value = parser._get_formatter()._format_args(action, action.dest.upper()) if action.option_strings else ""
    meaning = html.escape((action.help or "") % {**vars(action), "prog": parser.prog}, quote=False)
    return f"`{f'{names} {value}'.strip()}`\n:   {meaning[:1].upper() + meaning[1:]}\n"
