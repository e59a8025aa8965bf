"""Numbers and results in words, the same on the terminal, in certificates and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def percent(value: float | None) -> str:
    """An accuracy from 0 to 1 in percent."""
    return "-" if value is None else f"{100 * value:.2f} %"


def millions(value: float) -> str:
    """A count in millions, with three or more significant digits."""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e6:.3f} M"


def kibibytes(count: float) -> str:
    """A size in bytes, such as "2.0 KiB" or "3.51 MiB"."""
    return f"{count / 1024:.1f} KiB" if count < 2**20 else f"{count / 2**20:.2f} MiB"


def gibibytes(count: float) -> str:
    """A size in bytes, such as "1.20 GiB"."""
    return f"{count / 2**30:.2f} GiB"


def duration(seconds: float) -> str:
    """Such as "4.21 s", "42 s", "5 min 3 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def metric_text(name: str, value: float) -> str:
    """A metric's value as reports show it, such as "98.20 %", "3.62 M", "4.1 ms" or "21.5 KiB"."""
    if name == "accuracy":
        return percent(value)
    if name in ("multiply_adds", "params"):
        return millions(value)
    if name == "latency_ms":
        return f"{value:.3g} ms"
    return kibibytes(value) if name == "file_bytes" else f"{value:.4g}"


def bound_text(name: str, value: float) -> str:
    """A bound on a metric, in the unit of its key in a configuration; small counts and bytes with all digits."""
    if name in ("multiply_adds", "params"):
        return f"{value / 1e6:.2f} M" if value == 0 or value >= 1e4 else f"{value:.0f}"
    if name == "latency_ms":
        return f"{value:.3g} ms"
    return f"{value:.0f} bytes" if name == "file_bytes" else f"{value:g}"


def plural(count: int, noun: str) -> str:
    """Such as "1 network" or "3 networks"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def interval(figures: Mapping[str, float | None] | None, form: str) -> str:
    """Median and confidence interval, such as "12 [9, 15]"; "not reached" if there is no median, "-" without figures."""
    if figures is None or figures["median"] is None:
        return "-" if figures is None else "not reached"
    low, high = (figures[end] for end in ("low", "high"))
    ends = "" if low is None else f" [{low:{form}}, {'more' if high is None else format(high, form)}]"
    return f"{figures['median']:{form}}{ends}"


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


def why_picked(
    pick: int | str | None, one_shot_accuracy: float | None, passed_over: Sequence, known_by: str = "one-shot"
) -> str:
    """The pick that `retrain.pick` names, with the accuracy that the search knew and the number of candidates passed over."""
    accuracy, before = percent(one_shot_accuracy), len(passed_over)
    if pick == "best":
        chosen = f"best: the best network found within the bounds, {accuracy} {known_by}"
    else:
        chosen = f"pick {pick} of the search, {accuracy} {known_by}"
    return chosen + (f"; {plural(before, 'network')} before it out of bounds once folded" if before else "")


def race_in_words(race: Mapping[str, Any]) -> str:
    """Outcome of a race by its figures, such as "won by finalist 1 of the search among 7 networks; better than ..."."""
    found = f"won by {race['words']} among {plural(race['entrants'], 'network')}"
    return "; ".join([found, *race["verdict"]])


def input_sizes_in_words(chosen: int, measured: Sequence[Mapping[str, Any]]) -> str:
    """Sizes that a search tried and the one that it took, such as "64 pixels; best score at 48: 0.400, at 64: 0.450"."""
    scores = [row.get("score", row["accuracy"]) for row in measured]
    found = ", ".join(f"at {row['input_size']}: {score:.3f}" for row, score in zip(measured, scores, strict=True))
    return f"{chosen} pixels; best score {found}"


def before_scaling(scaling: object, multiply_adds: float, params: float) -> str:
    """Costs of a scaled network before scaling, to which the search's bounds apply, and its scaling."""
    return f"{millions(multiply_adds)} multiply-adds, {millions(params)} params; retrained with {scaling}"


def text_template(package: str, name: str, filters: Mapping[str, Callable]) -> jinja2.Template:
    """The template `name` of plain text in the package's folder templates/."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= filters
    return environment.get_template(name)
