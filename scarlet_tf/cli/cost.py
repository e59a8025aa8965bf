"""`scarlet cost`: multiply-adds and parameters of a network, beside the published ones."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import scarlet_tf as st
from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.cli.output import show
from scarlet_tf.cli.parsing import add_command, add_options


def add(commands) -> None:
    """Add the command."""
    example = "scarlet cost scarlet_a; scarlet cost 0,1,2,... --space s1 --input-size 192; scarlet cost mnasnet_a1.yaml"
    command = add_command(commands, "cost", "count multiply-adds and parameters of a network", example, cost)
    what = (
        "choices such as 4,8,2,..., a name such as scarlet_a, or the YAML or JSON file of any network (docs/foreign.md)"
    )
    command.add_argument("network", metavar="ARCH|ZOO_NAME|FILE", help=what)
    size = command.add_mutually_exclusive_group()
    pixels, classes = "side of the image (default: the space's or the file's, 224)", "(default: 1000, or the file's)"
    add_options(command, ("--space", str, None, None, "s1, s2 (default), or the YAML file of a space of your own"))
    add_options(size, ("--input-size", int, "PIXELS", None, pixels))
    add_options(command, ("--classes", int, None, None, f"classes of the classifier {classes}"))
    for group, what, of in (
        (command, "width", "of all widths, rounded to multiples of 8"),
        (command, "depth", "of the blocks in each stage, rounded up"),
        (size, "resolution", "of the image's side, rounded to a multiple of 8"),
    ):
        group.add_argument(f"--{what}-multiplier", type=float, default=1.0, metavar="X", help=f"{of} (default: 1)")


def cost(arguments: argparse.Namespace) -> None:
    """Count a network."""
    multipliers = {
        f"{what}_multiplier": getattr(arguments, f"{what}_multiplier") for what in ("width", "depth", "resolution")
    }
    figures = cost_figures(arguments.network, arguments.space, arguments.input_size, arguments.classes, multipliers)
    show(arguments, figures, cost_lines)


def cost_figures(
    network: str,
    space: str | None,
    input_size: int | None,
    num_classes: int | None,
    multipliers: Mapping[str, float],
) -> dict[str, Any]:
    """Costs of an architecture string or a zoo network, scaled as by `scale`, or of a whole network, in JSON types.

    Whole networks are files and registered networks; they are not scaled. `num_classes` None: 1000, or a whole network's own.
    """
    from scarlet_tf.models.zoo_data import ZOO

    if num_classes is not None and num_classes < 1:
        raise InputError(f"--classes: expected an integer >= 1, got {num_classes}")
    if input_size is not None and input_size < 1:
        raise InputError(f"--input-size: expected an integer >= 1, got {input_size}")
    scaled = {key: value for key, value in multipliers.items() if value != 1}
    whole = _whole_network(network, input_size, num_classes)
    if whole:
        _check_whole(network, space, scaled)
        return whole
    entry, num_classes = ZOO.get(network.strip().lower()), 1000 if num_classes is None else num_classes
    architecture = st.scale(find_network(network, space), **multipliers, input_size=input_size)
    figures = {
        "name": network.strip().lower() if entry else None,
        "space": architecture.space.name,
        "architecture": architecture.to_string(),
        "input_size": architecture.space.input_size,
        "num_classes": num_classes,
        **dataclasses.asdict(st.count(architecture, num_classes=num_classes)),
    }
    if scaled:
        figures["scaling"] = scaled
    elif entry:
        figures |= {"published": dataclasses.asdict(entry.published), "note": entry.note or None}
        figures |= {"reading": entry.reading} if entry.reading else {}
    return figures


def _whole_network(network: str, input_size: int | None, num_classes: int | None) -> dict[str, Any]:
    """Figures of a network in a file or a registered one; {} if `network` is neither."""
    from scarlet_tf.models.foreign.networks import is_network_file
    from scarlet_tf.models.zoo_data import find_own

    own = find_own(network.strip().lower())
    if own is not None:
        about = {"name": own.name, "space": own.origin["space"], "architecture": own.origin["architecture"]}
        spec = own.at(input_size, num_classes)
    elif is_network_file(network):
        about = {"name": None, "file": network}
        spec = st.network_from_file(network, input_size, num_classes)
    else:
        return {}
    size = {"input_size": spec.input_shape[0], "num_classes": spec.num_classes}
    return {**about, **size, **dataclasses.asdict(st.count(spec))}


def _check_whole(network: str, space: str | None, scaled: Mapping[str, float]) -> None:
    """Refuse scaling: a whole network does not state where a stage ends or which of its widths belong together."""
    for key, value in (("space", space), *scaled.items()):
        if value is not None:
            key = key.replace("_", "-")
            raise InputError(f"--{key}: expected none, for {network} is a whole network, got {value!r}")


def find_network(text: str, space: str | st.SearchSpace | None = None) -> st.Architecture:
    """The network of the zoo that `text` names, or the architecture whose choices it holds.

    `space`: a space, or a name for `named_space`; None: the text's own, such as "s1:0,1,...", else S2.
    """
    from scarlet_tf.models.zoo_data import ZOO

    entry = ZOO.get(text.strip().lower())
    if entry is not None:
        return _within(text, entry.architecture, space)
    if not text[:1].isdigit() and ":" not in text:
        raise InputError(f"{text}: expected choices such as 4,8,2,... or one of {', '.join(ZOO)}{nearest(text, ZOO)}")
    if not isinstance(space, st.SearchSpace):
        space = named_space(space or text.strip().rpartition(":")[0] or "s2")
    return st.Architecture.parse(text, space)


def _within(name: str, architecture: st.Architecture, space: str | st.SearchSpace | None) -> st.Architecture:
    """A zoo network's architecture in a space of its own space's name."""
    own_name = architecture.space.name
    given = space.name if isinstance(space, st.SearchSpace) else space
    if given not in (None, own_name):
        raise InputError(f"--space: {name} belongs to space {own_name!r}, got {given!r}")
    return architecture.within(space) if isinstance(space, st.SearchSpace) else architecture


def named_space(name: str) -> st.SearchSpace:
    """A published space, or that of a YAML file."""
    return st.SearchSpace.from_yaml(name) if name.endswith((".yaml", ".yml")) else st.SearchSpace.from_name(name)


def cost_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The figures for people, at the precision of the published tables."""
    if "file" in figures:
        yield figures["file"]
    else:
        yield f"{figures['name'] or 'architecture'}  {figures['space']}:{figures['architecture']}"
    yield count_line(figures)
    if figures.get("scaling"):
        yield f"scaled: {multipliers_text(figures['scaling'])}"
    if figures.get("published"):
        yield published_line(figures["published"])
    for key in ("reading", "note"):
        if figures.get(key):
            yield f"{key}: {figures[key]}"


def count_line(figures: Mapping[str, Any]) -> str:
    """Costs of a network, and the size and classes that they hold for."""
    size = figures["input_size"]
    return (
        f"{figures['multiply_adds'] / 1e6:.1f} M multiply-adds, {figures['params'] / 1e6:.2f} M params"
        f"  ({size} x {size} x 3, {figures['num_classes'] or 'no'} classes)"
    )


def multipliers_text(scaling: Mapping[str, float]) -> str:
    """Such as "width multiplier 1.4, depth multiplier 1.2"."""
    return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in scaling.items())


def published_line(published: Mapping[str, Any]) -> str:
    """Published figures of a network, and their source."""
    accuracies = [f"ImageNet {key[:3]}-{key[3:]} {published[key]} %" for key in ("top1", "top5") if published[key]]
    costs = [("multiply-adds", published["multiply_adds"], 0), ("params", published["params"], 1)]
    costs = [f"{value / 1e6:.{digits}f} M {name}" for name, value, digits in costs if value is not None]
    return f"published: {', '.join([*costs, *accuracies])} [{published['source']}]"
