"""Blocks: the parts of a section of the page. The templates define the look of each `kind`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Note:
    """A sentence or two; `command` adds what the page lacks, or continues from here."""

    text: str
    command: str | None = None
    kind: ClassVar[str] = "note"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts under `columns`; those numbered in `words` hold words, the others figures.

    is_folded: hidden until the reader opens it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)
    is_folded: bool = False
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class View:
    """One of several views of a plot: the arguments of Plotly's `update` for traces and for the layout."""

    label: str
    traces: Mapping[str, Any]
    layout: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure of Plotly as JSON, with its content in words (`text`) and in figures (`table`).

    views: the options of its selection, labelled `view_label`; the figure is first drawn with the first one.
    """

    identifier: str
    title: str
    figure: str
    text: str
    table: Table | None = None
    views: Sequence[View] = ()
    view_label: str = ""
    kind: ClassVar[str] = "plot"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A network as SVG under a heading."""

    title: str
    svg: Markup
    text: str
    kind: ClassVar[str] = "drawing"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Preformatted text, such as a configuration, under a line that opens it."""

    title: str
    text: str
    kind: ClassVar[str] = "listing"


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The networks of the front, of which one is shown at a time."""

    networks: Sequence[Any]
    table: Table
    first: int
    kind: ClassVar[str] = "gallery"


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    identifier: str
    title: str
    blocks: Sequence[Any]
