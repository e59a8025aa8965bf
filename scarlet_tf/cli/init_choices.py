"""Values of a drafted configuration, chosen for images and a budget: image size, space, hold-outs, batches and epochs.

On processors the rules for batches and epochs give the values of configs/digits.yaml and configs/cifar10_small.yaml, which
were run; on a GPU they are a reading between those and the published schedules, which has not been run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import bound_text
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import SearchSpace

# -- image size and space -----------------------------------------------------------------------------------------

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
class ParentAtSize:
    """The parent `parent.name` at an image size: its multiply-adds, and those of the budget that it usually is for.

    sizes: sides of the image that the search tries.
    """

    name: str
    multiply_adds: float
    usual_budget: float
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Sizing:
    """An image size and a space, perhaps around a parent; multiply-adds of its cheapest, most expensive and median network."""

    space: SearchSpace
    least: float
    median: float
    greatest: float
    parent: ParentAtSize | None = None

    @property
    def image_size(self) -> int:
        return self.space.input_size

    @property
    def usual_budget(self) -> float:
        """The parent's, or the budget that half of the networks keep; two digits."""
        return float(f"{self.median if self.parent is None else self.parent.usual_budget:.2g}")


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
        found.append(sizing_of(_space(size, pixels, width, "s2" if squeeze else "s1"), num_classes))
    return found


def choose(budget: float, side: int, num_classes: int, squeeze: bool) -> Sizing:
    """The most expensive candidate whose median network is within MEDIAN_IN_BUDGETS, else the cheapest.

    InputError, with the possible budgets, for one below the cheapest network of all.
    """
    sizings = candidates(side, num_classes, squeeze)
    cheapest = sizings[-1]
    if budget <= cheapest.least:
        raise InputError(
            f"--budget: no network for these images costs less than {bound_text('multiply_adds', budget)}; {reach(sizings)}"
        )
    return next((sizing for sizing in sizings if sizing.median <= MEDIAN_IN_BUDGETS * budget), cheapest)


def reach(sizings: list[Sizing]) -> str:
    """The range of useful budgets, and the option that sets one."""
    least, greatest = (bound_text("multiply_adds", value) for value in (sizings[-1].least, sizings[0].greatest))
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


def sizing_of(space: SearchSpace, num_classes: int, parent: ParentAtSize | None = None) -> Sizing:
    """The space's costs at its input size; the median is that of random networks."""
    table = cost_table(space, space.input_size, num_classes)
    draws = np.random.default_rng(0).integers(space.num_choices, size=(_DRAWS, space.num_layers))
    least, greatest = table.bounds["multiply_adds"]
    return Sizing(space, least, float(np.median(table.count(draws)[0])), greatest, parent)


# -- hold-outs, batches and epochs --------------------------------------------------------------------------------

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
LARGEST_SHARE = 0.3
# Images per class: one for training, one for validation, one for testing.
LEAST_IMAGES = 3
FEW_IMAGES = 5000


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """Images left for training; shares that are held out, None if the dataset has such a split."""

    num_train: int
    test_share: float | None
    validation_share: float | None


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Values for the sections supernet, search and retrain."""

    batch_size: int
    supernet_epochs: int
    retrain_epochs: int
    population_size: int
    generations: int
    recalibration_batches: int
    dropout: float

    @property
    def learning_rate(self) -> float:
        """Learning rate of retraining, proportional to the batch size."""
        return round(0.05 * self.batch_size / 64, 5)


def supernet_rate(batch_size: int, num_choices: int) -> float:
    """The learning rate of strictly fair steps, whose gradient is the sum of one for each choice of a layer.

    0.045 is the value of configs/cifar10_small.yaml, with seven choices and batches of 128. More choices sum more gradients,
    so the rate falls in proportion; fewer do not raise it, and batches below 64 lower it in proportion. [reading]
    """
    return float(f"{0.045 * min(1, 7 / num_choices) * min(1, batch_size / 64):.2g}")


HALVED_FROM, MORE_EPOCHS = 32, 3
"""From so many pixels on a supernet sees images of half the side, for so many times the epochs, at three quarters of the cost:
on a published table that orders networks better than the whole size does (docs/results.md)."""


def supernet_size(image_size: int) -> int | None:
    """The side of the supernet's images in pixels, None for the network's own."""
    return image_size // 2 if image_size >= HALVED_FROM else None


def hold_out(facts: DatasetFacts) -> HoldOut:
    """The usual shares, or larger ones for many classes; InputError if there are too few images for any."""
    has_test = "test" in facts.num_examples or "validation" in facts.num_examples
    has_validation = {"test", "validation"} <= facts.num_examples.keys()
    least = LEAST_IMAGES - has_test - has_validation
    few = [name for name, count in zip(facts.class_names, facts.class_counts, strict=True) if count < least]
    if few:
        raise InputError(
            f"{facts.name}: expected at least {least} training images of each class, got fewer of {', '.join(few[:5])}; add"
            " images or remove these classes"
        )
    num_train, test, validation = facts.num_examples["train"], None, None
    if not has_test:
        test = _share(TEST_SHARE, num_train, facts)
        num_train -= round(test * num_train)
    if not has_validation:
        validation = _share(VALIDATION_SHARE, num_train, facts)
        num_train -= round(validation * num_train)
    return HoldOut(num_train, test, validation)


def schedule(num_train: int, has_gpu: bool, is_small: bool) -> Schedule:
    """The schedule; `is_small`: images so small that all stages are short."""
    largest = 64 if num_train < FEW_IMAGES else 256 if has_gpu else 128
    batch = 8
    while 2 * batch <= min(largest, num_train // 8):
        batch *= 2
    steps = max(num_train // batch, 1)
    if has_gpu:
        epochs = _epochs(10_500, steps, 10, 60), _epochs(50_000, steps, 30, 150)
        search = 70, 120, min(20, steps)
    else:
        epochs = _epochs(1_050, steps, 3, 24), _epochs(5_000, steps, 10, 40)
        search = (16, 6, min(8, steps)) if is_small else (24, 10, min(8, steps))
    return Schedule(batch, *epochs, *search, 0.1 if num_train < FEW_IMAGES else 0.0)


PARENT_SHARES = (1.0,)
"""Shares of a layer's hidden channels in runs from a parent: short trainings do not bring back what halves cost."""
PARENT_VALUES: dict[str, dict[str, Any]] = {
    "supernet": {
        "epochs": 0,
        "batch_size": 32,
        "learning_rate": 0.003,
        "warmup_epochs": 0.2,
        "clip_norm": 1.0,
        "sampling": "sandwich",
        "distillation": 0.5,
        "label_smoothing": 0.0,
    },
    "search": {"population_size": 24, "generations": 8, "recalibration_batches": 0},
    "retrain": {
        "epochs": 5,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "warmup_epochs": 0.5,
        "label_smoothing": 0.1,
        "ema": 0.0,
        "recalibration_batches": 0,
    },
}
"""Values of runs that start from a parent, also in configs/*_lite0.yaml. docs/results.md says what they give beside plain ways;
the rates are a reading from a few short trials."""
# Fewer images get more epochs of retraining, up to so many steps [reading].
_LEAST_STEPS, _MOST_EPOCHS = 250, 20


def parent_schedule(num_train: int) -> Schedule:
    """The lengths of PARENT_VALUES; for few images smaller batches and more epochs."""
    supernet, search, retrain = PARENT_VALUES["supernet"], PARENT_VALUES["search"], PARENT_VALUES["retrain"]
    batch = supernet["batch_size"]
    while batch > 8 and batch > num_train // 8:
        batch //= 2
    steps = max(num_train // batch, 1)
    epochs = max(retrain["epochs"], min(math.ceil(_LEAST_STEPS / steps), _MOST_EPOCHS))
    return Schedule(batch, supernet["epochs"], epochs, dropout=0.2, **search)


def parent_sections(plan: Schedule) -> dict[str, dict[str, Any]]:
    """The sections of PARENT_VALUES with the lengths and the batches of `plan`, to which learning rates are proportional."""

    def training(name: str, epochs: int) -> dict[str, Any]:
        values = PARENT_VALUES[name]
        rate = round(values["learning_rate"] * plan.batch_size / values["batch_size"], 5)
        return {**values, "epochs": epochs, "batch_size": plan.batch_size, "learning_rate": rate}

    search = {key: getattr(plan, key) for key in PARENT_VALUES["search"]}
    return {
        "supernet": training("supernet", plan.supernet_epochs),
        "search": search,
        "retrain": training("retrain", plan.retrain_epochs),
    }


def _epochs(wanted_steps: int, steps: int, least: int, most: int) -> int:
    return min(max(round(wanted_steps / steps), least), most)


def _share(usual: float, num_images: int, facts: DatasetFacts) -> float:
    """The usual share, or the one that leaves every class an image on both sides."""
    classes = len(facts.class_names)
    share = max(usual, round(1.1 * classes / num_images + 0.005, 2))
    if share > LARGEST_SHARE:
        raise InputError(
            f"{facts.name}: {num_images} images are too few to hold some of each of {classes} classes out for testing and"
            f" validation; expected at least {round(1.1 * classes / LARGEST_SHARE / 0.7) + 1}"
        )
    return share


@dataclasses.dataclass(frozen=True)
class Choices:
    """Source of the images, facts about them, and the settings chosen for them; `budget`: multiply-adds.

    why_scratch: the reason for which no parent is in `sizing`.
    forecast: {stage: seconds}, from a measured step of `step_seconds`; empty without a measurement.
    """

    data: DataConfig
    facts: DatasetFacts
    sizing: Sizing
    held_out: HoldOut
    plan: Schedule
    budget: float
    has_gpu: bool
    why_scratch: str = ""
    forecast: Mapping[str, float] = dataclasses.field(default_factory=dict)
    step_seconds: float = 0.0
