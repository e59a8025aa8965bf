"""Narrowing: a parent whose widths are all multiplied by one number, of which the most important channels are left.

Channels are sorted once, so a narrower parent is a part of every wider one. Blocks with shortcuts add to the same channels, so
these are sorted together, by what all of the blocks give to them and what all that read them take. What the others gave to a
convolution on average goes into the mean of its batch normalisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import Arrays
from scarlet_tf.parents.around import expressible, squeeze_excite_of
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.warm_start import activation_moments, most_important, of_part
from scarlet_tf.space.choices import rounded_channels
from scarlet_tf.space.spec import Activation, InvertedResidualSpec, NetworkSpec


@dataclasses.dataclass(frozen=True)
class Part:
    """A convolution, and the groups of channels that it reads and writes; `activation` follows its batch normalisation.

    Channels of one group are kept or left out together: "stem", "stream_00", "block_03" for that block's hidden ones,
    "block_03_se" for those of its squeeze-and-excitation, and "image" and "tail", which stay.
    """

    name: str
    reads: str
    writes: str
    activation: Activation | None = None

    @property
    def is_depthwise(self) -> bool:
        return self.name.endswith("_depthwise")


def narrowed(parent: Parent, multiplier: float) -> Parent:
    """The parent with `multiplier` times its channels, the most important ones; see `Parent.narrowed`."""
    if isinstance(multiplier, bool) or not isinstance(multiplier, (int, float)) or not 0 < multiplier <= 1:
        raise InputError(f"width_multiplier: expected a number above 0 and up to 1, got {multiplier!r}")
    blocks, parts = [expressible(block) for block in parent.spec.blocks], list(parts_of(parent.spec))
    orders = {part.writes: _order(part.writes, parts, parent) for part in parts if part.writes != "tail"}
    widths = {group: len(order) for group, order in orders.items()}
    if multiplier < 1:
        widths = {group: min(width, rounded_channels(multiplier * width)) for group, width in widths.items()}
    rule = squeeze_excite_of(blocks)
    for block, (reads, hidden, _) in zip(blocks, _groups(parent.spec), strict=True):
        if block.se_channels:
            widths[f"{block.name}_se"] = rule.channels(widths[reads], widths[hidden])
    kept = {group: order[: widths[group]] for group, order in orders.items()}
    spec = _spec(parent.spec, widths)
    for block, other in zip(blocks, spec.blocks, strict=True):
        if block.stride == 1 and not block.residual and other.in_channels == other.out_channels:
            got = f"{other.out_channels} twice with {multiplier}"
            raise InputError(
                f"width_multiplier: expected two widths around {block.name}, without a shortcut, got {got}"
            )
    return dataclasses.replace(
        parent,
        name=parent.name if multiplier == 1 else f"{parent.name}_x{multiplier:g}",
        spec=spec,
        arrays=_arrays(parent.arrays, parts, kept),
        source=parent.source if multiplier == 1 else f"{parent.source}; {multiplier:g} of its channels",
    )


def parts_of(spec: NetworkSpec) -> Iterator[Part]:
    """The convolutions of stem, blocks and tail in their order."""
    act, stream = spec.stem_activation, "stream_00"
    if spec.first_channels is None:
        yield Part("stem_conv", "image", stream, act)
    else:
        yield Part("stem_conv", "image", "stem", act)
        yield Part("stem_depthwise", "stem", "stem", act)
        yield Part("stem_project", "stem", stream)
    for block, (stream, hidden, target) in zip(spec.blocks, _groups(spec), strict=True):
        assert isinstance(block, InvertedResidualSpec)
        if block.expand:
            yield Part(f"{block.name}_expand", stream, hidden, block.activation)
        yield Part(f"{block.name}_depthwise", hidden, hidden, block.activation)
        if block.se_channels:
            yield Part(f"{block.name}_se_squeeze", hidden, f"{block.name}_se", block.se_activation)
            yield Part(f"{block.name}_se_excite", f"{block.name}_se", hidden)
        yield Part(f"{block.name}_project", hidden, target)
        stream = target
    yield Part("tail_conv", stream, "tail", spec.tail_activation)


def _groups(spec: NetworkSpec) -> Iterator[tuple[str, str, str]]:
    """(Group that it reads, that of its hidden channels, group that it writes) of each block."""
    number, stream = 0, "stream_00"
    for block in spec.blocks:
        assert isinstance(block, InvertedResidualSpec)
        number += not block.residual
        target = f"stream_{number:02d}"
        yield stream, block.name if block.expand else stream, target
        stream = target


def _spec(spec: NetworkSpec, widths: Mapping[str, int]) -> NetworkSpec:
    """The spec with these widths of its groups."""
    blocks = [
        dataclasses.replace(
            expressible(block),
            in_channels=widths[reads],
            hidden_channels=widths[hidden],
            out_channels=widths[writes],
            se_channels=widths.get(f"{block.name}_se", 0),
        )
        for block, (reads, hidden, writes) in zip(spec.blocks, _groups(spec), strict=True)
    ]
    first = None if spec.first_channels is None else widths["stream_00"]
    stem = widths["stream_00" if spec.first_channels is None else "stem"]
    return spec.replace(stem_channels=stem, first_channels=first, blocks=tuple(blocks))


def _arrays(arrays: Arrays, parts: list[Part], kept: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays with the kept channels of each group, in their order."""
    found, offsets = dict(arrays), _offsets(arrays, parts, kept)
    for part in parts:
        for name in (name for name in arrays if name.rpartition("/")[0] in (part.name, f"{part.name}_bn")):
            array = arrays[name]
            if name.endswith("moving_mean") and part.name in offsets:
                array = np.asarray(array - offsets[part.name], array.dtype)
            if name == f"{part.name}/kernel" and part.reads in kept:
                array = array[:, :, kept[part.reads]]
            if part.writes in kept and not (name.endswith("kernel") and part.is_depthwise):
                array = array[..., kept[part.writes]]
            found[name] = array
    return found


def _offsets(arrays: Arrays, parts: list[Part], kept: Mapping[str, np.ndarray]) -> Arrays:
    """{part: what the channels that are left out give to its results on average}, float [channels that it writes].

    Nothing for what a gate of squeeze-and-excitation multiplies.
    """
    means: dict[str, np.ndarray] = {}
    offsets = {}
    for part in parts:
        if part.name.endswith("_se_excite"):
            del means["hidden"]
        if f"{part.name}_bn/gamma" not in arrays:
            continue
        group = "hidden" if part.name.endswith("_project") else part.reads
        if group in means and not part.is_depthwise:
            others = np.setdiff1d(np.arange(len(means[group])), kept[part.reads])
            offsets[part.name] = means[group][others] @ arrays[f"{part.name}/kernel"][0, 0][others]
        gamma, mean = (arrays[f"{part.name}_bn/{name}"].astype(float) for name in ("gamma", "beta"))
        if part.activation is not None:
            means["hidden" if part.is_depthwise else part.writes] = activation_moments(gamma, mean, part.activation)[0]
        else:
            means[part.writes] = means.get(part.writes, 0) + mean
    return offsets


# -- importance -----------------------------------------------------------------------------------------------------------


def _order(group: str, parts: list[Part], parent: Parent) -> np.ndarray:
    """The channels of a group from the most important one to the least, int [channels]."""
    arrays, epsilon = parent.arrays, parent.spec.conventions.bn_epsilon
    if group.endswith("_se"):
        squeezed, excited = arrays[f"{group}_squeeze/kernel"][0, 0], arrays[f"{group}_excite/kernel"][0, 0]
        return np.argsort(-np.linalg.norm(squeezed, axis=0) * np.linalg.norm(excited, axis=1), kind="stable")
    if not group.startswith("stream"):
        depthwise = next(part for part in parts if part.writes == group and part.is_depthwise)
        assert depthwise.activation is not None
        return most_important(of_part(arrays, group), depthwise.activation, epsilon)
    written = [
        part for part in parts if part.writes == group and not part.is_depthwise and f"{part.name}_bn/gamma" in arrays
    ]
    read = [part for part in parts if part.reads == group and f"{part.name}_bn/gamma" in arrays]
    return np.argsort(-_power(written, arrays) * sum(_taken(part, arrays, epsilon) for part in read), kind="stable")


def _power(written: list[Part], arrays: Arrays) -> np.ndarray:
    """The mean square of a sum of the parts' results, float [channels], if these are normal and independent."""
    found = offset = np.zeros(1)
    for part in written:
        gamma, beta = (arrays[f"{part.name}_bn/{name}"].astype(float) for name in ("gamma", "beta"))
        if part.activation is not None:  # a stem of one convolution
            found = found + activation_moments(gamma, beta, part.activation)[1]
        else:
            found, offset = found + gamma**2, offset + beta
    return found + offset**2


def _taken(part: Part, arrays: Arrays, epsilon: float) -> np.ndarray:
    """The squared norm of what a part takes of each channel that it reads, after its batch normalisation; float [channels]."""
    kernel = arrays[f"{part.name}/kernel"].astype(float)
    scale = arrays[f"{part.name}_bn/gamma"] / np.sqrt(arrays[f"{part.name}_bn/moving_variance"] + epsilon)
    if part.is_depthwise:
        return np.sum(kernel[..., 0] ** 2, axis=(0, 1)) * np.square(scale)
    return np.sum((kernel[0, 0] * scale) ** 2, axis=1)
