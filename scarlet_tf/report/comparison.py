"""Printed comparison of searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scarlet_tf.report.summary import PlainConsole


def print_comparison(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one line per algorithm: medians over seeds, with their 95 % intervals."""
    console = console or PlainConsole()
    rows = result["algorithms"]
    table = Table(
        title=f"{', '.join([result['space'], *result['bounds']])}:"
        f" {result['evaluations']} evaluations a search, {max(row['seeds'] for row in rows.values())} seeds",
        title_justify="left",
    )
    table.add_column("search", no_wrap=True)
    for heading in ("hypervolume", f"evaluations to {result['target']:.4f}", "ratio to random"):
        table.add_column(heading, justify="right", overflow="fold")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row['hypervolume']['median']:.4f}",
            interval(row["evaluations_to_target"], ".0f"),
            interval(row.get("ratio_to_random"), ".2f"),
        )
    console.print(table)


def interval(figures: Mapping[str, float | None] | None, form: str) -> str:
    """ "12 [9, 15]"; words for a target that is not reached and so has no number."""
    if figures is None or figures["median"] is None:
        return "-" if figures is None else "not reached"
    low, high = (figures[end] for end in ("low", "high"))
    ends = "" if low is None else f" [{low:{form}}, {'more' if high is None else format(high, form)}]"
    return f"{figures['median']:{form}}{ends}"
