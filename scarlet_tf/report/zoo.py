"""Output of `scarlet zoo`: every network's costs beside the published figures, one in detail, and one scaled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scarlet_tf.cost import count
from scarlet_tf.errors import InputError, nearest
from scarlet_tf.models.zoo_data import ZOO, ZooEntry
from scarlet_tf.models.zoo_folder import OwnEntry, find_own, own_names, zoo_folder, zoo_names
from scarlet_tf.report.costs import published_line
from scarlet_tf.report.summary import PlainConsole
from scarlet_tf.scaling import EFFICIENTNET, scale


def zoo_figures() -> dict[str, Any]:
    """{"networks": one row per network, "folder": of registered networks} in plain JSON types."""
    return {"networks": [network_figures(name) for name in zoo_names()], "folder": str(zoo_folder())}


def network_figures(name: str) -> dict[str, Any]:
    """Figures of one network of the zoo; InputError if there is none of that name."""
    name = name.strip().lower()
    if name in ZOO:
        return _published_figures(name, ZOO[name])
    own = find_own(name)
    if own is None:
        raise InputError(f"{name}: expected one of {', '.join(zoo_names())}{nearest(name, zoo_names())}")
    return _own_figures(own)


def _published_figures(name: str, entry: ZooEntry) -> dict[str, Any]:
    architecture = entry.architecture
    scaled = entry.scaling != EFFICIENTNET["b0"]
    return {
        "name": name,
        "title": entry.title,
        **dataclasses.asdict(count(architecture)),
        "input_size": architecture.space.input_size,
        "num_classes": 1000,
        "space": entry.space.name,
        "architecture": entry.encoding,
        "scaling": dataclasses.asdict(entry.scaling) if scaled else None,
        "scaled_architecture": architecture.to_string() if scaled else None,
        "activation": entry.space.activation,
        "published": dataclasses.asdict(entry.published),
        "reading": entry.reading or None,
        "note": entry.note or None,
        "weights": None,
        "python": f"scarlet_tf.{entry.constructor}()",
    }


def _own_figures(own: OwnEntry) -> dict[str, Any]:
    call = f"scarlet_tf.build_zoo_network({own.name!r}{', weights=' + repr('run') if own.has_weights else ''})"
    return {
        "name": own.name,
        "title": own.name,
        **dataclasses.asdict(count(own.spec)),
        "input_size": own.spec.input_shape[0],
        "num_classes": own.spec.num_classes,
        **own.origin,
        "weights": str(own.weights_file) if own.has_weights else None,
        "python": call,
    }


def scaled_figures(name: str) -> dict[str, Any]:
    """{"name", "rows"}: a published network as it was searched, with EfficientNet's coefficients B0 to B4."""
    name = name.strip().lower()
    if name not in ZOO:
        raise InputError(f"--scale: expected a published network, one of {', '.join(ZOO)}, got {name!r}")
    return {"name": name, "rows": list(_scaled_rows(ZOO[name]))}


def _scaled_rows(entry: ZooEntry) -> Iterator[dict[str, Any]]:
    for label, wanted in EFFICIENTNET.items():
        given = {key: value for key, value in dataclasses.asdict(wanted).items() if key != "dropout"}
        architecture = scale(entry.searched, **given)
        yield {
            "coefficients": label,
            **given,
            "blocks": len(architecture.lower().blocks),
            **dataclasses.asdict(count(architecture)),
        }


def print_zoo(figures: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one line per network, then the figures' sources and the remarks."""
    console, rows = console or PlainConsole(), figures["networks"]
    sources = list(dict.fromkeys(map(_source, rows)))
    table = _table("name", "pixels", "M mult-adds", "M params", "published", "top-1", "source")
    for row in rows:
        table.add_row(*_cells(row), str(1 + sources.index(_source(row))))
    console.print(table)
    lines = [
        "M mult-adds and M params are counted here; published: both as stated. Top-1 in percent of ImageNet's images, after"
        " trainings that differ; of its dataset's test images for a network of your own.",
        *(f"source {number}: {source}" for number, source in enumerate(sources, 1)),
        *(f"{row['name']}: {key}: {row[key]}" for row in rows for key in ("reading", "note") if row.get(key)),
        f"your own: {len(own_names())} in {figures['folder']}",
    ]
    for line in lines:
        console.print(line, highlight=False)


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        name = heading == "name"
        table.add_column(heading, justify="left" if name else "right", no_wrap=name, overflow="fold")
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    published = row.get("published")
    top1 = published["top1"] if published else row["top1"]
    return [
        row["name"],
        str(row["input_size"]),
        f"{row['multiply_adds'] / 1e6:.1f}",
        f"{row['params'] / 1e6:.2f}",
        _costs(published) if published else "-",
        "-" if top1 is None else f"{top1:.1f}",
    ]


def _costs(published: Mapping[str, Any]) -> str:
    if published["params"] is None:
        return "-"
    return f"{published['multiply_adds'] / 1e6:.0f} / {published['params'] / 1e6:.1f}"


def _source(row: Mapping[str, Any]) -> str:
    """Source of a network's accuracy."""
    if "published" in row:
        return row["published"]["source"]
    if row["top1"] is None:
        return f"{row['run']}, as searched, not trained"
    return f"{row['run']}, {row['test_examples']} test images of {row['dataset']}"


def network_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """One network for people."""
    size = figures["input_size"]
    yield f"{figures['title']} ({figures['name']})" if figures["title"] != figures["name"] else figures["name"]
    yield (
        f"{figures['multiply_adds'] / 1e6:.1f} M multiply-adds, {figures['params'] / 1e6:.2f} M params"
        f"  ({size} x {size} x 3, {figures['num_classes']} classes)"
    )
    yield f"architecture: {figures['space']}:{figures['architecture']}"
    if figures.get("scaled_architecture"):
        numbers = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in figures["scaling"].items())
        yield f"scaled: {numbers}: {figures['scaled_architecture']}"
    if figures.get("published"):
        yield f"activation: {figures['activation']}"
        yield published_line(figures["published"])
    else:
        yield from _own_lines(figures)
    for key in ("reading", "note"):
        if figures.get(key):
            yield f"{key}: {figures[key]}"
    yield f"in Python: {figures['python']}"


def _own_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    yield f"from: {figures['run']}, dataset {figures['dataset']}"
    if figures["top1"] is None:
        yield f"not trained on its own; one-shot accuracy {figures['one_shot_accuracy']:.2f} % on validation images"
    else:
        yield f"top-1: {figures['top1']:.2f} % of {figures['test_examples']} test images"
        yield f"weights: {figures['weights']}"
    images = ", ".join(f"{key} {value}" for key, value in figures["preprocessing"].items())
    yield f"images: {images}"


def print_scaled(figures: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one line per set of coefficients."""
    table = _table("name", "width", "depth", "pixels", "blocks", "M mult-adds", "M params")
    for row in figures["rows"]:
        table.add_row(
            f"{figures['name']} x {row['coefficients'].upper()}",
            f"{row['width_multiplier']:g}",
            f"{row['depth_multiplier']:g}",
            *(str(row[key]) for key in ("input_size", "blocks")),
            f"{row['multiply_adds'] / 1e6:.1f}",
            f"{row['params'] / 1e6:.2f}",
        )
    (console or PlainConsole()).print(table)
