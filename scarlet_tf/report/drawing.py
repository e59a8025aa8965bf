"""An architecture as SVG, in the style of figure 4 of SCARLET-NAS.

One bar per layer: its colour is the kernel's size, its height the expansion, a dot on top of it squeeze-and-excitation. A
skipped layer is a gap, a dashed line a step to fewer pixels. Text under the bars repeats what the colours show. The
colours are classes of the page's style sheet.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from scarlet_tf.space.choices import Choice
from scarlet_tf.space.search_space import Architecture, SearchSpace

LAYER_WIDTH, BAR_WIDTH = 36, 26
SIDE, TOP, BARS, BOTTOM = 10, 44, 104, 50
"""Margins, and the height of the greatest expansion's bar, in the drawing's units."""
STEM = 44
"""Room for the stem's size in front of a first layer that leaves out pixels."""
LEAST_BAR = 18
"""Space in a bar for the number on it."""
COLOURS = 6
"""Kernel sizes that have a colour of their own in the style sheet."""


@dataclasses.dataclass(frozen=True)
class DrawnLayer:
    """A layer with the sides of the images that it reads and writes, in pixels."""

    index: int
    choice: Choice
    stride: int
    channels: int
    size_before: int
    size: int


def drawn_layers(architecture: Architecture, image_size: int) -> list[DrawnLayer]:
    """The layers from the stem to the tail; sides are rounded up, as the convolutions' padding does it."""
    space = architecture.space
    layers: list[DrawnLayer] = []
    size = math.ceil(image_size / space.stem_stride)
    for layer, index in zip(space.layers, architecture.choices, strict=True):
        before, size = size, math.ceil(size / layer.stride)
        choice = space.choices[index]
        layers.append(DrawnLayer(len(layers), choice, layer.stride, layer.out_channels, before, size))
    return layers


def in_words(architecture: Architecture, image_size: int) -> str:
    """The layers one by one, as text for readers who cannot see the drawing."""
    parts = []
    for layer in drawn_layers(architecture, image_size):
        step = f", from {layer.size_before} to {layer.size} pixels" if layer.stride > 1 else ""
        parts.append(f"layer {layer.index + 1}: {choice_in_words(layer.choice)}{step}")
    return "; ".join(parts) + "."


def choice_in_words(choice: Choice) -> str:
    """Such as "5 x 5, expansion 6, squeeze-and-excitation"."""
    if choice.is_skip:
        return "skipped"
    se = ", squeeze-and-excitation" if choice.use_se else ""
    size = f"{choice.width} of the channels" if choice.share else f"expansion {choice.width}"
    return f"{choice.kernel_size} x {choice.kernel_size}, {size}{se}"


def kernel_classes(space: SearchSpace) -> dict[int, str]:
    """The style sheet's class for each kernel size of a space; small sizes have the same in every space."""
    sizes = {choice.kernel_size for choice in space.choices if not choice.is_skip}
    usual = {3: "kernel-0", 5: "kernel-1", 7: "kernel-2"}
    others = itertools.cycle(f"kernel-{number}" for number in range(3, COLOURS))
    return {size: usual.get(size) or next(others) for size in sorted(sizes)}


def draw(architecture: Architecture, image_size: int, identifier: str, title: str) -> Markup:
    """The drawing as an SVG element whose parts' ids begin with `identifier`; `title` and `in_words` are its alternative."""
    layers = drawn_layers(architecture, image_size)
    first = _first_left(layers)
    width, height = first + LAYER_WIDTH * len(layers) + SIDE, TOP + BARS + BOTTOM
    svg = ElementTree.Element(
        "svg",
        {
            "class": "drawing",
            "viewBox": f"0 0 {width} {height}",
            "style": f"--units: {width}",
            "role": "img",
            "aria-labelledby": f"{identifier}-title {identifier}-desc",
        },
    )
    ElementTree.SubElement(svg, "title", id=f"{identifier}-title").text = title
    ElementTree.SubElement(svg, "desc", id=f"{identifier}-desc").text = in_words(architecture, image_size)
    classes, tallest = kernel_classes(architecture.space), _tallest(architecture.space)
    _text(svg, SIDE, TOP - 26, f"{layers[0].size_before} px", "size", anchor="start")
    _line(svg, (0, TOP + BARS), (width, TOP + BARS), "stream")
    for layer in layers:
        _draw_layer(svg, layer, first, classes, tallest)
    for begin, end, channels in _stages(architecture.space):
        _draw_stage(svg, first + LAYER_WIDTH * begin, first + LAYER_WIDTH * end, channels)
    return Markup(ElementTree.tostring(svg, encoding="unicode"))


def _tallest(space: SearchSpace) -> float:
    return max((choice.expansion or choice.share for choice in space.choices if not choice.is_skip), default=1)


def _first_left(layers: Sequence[DrawnLayer]) -> int:
    """Left edge of the first layer: further right if it leaves out pixels, so that both sizes can be read."""
    return SIDE + (STEM if layers[0].stride > 1 else 0)


def _draw_layer(svg, layer: DrawnLayer, first: int, classes: dict[int, str], tallest: float) -> None:
    left = first + LAYER_WIDTH * layer.index
    middle, base, choice = left + LAYER_WIDTH / 2, TOP + BARS, layer.choice
    group = ElementTree.SubElement(svg, "g", {"class": "layer"})
    if layer.stride > 1:
        _line(group, (left, TOP - 32), (left, base + 40), "downsampling")
        _text(group, left + 4, TOP - 26, f"{layer.size} px", "size", anchor="start")
    if choice.is_skip:
        _text(group, middle, base + 17, "skip", "skip")
        return
    height, colour = max(LEAST_BAR, BARS * (choice.expansion or choice.share) / tallest), classes[choice.kernel_size]
    box = {
        "x": _n(middle - BAR_WIDTH / 2),
        "y": _n(base - height),
        "width": _n(BAR_WIDTH),
        "height": _n(height),
        "rx": "3",
    }
    ElementTree.SubElement(group, "rect", {"class": f"bar {colour}", **box})
    _text(group, middle, base + 17, f"{choice.kernel_size}×{choice.kernel_size}", "kernel")
    _text(group, middle, base - height + 15, choice.width, f"expansion on-{colour}")
    if choice.use_se:
        centre = {"cx": _n(middle), "cy": _n(base - height - 9), "r": "5"}
        ElementTree.SubElement(group, "circle", {"class": "se", **centre})


def _stages(space: SearchSpace) -> Iterator[tuple[int, int, int]]:
    """(first layer, one after the last, channels) of each stage."""
    begin = 0
    for stage in space.stages:
        yield begin, begin + stage.depth, space.layers[begin].out_channels
        begin += stage.depth


def _draw_stage(svg, left: int, right: int, channels: int) -> None:
    y = TOP + BARS + 28
    _line(svg, (left + 4, y), (right - 4, y), "stage")
    label = f"{channels} ch" if right - left > LAYER_WIDTH else str(channels)
    _text(svg, (left + right) / 2, y + 16, label, "channels")


def _line(parent, begin: tuple[float, float], end: tuple[float, float], name: str) -> None:
    (x1, y1), (x2, y2) = begin, end
    ends = {"x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2)}
    ElementTree.SubElement(parent, "line", {"class": name, **ends})


def _text(parent, x: float, y: float, text: str, name: str, anchor: str = "middle") -> None:
    place = {"class": name, "x": _n(x), "y": _n(y), "text-anchor": anchor}
    ElementTree.SubElement(parent, "text", place).text = text


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
