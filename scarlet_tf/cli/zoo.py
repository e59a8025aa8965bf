"""`scarlet zoo`: networks by name, each with its costs beside the published figures, one in detail, or one scaled."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import scarlet_tf as st
from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.cli.cost import count_line, multipliers_text, published_line
from scarlet_tf.cli.output import library_lines_held_back, print_table, say, show
from scarlet_tf.cli.parsing import add_command


def add(commands) -> None:
    """Add the command."""
    example = "scarlet zoo; scarlet zoo scarlet_a4; scarlet zoo scarlet_a --scale; scarlet zoo my_net --add runs/my"
    text = "list the networks that can be built by name, published ones and your own, with their costs and accuracies"
    command = add_command(commands, "zoo", text, example, zoo)
    command.add_argument("network", nargs="?", metavar="NAME", help="one of them, in detail")
    actions = command.add_mutually_exclusive_group()
    text = "count NAME with EfficientNet's coefficients of width, depth and pixels, B0 to B4"
    actions.add_argument("--scale", action="store_true", help=text)
    text = (
        "add a run's network as NAME: the retrained one with its weights, else the best that the search found; it is copied"
        " into the folder SCARLET_ZOO_DIR (default: ~/.scarlet/zoo)"
    )
    actions.add_argument("--add", metavar="RUN", help=text)
    actions.add_argument("--remove", action="store_true", help="delete your own network NAME from that folder")
    text = "with --add: this pick of the search, as searched, without weights"
    command.add_argument("--pick", metavar="PICK", help=text)


def zoo(arguments: argparse.Namespace) -> None:
    """List the networks, show one in detail, add or remove one."""
    if arguments.pick is not None and not arguments.add:
        raise InputError("--pick: expected --add with it")
    name = arguments.network
    for option in ("add", "remove", "scale"):
        if getattr(arguments, option) and name is None:
            raise InputError(f"--{option}: expected a network's NAME with it")
    if arguments.scale:
        show(arguments, scaled_figures(name), print_scaled)
        return
    if arguments.remove:
        from scarlet_tf.models.zoo_data import remove_own

        remove_own(name)
        show(arguments, {"removed": name}, lambda _: [f"removed {name}"])
        return
    if arguments.add:
        with library_lines_held_back(arguments):
            st.register_network(name, arguments.add, arguments.pick)
    if name is None:
        show(arguments, zoo_figures(), print_zoo)
    else:
        show(arguments, network_figures(name), network_lines)


# -- figures ------------------------------------------------------------------------------------------------------


def zoo_figures() -> dict[str, Any]:
    """{"networks": one row per network, "folder": of registered networks} in plain JSON types."""
    from scarlet_tf.models.zoo_data import zoo_folder, zoo_names

    return {"networks": [network_figures(name) for name in zoo_names()], "folder": str(zoo_folder())}


def network_figures(name: str) -> dict[str, Any]:
    """Figures of one network of the zoo; InputError if there is none of that name."""
    from scarlet_tf.models.zoo_data import ZOO, find_own, zoo_names

    name = name.strip().lower()
    if name in ZOO:
        return _published_figures(name, ZOO[name])
    own = find_own(name)
    if own is None:
        raise InputError(f"{name}: expected one of {', '.join(zoo_names())}{nearest(name, zoo_names())}")
    options = ", weights='run'" if own.has_weights else ""
    call = f"scarlet_tf.applications.build_zoo_network({own.name!r}{options})"
    return {
        "name": own.name,
        "title": own.name,
        **dataclasses.asdict(st.count(own.spec)),
        "input_size": own.spec.input_shape[0],
        "num_classes": own.spec.num_classes,
        **own.origin,
        "weights": str(own.weights_file) if own.has_weights else None,
        "python": call,
    }


def _published_figures(name: str, entry) -> dict[str, Any]:
    from scarlet_tf.space.scaling import EFFICIENTNET

    architecture = entry.architecture
    scaled = entry.scaling != EFFICIENTNET["b0"]
    return {
        "name": name,
        "title": entry.title,
        **dataclasses.asdict(st.count(architecture)),
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
        "python": f"scarlet_tf.applications.{entry.constructor}()",
    }


def scaled_figures(name: str) -> dict[str, Any]:
    """{"name", "rows"}: a published network as it was searched, with EfficientNet's coefficients B0 to B4."""
    from scarlet_tf.models.zoo_data import ZOO
    from scarlet_tf.space.scaling import EFFICIENTNET

    name = name.strip().lower()
    if name not in ZOO:
        raise InputError(f"--scale: expected a published network, one of {', '.join(ZOO)}, got {name!r}")
    rows = []
    for label, wanted in EFFICIENTNET.items():
        given = {key: value for key, value in dataclasses.asdict(wanted).items() if key != "dropout"}
        architecture = st.scale(ZOO[name].searched, **given)
        costs = dataclasses.asdict(st.count(architecture))
        rows.append({"coefficients": label, **given, "blocks": len(architecture.lower().blocks), **costs})
    return {"name": name, "rows": rows}


# -- the same for people ------------------------------------------------------------------------------------------


def print_zoo(figures: Mapping[str, Any]) -> None:
    """Print one line per network, then the figures' sources and the remarks."""
    from scarlet_tf.models.zoo_data import own_names

    rows = figures["networks"]
    sources = list(dict.fromkeys(map(_source, rows)))
    headings = ("name", "pixels", "M mult-adds", "M params", "published", "top-1", "source")
    cells = [(*_cells(row), str(1 + sources.index(_source(row)))) for row in rows]
    print_table(cells, headings, unbroken_names=True)
    say(
        "M mult-adds and M params are counted here; published: both as stated. Top-1 in percent of ImageNet's images, after"
        " trainings that differ; of its dataset's test images for a network of your own.",
        *(f"source {number}: {source}" for number, source in enumerate(sources, 1)),
        *(f"{row['name']}: {key}: {row[key]}" for row in rows for key in ("reading", "note") if row.get(key)),
        f"your own: {len(own_names())} in {figures['folder']}",
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    published = row.get("published")
    top1 = published["top1"] if published else row["top1"]
    stated = "-"
    if published and published["params"] is not None:
        stated = f"{published['multiply_adds'] / 1e6:.0f} / {published['params'] / 1e6:.1f}"
    accuracy = "-" if top1 is None else f"{top1:.1f}"
    return (row["name"], str(row["input_size"]), *_in_millions(row), stated, accuracy)


def _in_millions(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['multiply_adds'] / 1e6:.1f}", f"{row['params'] / 1e6:.2f}"


def _source(row: Mapping[str, Any]) -> str:
    """Source of a network's accuracy."""
    if "published" in row:
        return row["published"]["source"]
    if row["top1"] is None:
        return f"{row['run']}, as searched, not trained"
    return f"{row['run']}, {row['test_examples']} test images of {row['dataset']}"


def network_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """One network for people."""
    yield f"{figures['title']} ({figures['name']})" if figures["title"] != figures["name"] else figures["name"]
    yield count_line(figures)
    yield f"architecture: {figures['space']}:{figures['architecture']}"
    if figures.get("scaled_architecture"):
        yield f"scaled: {multipliers_text(figures['scaling'])}: {figures['scaled_architecture']}"
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
    yield f"images: {', '.join(f'{key} {_plainly(value)}' for key, value in figures['preprocessing'].items())}"


def _plainly(value: Any) -> str:
    return " and ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, Mapping) else str(value)


def print_scaled(figures: Mapping[str, Any]) -> None:
    """Print one line per set of coefficients."""
    rows = [
        (
            f"{figures['name']} x {row['coefficients'].upper()}",
            *(f"{row[f'{what}_multiplier']:g}" for what in ("width", "depth")),
            *(str(row[key]) for key in ("input_size", "blocks")),
            *_in_millions(row),
        )
        for row in figures["rows"]
    ]
    headings = ("name", "width", "depth", "pixels", "blocks", "M mult-adds", "M params")
    print_table(rows, headings, unbroken_names=True)
