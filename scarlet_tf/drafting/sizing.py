"""Image size and space for images of a size and a budget of multiply-adds."""

from __future__ import annotations

import dataclasses

import numpy as np

from scarlet_tf.cost import cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.search.objectives import show
from scarlet_tf.space import SearchSpace, Stage

# Any side between these works: a stride of 2 makes 15 pixels of 29 and 14 of 28, so sides need not be multiples of the
# total stride, and images that are not resized lose nothing.
SMALLEST_SIDE, LARGEST_SIDE = 16, 224
# Half of 400 networks drawn at random must cost at most this many budgets: the published recipe has 0.66 (S1 at 224
# pixels, 500 M), configs/cifar10_small.yaml 1.07 and configs/digits.yaml 1.4.
MEDIAN_IN_BUDGETS = 1.25
_DRAWS = 400
# (image size, width) as shares, from expensive to cheap; images and widths shrink together [reading].
_SHRINKING = ((1, 1), (0.857, 1), (0.714, 1), (0.714, 0.75), (0.571, 0.75), (0.571, 0.5), (0.43, 0.5), (0.43, 0.35))
_WIDENING = tuple((1, width) for width in (2.0, 1.5, 1.25, 1.0, 0.75, 0.5, 0.35))
# Total strides of 32, 16 and 8, so that the last layers see maps of at least 2 x 2 pixels.
PUBLISHED_FROM, MEDIUM_FROM = 96, 48
_MEDIUM_STAGES = (Stage(16, 2), Stage(24, 3, 2), Stage(48, 3, 2), Stage(96, 3, 2), Stage(160, 1))
_SMALL_STAGES = (Stage(16, 2), Stage(24, 2, 2), Stage(48, 2, 2), Stage(64, 1))


@dataclasses.dataclass(frozen=True)
class Sizing:
    """An image size and a space; multiply-adds of its cheapest, its most expensive and its median network."""

    space: SearchSpace
    least: float
    median: float
    greatest: float

    @property
    def image_size(self) -> int:
        return self.space.input_size


def natural_size(side: int) -> int:
    """The input side that loses nothing of an image whose shorter side is `side`, up to LARGEST_SIDE."""
    return min(max(side, SMALLEST_SIDE), LARGEST_SIDE)


def candidates(side: int, num_classes: int, squeeze: bool) -> list[Sizing]:
    """Candidates from expensive to cheap. `squeeze`: the choices of S2, which has squeeze-and-excitation, instead of S1's."""
    size = natural_size(side)
    ladder = _SHRINKING if size >= PUBLISHED_FROM else _WIDENING
    found = []
    for share, width in ladder:
        pixels = size if share == 1 else max(round(share * size / 8) * 8, SMALLEST_SIDE)
        found.append(_sizing(_space(size, pixels, width, "s2" if squeeze else "s1"), num_classes))
    return found


def choose(budget: float, side: int, num_classes: int, squeeze: bool) -> Sizing:
    """The most expensive candidate whose median network is within MEDIAN_IN_BUDGETS, else the cheapest.

    InputError, with the possible budgets, for one below the cheapest network of all.
    """
    sizings = candidates(side, num_classes, squeeze)
    cheapest = sizings[-1]
    if budget <= cheapest.least:
        raise InputError(
            f"--budget: no network for these images costs less than {show('multiply_adds', budget)}; {reach(sizings)}"
        )
    return next((sizing for sizing in sizings if sizing.median <= MEDIAN_IN_BUDGETS * budget), cheapest)


def reach(sizings: list[Sizing]) -> str:
    """The range of useful budgets, and the option that sets one."""
    least, greatest = (show("multiply_adds", value) for value in (sizings[-1].least, sizings[0].greatest))
    middle = f"{sizings[len(sizings) // 2].median / 1e6:.2g}M"
    return f"{least} to {greatest} are in reach; for example: --budget {middle}"


def _space(natural: int, pixels: int, width: float, choices: str) -> SearchSpace:
    published = SearchSpace.from_name(choices)
    if natural >= PUBLISHED_FROM:
        space = published if width == 1 else dataclasses.replace(published, name=f"{choices}_narrow")
        return dataclasses.replace(space, width_multiplier=float(width), input_size=pixels)
    medium = natural >= MEDIUM_FROM
    return SearchSpace(
        "medium" if medium else "small",
        _MEDIUM_STAGES if medium else _SMALL_STAGES,
        published.choices,
        stem_channels=16,
        tail_channels=640 if medium else 320,
        width_multiplier=float(width),
        input_size=pixels,
    )


def _sizing(space: SearchSpace, num_classes: int) -> Sizing:
    table = cost_table(space, space.input_size, num_classes)
    draws = np.random.default_rng(0).integers(space.num_choices, size=(_DRAWS, space.num_layers))
    least, greatest = table.bounds["multiply_adds"]
    return Sizing(space, least, float(np.median(table.count(draws)[0])), greatest)
