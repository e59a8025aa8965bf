"""What `scarlet cost` states about a network: its counted costs beside the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.cost import count
from scarlet_tf.errors import InputError
from scarlet_tf.foreign.files import is_network_file, network_from_file
from scarlet_tf.models.zoo_data import ZOO, ZooEntry
from scarlet_tf.space import Architecture, SearchSpace


def cost_figures(network: str, space: str | None, input_size: int | None, num_classes: int | None) -> dict[str, Any]:
    """Costs of an architecture string, a network of the zoo, or one in a file, in plain JSON types.

    `num_classes` None: 1000, or what the file says.
    """
    if num_classes is not None and num_classes < 1:
        raise InputError(f"--classes: expected an integer >= 1, got {num_classes}")
    if is_network_file(network):
        return _file_figures(network, space, input_size, num_classes)
    num_classes = 1000 if num_classes is None else num_classes
    name = network.strip().lower()
    entry, architecture = ZOO.get(name), find_network(network, space)
    size = architecture.space.input_size if input_size is None else input_size
    cost = count(architecture, num_classes=num_classes, input_size=_checked_size(size))
    figures = {
        "name": name if entry else None,
        "space": architecture.space.name,
        "architecture": architecture.to_string(),
        "input_size": size,
        "num_classes": num_classes,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
    }
    if entry:
        figures |= {"published": _published(entry), "note": entry.note or None}
    return figures


def _file_figures(path: str, space: str | None, input_size: int | None, num_classes: int | None) -> dict[str, Any]:
    if space is not None:
        raise InputError(f"--space: expected none, for {path} is a whole network, got {space!r}")
    spec = network_from_file(path, None if input_size is None else _checked_size(input_size), num_classes)
    cost = count(spec)
    return {
        "name": None,
        "file": path,
        "input_size": spec.input_shape[0],
        "num_classes": spec.num_classes,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
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
    if figures.get("published"):
        yield _published_line(figures["published"])
    if figures.get("note"):
        yield f"note: {figures['note']}"


def find_network(text: str, space: str | SearchSpace | None = None) -> Architecture:
    """The network of the zoo that `text` names, or the architecture whose choices it holds.

    `space` is a space or names one as `named_space` does; None: the text's own, such as "s1:0,1,...", else S2.
    """
    entry = ZOO.get(text.strip().lower())
    if entry is not None:
        return _zoo_architecture(text, entry, space)
    if not text[:1].isdigit() and ":" not in text:
        raise InputError(f"{text}: expected choices such as 4,8,2,... or one of {', '.join(sorted(ZOO))}")
    if not isinstance(space, SearchSpace):
        space = named_space(space or text.strip().rpartition(":")[0] or "s2")
    return Architecture.parse(text, space)


def _zoo_architecture(name: str, entry: ZooEntry, space: str | SearchSpace | None) -> Architecture:
    if isinstance(space, SearchSpace) and space.name == entry.space_name:
        return entry.architecture.within(space)
    if space not in (None, entry.space_name):
        given = space.name if isinstance(space, SearchSpace) else space
        raise InputError(f"--space: {name} belongs to space {entry.space_name!r}, got {given!r}")
    return entry.architecture


def named_space(name: str) -> SearchSpace:
    """A published space, or that of a YAML file."""
    return SearchSpace.from_yaml(name) if name.endswith((".yaml", ".yml")) else SearchSpace.from_name(name)


def _published(entry: ZooEntry) -> dict[str, Any]:
    """What its authors state, ImageNet accuracies in percent."""
    return {
        "multiply_adds": entry.published_multiply_adds,
        "params": entry.published_params,
        "top1": entry.top1,
        "top5": entry.top5,
        "source": entry.source,
    }


def _published_line(published: Mapping[str, Any]) -> str:
    accuracies = [f"ImageNet {key[:3]}-{key[3:]} {published[key]} %" for key in ("top1", "top5") if published[key]]
    cost = f"{published['multiply_adds'] / 1e6:.0f} M multiply-adds, {published['params'] / 1e6:.1f} M params"
    return f"published: {', '.join([cost, *accuracies])} [{published['source']}]"


def _checked_size(size: int) -> int:
    if size < 1:
        raise InputError(f"--input-size: expected an integer >= 1, got {size}")
    return size
