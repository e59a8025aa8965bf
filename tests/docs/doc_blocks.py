"""Finds the code blocks of the documentation, and the commands in those of the shell."""

import dataclasses
import pathlib
import re

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "export/**/*.md")
LANGUAGES = ("python", "sh", "yaml", "json", "javascript", "text")


@dataclasses.dataclass(frozen=True)
class Block:
    """One block; `line` is that of its first line of code, from 1; `language` is "" for an indented block.

    `title` is the name of the file that the block shows: ```yaml title="my.yaml".
    """

    document: str
    line: int
    language: str
    text: str
    title: str = ""

    def __str__(self):
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """The Markdown files whose blocks are run, relative to the repository."""
    found = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found if "node_modules" not in path.parts)


def blocks_of(document: str, *languages: str) -> list[Block]:
    """The document's blocks of these languages, or all of them."""
    tokens = MarkdownIt().enable("table").parse((ROOT / document).read_text(encoding="utf-8"))
    found = [_block(document, token) for token in tokens if token.type in ("fence", "code_block")]
    return [block for block in found if not languages or block.language in languages]


def _block(document: str, token) -> Block:
    language, _, rest = token.info.strip().partition(" ")
    title = re.search(r'title="(.*?)"', rest)
    line = token.map[0] + (2 if token.type == "fence" else 1)
    return Block(document, line, language, token.content, title[1] if title else "")


def with_blocks(*languages: str) -> list[str]:
    """The documents that have blocks of these languages."""
    return [document for document in documents() if blocks_of(document, *languages)]


def commands_of(document: str) -> list[str]:
    """The shell's commands in the document, each on one line: continued ones joined, a loop or a quoted text whole."""
    return [command for block in blocks_of(document, "sh") for command in commands_in(block.text)]


def commands_in(text: str) -> list[str]:
    """The commands of one block."""
    commands, open_ = [], ""
    for line in text.splitlines():
        open_ += line
        if line.endswith("\\"):
            open_ = open_[:-1]
        elif open_.count('"') % 2:
            open_ += "\n"
        else:
            if open_.strip() and not open_.lstrip().startswith("#"):
                commands.append(" ".join(open_.split(" #")[0].split(" ")).strip())
            open_ = ""
    return commands
