"""Equal networks: the forms that are found equal are those whose blocks are."""

import dataclasses
import itertools

import numpy as np
import pytest
from tiny import tiny_space
from toy_parent import SIZE, toy_parent

from scarlet_tf.parents.around import space_around
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.equivalence import canonical, interchangeable
from scarlet_tf.space.search_space import Architecture


def deep_space(**changes):
    """Stages with a stride, a widening, neither, and activations that differ."""
    stages = (Stage(8, 3, 2), Stage(12, 2), Stage(12, 1), Stage(12, 1, activation="relu"))
    return tiny_space("deep", stages=stages, choices=(Choice(2, 3), Choice(3, 5), Choice()), **changes)


def blocks(choices, space):
    spec = Architecture(tuple(choices), space).lower((space.input_size, space.input_size, 3), 5)
    return tuple(dataclasses.replace(block, name="block") for block in spec.blocks)


def test_pairs_by_hand():
    assert interchangeable(deep_space()) == [1, 3, 4]
    assert interchangeable(deep_space(skip_projection=True)) == [1, 4]
    assert interchangeable(tiny_space()) == [2]
    assert interchangeable(tiny_space(choices=(Choice(2, 3), Choice(3, 5)))) == []
    assert canonical([[2, 2, 0, 2, 2, 1, 0]], deep_space()).tolist() == [[2, 0, 2, 1, 2, 2, 0]]


@pytest.mark.parametrize("kind", ["plain", "projected", "around"])
def test_networks_have_one_form_exactly_if_their_blocks_are_equal(kind):
    space = deep_space(skip_projection=kind == "projected")
    if kind == "around":
        space = space_around(toy_parent(), input_size=SIZE)
    choices = np.array(list(itertools.product(range(space.num_choices), repeat=space.num_layers)))
    forms = canonical(choices, space)
    by_blocks: dict = {}
    for network, form in zip(choices.tolist(), forms.tolist(), strict=True):
        by_blocks.setdefault(blocks(network, space), set()).add(tuple(form))
    assert all(len(found) == 1 for found in by_blocks.values())
    assert len({form for found in by_blocks.values() for form in found}) == len(by_blocks) <= len(choices)
    np.testing.assert_array_equal(canonical(forms, space), forms)
