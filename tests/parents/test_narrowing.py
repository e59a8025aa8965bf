"""Parents of fewer channels: sorted ones are the same function, and channels that say nothing are the first to go."""

import dataclasses

import numpy as np
import pytest
from toy_parent import SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import parse_config
from scarlet_tf.config.from_parent import load_parent, parent_in
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.parents.narrowing import parts_of

WIDE = (block(0, 16, 32, 3, 2), block(1, 32, 32, 3), block(2, 32, 64, 5, 2), block(3, 64, 64, 3))
SPEC = toy_spec(stem_channels=32, first_channels=16, blocks=WIDE)
GATED = (
    block(0, 16, 16, 3, expansion=1, se_channels=4, se_gate="sigmoid"),
    block(1, 16, 32, 3, 2, se_channels=4, se_gate="sigmoid"),
    block(2, 32, 32, 5, se_channels=8, se_gate="sigmoid"),
)
PLAIN_STEM = toy_spec(
    stem_channels=16, first_channels=None, blocks=GATED, head_channels=24, stem_activation="hard_swish"
)


def logits(parent, images):
    return np.asarray(parent.network()(images))


@pytest.mark.parametrize("spec", [SPEC, PLAIN_STEM], ids=["separable stem", "plain stem, gates and head"])
def test_sorted_channels_are_the_same_function(spec, rng):
    parent, images = toy_parent(spec), toy_images(rng)
    found = parent.narrowed(1)
    assert (found.spec, found.name) == (parent.spec, parent.name)
    assert found.fingerprint != parent.fingerprint
    expected = logits(parent, images)
    np.testing.assert_allclose(logits(found, images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_widths_by_hand():
    """Multiples of 8, at least 90 % of the product; the tail stays."""
    spec = toy_parent(SPEC).narrowed(0.75).spec
    assert (spec.stem_channels, spec.first_channels, spec.tail_channels) == (24, 16, 64)
    assert [(b.in_channels, b.hidden_channels, b.out_channels) for b in spec.blocks] == [
        (16, 72, 24),
        (24, 144, 24),
        (24, 144, 48),
        (48, 288, 48),
    ]
    gated = toy_parent(PLAIN_STEM).narrowed(0.5).spec
    assert (gated.stem_channels, gated.first_channels, gated.head_channels) == (8, None, 24)
    assert [(b.hidden_channels, b.out_channels, b.se_channels) for b in gated.blocks] == [
        (8, 8, 2),
        (48, 16, 2),
        (96, 16, 4),
    ]


def with_constants(parent, multiplier, rng):
    """The parent, of whose channels so many vary that a narrower one holds; the others are small constants, drawn at random."""
    arrays = {name: array.copy() for name, array in parent.arrays.items()}
    narrow = parent.narrowed(multiplier).arrays
    constant = {}
    for part in parts_of(parent.spec):
        bn = f"{part.name}_bn"
        left, whole = len(narrow[f"{bn}/gamma"]), len(arrays[f"{bn}/gamma"])
        chosen = constant.setdefault(part.writes, rng.permutation(whole)[left:])
        # A hidden channel's own result is what the depthwise convolution gives: its padding would end a constant.
        if not part.name.endswith("expand"):
            arrays[f"{bn}/gamma"][chosen], arrays[f"{bn}/beta"][chosen] = 0, rng.uniform(0, 0.1, len(chosen))
    return dataclasses.replace(parent, arrays=arrays), constant


def test_channels_that_say_nothing_go_first_and_leave_their_mean(rng):
    parent, constant = with_constants(toy_parent(SPEC), 0.75, rng)
    found, images = parent.narrowed(0.75), toy_images(rng)
    expected = logits(parent, images)
    np.testing.assert_allclose(logits(found, images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for name in ("stem", "stream_01", "block_02"):
        part = next(part for part in parts_of(parent.spec) if part.writes == name and not part.name.endswith("expand"))
        kept = np.setdiff1d(np.arange(len(parent.arrays[f"{part.name}_bn/beta"])), constant[name])
        own = parent.arrays[f"{part.name}_bn/beta"][kept]
        assert sorted(found.arrays[f"{part.name}_bn/beta"]) == sorted(own)


def test_what_is_kept_has_the_parents_weights():
    """The kernel of a convolution is a sub-matrix of the parent's: each of its rows is found there, with its columns."""
    parent = toy_parent(SPEC)
    found = parent.narrowed(0.75)
    name = "block_02_depthwise/kernel"
    own = {array.tobytes() for array in np.moveaxis(parent.arrays[name][..., 0], 2, 0)}
    kept = [array.tobytes() for array in np.moveaxis(found.arrays[name][..., 0], 2, 0)]
    assert len(kept) == len(set(kept)) == 144 and set(kept) <= own
    whole, part = (p.arrays["block_03_expand/kernel"][0, 0] for p in (parent, found))
    places = [np.argwhere(whole == value) for value in (part[0, 0], part[0, 1], part[1, 0], part[1, 1])]
    (a, b), (c, d), (e, f), (g, h) = (place[0] for place in places)
    assert (a, b) == (c, f) and (e, d) == (g, h)
    for kind in ("tail_conv_bn/gamma", "classifier/kernel"):
        np.testing.assert_array_equal(found.arrays[kind], parent.arrays[kind])


@pytest.mark.parametrize("spec", [SPEC, PLAIN_STEM])
def test_a_space_around_it_has_its_path(spec):
    found = toy_parent(spec).narrowed(0.5)
    space = space_around(found)
    assert parent_path(found, space).lower((SIZE, SIZE, 3), spec.num_classes) == found.spec


@pytest.mark.parametrize(
    ("spec", "multiplier", "message"),
    [
        (SPEC, 0, "width_multiplier: expected a number above 0 and up to 1, got 0"),
        (SPEC, 1.5, "width_multiplier: expected a number above 0 and up to 1, got 1.5"),
        (SPEC, True, "width_multiplier: expected a number above 0 and up to 1, got True"),
        (
            toy_spec(first_channels=16, blocks=(block(0, 16, 24, 3),)),
            0.3,
            "expected two widths around block_00, without a shortcut, got 8 twice with 0.3",
        ),
        (
            toy_spec(blocks=(dataclasses.replace(block(0, 8, 8, 3), residual=False),)),
            0.5,
            "block_00: expected a shortcut",
        ),
    ],
)
def test_what_cannot_be_narrowed_is_named(spec, multiplier, message):
    with pytest.raises(InputError, match=message):
        toy_parent(spec).narrowed(multiplier)


def test_a_configuration_narrows_its_parent(tmp_path):
    (tmp_path / "run" / "retrain").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("data: {normalization: unit}")
    toy_parent(SPEC).network().save(tmp_path / "run" / "retrain" / "model.keras")
    values = {"data": {"image_size": SIZE}, "parent": {"name": str(tmp_path / "run"), "width_multiplier": 0.75}}
    config = parse_config(values)
    parent = parent_in(config.parent)
    assert parent.name == "run_x0.75"
    assert parent.fingerprint == load_parent(str(tmp_path / "run")).narrowed(0.75).fingerprint
    assert config.space == dataclasses.replace(space_around(parent), name="parent")
    assert config.space.stages[0].hidden_channels == (72, 144)
    assert parse_config(config.to_dict()) == config
    for value in (0, 1.5, "wide"):
        with pytest.raises(InputError, match=r"parent\.width_multiplier: expected a number above 0 and up to 1"):
            parse_config({**values, "parent": {**values["parent"], "width_multiplier": value}})
