"""Printed results of a run: the closing table, one stage's figures, a verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from scarlet_tf.progress import duration
from scarlet_tf.scaling import Scaling
from scarlet_tf.visible import visible


class PlainConsole(Console):
    """Console that prints text literally, since names may hold brackets or colons; callers handle a closed pipe."""

    def __init__(self):
        super().__init__(soft_wrap=True, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render as rich does, with visible characters alone: every text, title and cell passes here."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """Raise the error again; rich calls this while handling it, and would otherwise exit by itself."""
        raise


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the closing table of `scarlet run`, then one line per file."""
    console = console or PlainConsole()
    table = Table(title=f"{summary['name']}: {summary['dataset']['name']}", show_header=False, title_justify="left")
    for name, value in _rows(summary):
        table.add_row(name, value)
    console.print(table)
    console.print(_files_table(summary["files"]))
    console.print(f"Everything is in {summary['run_dir']}", highlight=False)
    if summary.get("report"):
        console.print(f"To look at it, open {summary['report']} in a browser", highlight=False)


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    pick, retrained, searched = summary["pick"], summary["retrained"], "supernet" in summary
    return [
        *(_search_rows(summary) if searched else [("fine-tuned", summary["origin"]["network"])]),
        ("pick" if searched else "network", f"{pick['space']}:{pick['architecture']}"),
        *([("picked as", why_picked(pick))] if searched else []),
        ("cost", f"{millions(pick['multiply_adds'])} multiply-adds, {millions(pick['params'])} params"),
        *([("before scaling", before_scaling(pick))] if "scaling" in pick else []),
        *([("bounds", ", ".join(summary["bounds"]) or "none")] if "bounds" in summary else []),
        (
            f"{'retrained' if searched else 'fine-tuned'} top-1",
            f"{percent(retrained['test_accuracy'])} on {retrained['test_examples']} test images",
        ),
        *(("warning", text) for text in summary.get("warnings", ())),
        ("time", ", ".join(f"{name} {duration(round(seconds))}" for name, seconds in summary["seconds"].items())),
    ]


def _search_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    supernet, front = summary["supernet"], summary["front"]
    return [
        (
            "supernet, one-shot",
            f"mean {percent(supernet['mean_accuracy'])}, best {percent(supernet['best_accuracy'])} on validation images"
            f" ({plural(supernet['evaluated'], 'network')})",
        ),
        ("front", f"{plural(front['size'], 'network')}, {front['picks']} picked"),
    ]


def plural(count: int, noun: str) -> str:
    """Such as "1 network" or "3 networks"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def why_picked(figures: Mapping[str, Any]) -> str:
    """The pick that `retrain.pick` names, with the network's one-shot accuracy and the number of candidates passed over."""
    accuracy, passed_over = percent(figures["one_shot_accuracy"]), len(figures["passed_over"])
    if figures["pick"] == "best":
        chosen = f"best: the most accurate network found within the bounds, {accuracy} one-shot"
    else:
        chosen = f"pick {figures['pick']} of the search, {accuracy} one-shot"
    return chosen + (f"; {plural(passed_over, 'network')} before it out of bounds once folded" if passed_over else "")


def before_scaling(figures: Mapping[str, Any]) -> str:
    """Costs of a scaled network before scaling, to which the search's bounds apply, and its scaling."""
    multiply_adds, params = (millions(figures[f"searched_{name}"]) for name in ("multiply_adds", "params"))
    return f"{multiply_adds} multiply-adds, {params} params; retrained with {Scaling(**figures['scaling'])}"


def chance_warning(test: Mapping[str, Any]) -> str | None:
    """Warning that a network is no better than chance on test images; None if it is better, or if not known."""
    if test.get("above_chance", True):
        return None
    images = plural(test["num_examples"], "test image")
    return (
        f"the network is not better than chance: top-1 of {percent(test['accuracy'])} on {images}"
        f" is not above the {percent(test['most_frequent'])} of their most frequent class by more than the sampling error"
    )


def _files_table(files: Sequence[Mapping[str, Any]]) -> Table:
    table = Table()
    headings: tuple[tuple[str, JustifyMethod], ...] = (
        ("file", "left"),
        ("size", "right"),
        ("max. logit difference", "right"),
        ("top-1", "right"),
    )
    for heading, justify in headings:
        table.add_column(heading, justify=justify, overflow="fold")
    for row in files:
        difference = row["max_logit_difference"]
        table.add_row(
            row["file"],
            f"{row['bytes'] / 1024:.1f} KiB",
            "-" if difference is None else f"{difference:.2g}",
            percent(row["top1"]),
        )
    return table


def print_figures(stage: str, figures: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the single values of a stage's result; longer ones are in the run folder."""
    console = console or PlainConsole()
    table = Table(title=stage, show_header=False, title_justify="left")
    for name, value in flat(figures):
        table.add_row(name, value)
    console.print(table)


def flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, text) of every single value in nested mappings; a list is given by its length."""
    rows = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            rows.append((prefix + name, f"{len(value)} entries"))
        elif value is not None:
            rows.append((prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def print_verification(
    results: Mapping[str, Any] | Sequence[Mapping[str, Any]], console: Console | None = None
) -> None:
    """Print one line per verified file, then one per failed check. `results`: of `verify_run` or `verify_files`."""
    console, checks = console or PlainConsole(), all_checks(results)
    files = results["files"] if isinstance(results, Mapping) else results
    if files:
        console.print(_files_table(files))
    for check in checks:
        if not check["passed"]:
            console.print(
                f"FAILED {check['name']}: expected {check['expected']}, found {check['found']}", highlight=False
            )
    if isinstance(results, Mapping) and results["unchecked"]:
        names = ", ".join(results["unchecked"])
        console.print(f"Not checked, since an earlier version wrote them without a digest: {names}", highlight=False)
    passed = sum(check["passed"] for check in checks)
    console.print(f"{passed} of {len(checks)} checks passed", highlight=False)


def all_checks(results: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The checks of a whole run, or of single files with the files' names."""
    if isinstance(results, Mapping):
        return results["checks"]
    return [{**check, "name": f"{row['file']} {check['name']}"} for row in results for check in row["checks"]]


def print_benchmark(rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print one line per timed file."""
    table = Table()
    for heading in ("file", "ms", "MAD", "ratio", "ms / 100 M", "KiB", "parts"):
        table.add_column(heading, justify="left" if heading == "file" else "right", overflow="fold")
    for row in rows:
        per_100m = row["milliseconds_per_100m"]
        table.add_row(
            row["file"],
            f"{row['milliseconds']:.4g}",
            f"{row['deviation']:.2g}",
            f"{row['ratio']:.3f}",
            "-" if per_100m is None else f"{per_100m:.3g}",
            f"{row['bytes'] / 1024:.1f}",
            str(row["partitions"]),
        )
    console = console or PlainConsole()
    console.print(table)
    console.print(
        "median and median absolute deviation of one image; per 100 M multiply-adds; delegate partitions",
        highlight=False,
    )


def percent(value: float | None) -> str:
    """An accuracy from 0 to 1 in percent."""
    return "-" if value is None else f"{100 * value:.2f} %"


def millions(value: float) -> str:
    """A count in millions, with three or more significant digits."""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e6:.3f} M"
