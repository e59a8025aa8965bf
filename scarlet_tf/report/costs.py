"""Figures of `scarlet cost` and `scarlet latency`: costs of a network beside the published ones, and what a table predicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.cost import count
from scarlet_tf.errors import InputError, nearest
from scarlet_tf.foreign.files import is_network_file, network_from_file
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.models.zoo_data import ZOO, ZooEntry
from scarlet_tf.models.zoo_folder import find_own
from scarlet_tf.scaling import scale
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.spec import NetworkSpec


def cost_figures(
    network: str,
    space: str | None,
    input_size: int | None,
    num_classes: int | None,
    width_multiplier: float = 1.0,
    depth_multiplier: float = 1.0,
    resolution_multiplier: float = 1.0,
) -> dict[str, Any]:
    """Costs of an architecture string or a zoo network, scaled as by `scale`, or of a whole network, in JSON types.

    Whole networks are files and registered networks; they are not scaled. `num_classes` None: 1000, or a whole network's own.
    """
    if num_classes is not None and num_classes < 1:
        raise InputError(f"--classes: expected an integer >= 1, got {num_classes}")
    if input_size is not None and input_size < 1:
        raise InputError(f"--input-size: expected an integer >= 1, got {input_size}")
    multipliers = {
        "width_multiplier": width_multiplier,
        "depth_multiplier": depth_multiplier,
        "resolution_multiplier": resolution_multiplier,
    }
    scaled = {key: value for key, value in multipliers.items() if value != 1}
    whole = _whole_network(network, input_size, num_classes)
    if whole:
        _check_whole(network, space, scaled)
        return whole
    entry, num_classes = ZOO.get(network.strip().lower()), 1000 if num_classes is None else num_classes
    architecture = scale(find_network(network, space), **multipliers, input_size=input_size)
    figures = {
        "name": network.strip().lower() if entry else None,
        "space": architecture.space.name,
        "architecture": architecture.to_string(),
        "input_size": architecture.space.input_size,
        "num_classes": num_classes,
        **dataclasses.asdict(count(architecture, num_classes=num_classes)),
    }
    if scaled:
        figures["scaling"] = scaled
    elif entry:
        figures |= {"published": dataclasses.asdict(entry.published), "note": entry.note or None}
        figures |= {"reading": entry.reading} if entry.reading else {}
    return figures


def _whole_network(network: str, input_size: int | None, num_classes: int | None) -> dict[str, Any]:
    """Figures of a network in a file or a registered one; {} if `network` is neither."""
    own = find_own(network.strip().lower())
    if own is not None:
        about = {"name": own.name, "space": own.origin["space"], "architecture": own.origin["architecture"]}
        return about | _spec_figures(own.at(input_size, num_classes))
    if is_network_file(network):
        return {"name": None, "file": network, **_spec_figures(network_from_file(network, input_size, num_classes))}
    return {}


def _check_whole(network: str, space: str | None, scaled: Mapping[str, float]) -> None:
    """Refuse scaling: a whole network does not state where a stage ends or which of its widths belong together."""
    for key, value in (("space", space), *scaled.items()):
        if value is not None:
            key = key.replace("_", "-")
            raise InputError(f"--{key}: expected none, for {network} is a whole network, got {value!r}")


def _spec_figures(spec: NetworkSpec) -> dict[str, Any]:
    return {
        "input_size": spec.input_shape[0],
        "num_classes": spec.num_classes,
        **dataclasses.asdict(count(spec)),
    }


def cost_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The same for people, at the precision of the published tables."""
    if "file" in figures:
        yield figures["file"]
    else:
        yield f"{figures['name'] or 'architecture'}  {figures['space']}:{figures['architecture']}"
    size = figures["input_size"]
    yield (
        f"{figures['multiply_adds'] / 1e6:.1f} M multiply-adds, {figures['params'] / 1e6:.2f} M params"
        f"  ({size} x {size} x 3, {figures['num_classes'] or 'no'} classes)"
    )
    if figures.get("scaling"):
        yield "scaled: " + ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in figures["scaling"].items())
    if figures.get("published"):
        yield published_line(figures["published"])
    for key in ("reading", "note"):
        if figures.get(key):
            yield f"{key}: {figures[key]}"


def find_network(text: str, space: str | SearchSpace | None = None) -> Architecture:
    """The network of the zoo that `text` names, or the architecture whose choices it holds.

    `space`: a space, or a name for `named_space`; None: the text's own, such as "s1:0,1,...", else S2.
    """
    entry = ZOO.get(text.strip().lower())
    if entry is not None:
        return _zoo_architecture(text, entry, space)
    if not text[:1].isdigit() and ":" not in text:
        raise InputError(f"{text}: expected choices such as 4,8,2,... or one of {', '.join(ZOO)}{nearest(text, ZOO)}")
    if not isinstance(space, SearchSpace):
        space = named_space(space or text.strip().rpartition(":")[0] or "s2")
    return Architecture.parse(text, space)


def _zoo_architecture(name: str, entry: ZooEntry, space: str | SearchSpace | None) -> Architecture:
    architecture = entry.architecture
    own_name = architecture.space.name
    if isinstance(space, SearchSpace) and space.name == own_name:
        return architecture.within(space)
    if space not in (None, own_name):
        given = space.name if isinstance(space, SearchSpace) else space
        raise InputError(f"--space: {name} belongs to space {own_name!r}, got {given!r}")
    return architecture


def named_space(name: str) -> SearchSpace:
    """A published space, or that of a YAML file."""
    return SearchSpace.from_yaml(name) if name.endswith((".yaml", ".yml")) else SearchSpace.from_name(name)


def published_line(published: Mapping[str, Any]) -> str:
    """Published figures of a network, and their source."""
    accuracies = [f"ImageNet {key[:3]}-{key[3:]} {published[key]} %" for key in ("top1", "top5") if published[key]]
    costs = [("multiply-adds", published["multiply_adds"], 0), ("params", published["params"], 1)]
    costs = [f"{value / 1e6:.{digits}f} M {name}" for name, value, digits in costs if value is not None]
    return f"published: {', '.join([*costs, *accuracies])} [{published['source']}]"


def prediction(architecture: Architecture, table: MetricTable) -> dict[str, Any]:
    """A table's predictions for an architecture, with its costs and the table's error, in plain JSON types."""
    cost = count(architecture, table.input_size, table.num_classes)
    predicted = {name: values[0].item() for name, values in table.sums([architecture.choices]).items()}
    return {
        "architecture": architecture.to_string(),
        "input_size": table.input_size,
        "num_classes": table.num_classes,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        **predicted,
        **_table_error(table),
        "device": table.device,
    }


def table_figures(table: MetricTable) -> dict[str, Any]:
    """The range of each metric in the table's space, in plain JSON types."""
    bounds = {name: list(bounds) for name, bounds in table.bounds.items()}
    figures = {"table": table.source, "parts": len(table.entries), "reach": bounds}
    return {**figures, **_table_error(table), "device": table.device}


def _table_error(table: MetricTable) -> dict[str, Any]:
    """The table's error: for each network that corrected it, the prediction from the others."""
    calibration = table.details.get("calibration")
    if not isinstance(calibration, Mapping) or not isinstance(calibration.get("left_out"), Mapping):
        return {}
    return {"error": {**calibration["left_out"], "networks": len(calibration.get("networks", ()))}}


def latency_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The figures of a table or of its prediction for people, a line a figure."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield f"{name}: " + ", ".join(f"{key} {inner}" for key, inner in value.items())
        else:
            yield f"{name}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}"
