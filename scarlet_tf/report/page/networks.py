"""The networks that a search found: figures, drawing, and the command that picks each."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from scarlet_tf.report.page.blocks import Table
from scarlet_tf.report.page.drawing import draw
from scarlet_tf.report.page.record import Record
from scarlet_tf.report.page.wording import metric_name, metric_value
from scarlet_tf.search.front import by_accuracy
from scarlet_tf.space import Architecture
from scarlet_tf.words import why_picked


@dataclasses.dataclass(frozen=True)
class FoundNetwork:
    """A network of the front, or a pick that is not on it; `number` counts from 1 in the order of the front.

    metrics: as in pareto.json. picks: its names among the picks, and "best". note: its outcome; command: to pick it.
    """

    number: int
    architecture: Architecture
    metrics: Mapping[str, float]
    picks: Sequence[str]
    on_front: bool
    is_retrained: bool
    note: str
    command: str | None
    drawing: Markup

    @property
    def title(self) -> str:
        """Such as "Network 3, pick 0"."""
        names = f", pick {' and '.join(self.picks)}" if self.picks else ""
        return f"Network {self.number}{names}"

    @property
    def choices(self) -> str:
        return self.architecture.to_string()

    @property
    def figures(self) -> list[tuple[str, str]]:
        """(name, value) of each metric for people."""
        return [(metric_name(name), metric_value(name, value)) for name, value in self.metrics.items()]


def found_networks(record: Record) -> list[FoundNetwork]:
    """All of the front by rising multiply-adds, then picks that are not on it."""
    if not record.front:
        return []
    names: dict[str, list[str]] = {}
    if record.front["pareto"]:
        names[min(record.front["pareto"], key=by_accuracy)["architecture"]] = ["best"]
    for pick in record.front["picks"]:
        names.setdefault(pick["architecture"], []).append(pick["name"])
    front = {row["architecture"]: row for row in record.front["pareto"]}
    others = {row["architecture"]: row for row in record.front["picks"] if row["architecture"] not in front}
    rows = [*front.items(), *others.items()]
    return [
        _found(record, number, row, names.get(choices, []), choices in front)
        for number, (choices, row) in enumerate(rows, 1)
    ]


def _found(record: Record, number: int, row: Mapping[str, Any], picks: Sequence[str], on_front: bool) -> FoundNetwork:
    architecture = Architecture.parse(row["architecture"], record.space)
    metrics = {name: value for name, value in row.items() if name not in ("architecture", "name")}
    is_retrained = bool(record.retrained) and retrained_choices(record) == row["architecture"]
    note, command = _way_on(record, number, row["architecture"], is_retrained)
    title = f"Network {number}: {architecture.space.name}:{architecture.to_string()}"
    drawing = draw(architecture, record.image_size, f"network-{number}-drawing", title)
    return FoundNetwork(number, architecture, metrics, picks, on_front, is_retrained, note, command, drawing)


def retrained_choices(record: Record) -> str:
    """The choices of the network that was retrained, as a string."""
    return ",".join(map(str, record.retrained["architecture"]["choices"]))


def _way_on(record: Record, number: int, choices: str, is_retrained: bool) -> tuple[str, str | None]:
    if is_retrained:
        reason = f", {why_picked(record.retrained)}" if "pick" in record.retrained else ""
        return f"This is the network that was retrained{reason}; see its files below.", None
    if not record.retrained and choices == record.wanted:
        return "This is the network that the run takes; to retrain and export it:", record.command("run")
    note = "To retrain and export this network in a folder of its own, with the supernet and the search of this run:"
    if record.front.get("stopped"):
        note += " (the search was stopped before its end and is first brought there)"
    return note, pick_command(record, number, choices)


def pick_command(record: Record, number: int, choices: str) -> str:
    """Commands that copy supernet and search, then retrain and export the network of the front with these choices.

    A run folder keeps its configuration, `search.picks` and `retrain.pick` included, hence the new folder. There the copied
    supernet and search count as done, so nothing of them is computed again.
    """
    folder, parts = f"{record.folder}_network_{number}", ["supernet"]
    if not record.is_betanas:
        parts.append("search")
    if "measured" in record.front:
        parts.append("finalists.json")
    make = shlex.join(["mkdir", "-p", folder])
    copy = shlex.join(["cp", "-r", *(str(record.folder / part) for part in parts), folder])
    picks = f"search.picks={{chosen: {json.dumps(choices)}}}"
    run = record.new_run_command(f"network_{number}", "--set", picks, "--set", "retrain.pick=chosen")
    return f"{make} && {copy} && {run}"


def front_table(networks: Sequence[FoundNetwork]) -> Table:
    """The networks with their figures; the page adds a button to each row."""
    metrics = list(dict.fromkeys(name for network in networks for name in network.metrics))
    columns = ["network", "pick", *(metric_name(name) for name in metrics), "choices"]
    rows = [
        [
            str(network.number),
            ", ".join(network.picks) + (" (retrained)" if network.is_retrained else "")
            if network.picks or network.is_retrained
            else "",
            *(metric_value(name, network.metrics[name]) if name in network.metrics else "-" for name in metrics),
            network.choices,
        ]
        for network in networks
    ]
    return Table("Networks of the front", columns, rows, words=(0, 1, len(columns) - 1))


def shown_first(networks: Sequence[FoundNetwork], wanted: str | None) -> int:
    """The number of the network that the page shows at first: the retrained one, else the wanted, else the first."""
    retrained = next((network.number for network in networks if network.is_retrained), None)
    return retrained or next((network.number for network in networks if network.choices == wanted), 1)
