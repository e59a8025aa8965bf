import dataclasses
import math

import pytest
from tiny import tiny_space

from scarlet_tf.cost import Cost, CostTable, count_spec
from scarlet_tf.errors import InputError
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.scaling import Scaling, add_squeeze_excite, scale_width
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

BLOCKS = (
    InvertedResidualSpec("a", 2, 8, 4, 3),
    InvertedResidualSpec("b", 4, 24, 4, 5, residual=True),
    IdentitySpec("c", 4, 4, stride=2),
    InvertedResidualSpec("d", 4, 16, 6, 3, se_channels=4),
    LinearSpec("e", 6, 6),
    InvertedResidualSpec("f", 6, 40, 6, 3),
)
SPEC = NetworkSpec((8, 8, 3), 5, 4, 2, 2, BLOCKS, 6)  # 4 x 4 pixels up to c, 2 x 2 behind it


def test_squeeze_excite_costs_what_is_counted_by_hand():
    expected = {"a": 1, "b": 2, "d": 4, "f": 2}  # 0.5 -> 0, which is made 1; 1.5 -> 2; its own; 2.5 -> 2
    scaled = add_squeeze_excite(SPEC, 0.0625)
    assert {b.name: b.se_channels for b in scaled.blocks if isinstance(b, InvertedResidualSpec)} == expected

    stem = Cost(16 * (27 * 4 + 9 * 4 + 4 * 2), (27 * 4 + 8) + (9 * 4 + 8) + (4 * 2 + 4))
    a = Cost(16 * (2 * 8 + 9 * 8 + 8 * 4) + 2 * 8 * 1, 16 + 72 + 32 + (8 * 1 + 1 + 1 * 8 + 8) + 2 * (8 + 8 + 4))
    b = Cost(
        16 * (4 * 24 + 25 * 24 + 24 * 4) + 2 * 24 * 2, 96 + 600 + 96 + (24 * 2 + 2 + 2 * 24 + 24) + 2 * (24 + 24 + 4)
    )
    d = Cost(
        4 * (4 * 16 + 9 * 16 + 16 * 6) + 2 * 16 * 4, 64 + 144 + 96 + (16 * 4 + 4 + 4 * 16 + 16) + 2 * (16 + 16 + 6)
    )
    e = Cost(4 * 36, 36)
    f = Cost(
        4 * (6 * 40 + 9 * 40 + 40 * 6) + 2 * 40 * 2, 240 + 360 + 240 + (40 * 2 + 2 + 2 * 40 + 40) + 2 * (40 + 40 + 6)
    )
    tail = Cost(4 * 36 + 6 * 5, (36 + 12) + (6 * 5 + 5))
    assert count_spec(scaled) == stem + a + b + d + e + f + tail


def test_squeeze_excite_changes_nothing_else():
    scaled = add_squeeze_excite(SPEC, 0.25)
    for before, after in zip(SPEC.blocks, scaled.blocks, strict=True):
        if isinstance(before, InvertedResidualSpec):
            after = dataclasses.replace(after, se_channels=before.se_channels)
        assert after == before
    assert scaled.replace(blocks=()) == SPEC.replace(blocks=())
    assert add_squeeze_excite(SPEC, 0) == SPEC
    assert add_squeeze_excite(scaled, 0.5) == scaled  # every block has it


@pytest.mark.parametrize("ratio", [-0.1, 1.5, math.nan, math.inf])
def test_bad_ratio_of_squeeze_excite_is_refused(ratio):
    with pytest.raises(InputError, match="se_ratio: expected a number from 0 to 1, got"):
        add_squeeze_excite(SPEC, ratio)


def test_widths_times_1_4_are_the_nearest_multiples_of_8():
    space = scale_width(ZOO["scarlet_a"].architecture, 1.4).space
    assert space.widths == (48, 24, 1792)  # of 44.8, 22.4 and 1792
    widths = {layer.out_channels: None for layer in space.layers}
    assert list(widths) == [48, 56, 112, 136, 272, 448]  # of 44.8, 56, 112, 134.4, 268.8, 448


def test_scarlet_a_times_1_4_is_counted_alike_by_the_table_and_layer_by_layer():
    architecture = ZOO["scarlet_a"].architecture
    wide = scale_width(architecture, 1.4)
    assert wide.choices == architecture.choices
    by_table = CostTable(wide.space, 224, 1000).count_one(wide.choices)
    assert Cost(*by_table) == count_spec(wide.lower()) == count_spec(Scaling(1.4).apply(architecture))
    assert wide.space == SearchSpace.from_name("s2", width_multiplier=1.4)


def test_widths_are_multiplied_on_top_of_the_spaces_own():
    half = Architecture((0, 1, 2, 3), tiny_space(width_multiplier=0.5))
    assert scale_width(half, 4).space == tiny_space(width_multiplier=2.0)
    assert scale_width(half, 2).lower((8, 8, 3), 5) == Architecture((0, 1, 2, 3), tiny_space()).lower((8, 8, 3), 5)


def test_a_network_can_be_narrowed_but_for_its_tail():
    narrow = scale_width(ZOO["scarlet_a"].architecture, 0.5).space
    assert narrow.widths == (16, 8, 1280)


@pytest.mark.parametrize("multiplier", [0, -1.4, math.nan, math.inf])
def test_bad_width_multiplier_is_refused(multiplier):
    with pytest.raises(InputError, match="width_multiplier: expected a number > 0, got"):
        scale_width(ZOO["scarlet_a"].architecture, multiplier)


def test_squeeze_excite_is_as_wide_as_the_widened_block_has_it():
    architecture = Architecture((0, 1, 3, 3), tiny_space())  # widths of 8 become 16
    blocks = Scaling(width_multiplier=1.4, se_ratio=0.125).apply(architecture, (8, 8, 3), 5).blocks
    assert [(block.hidden_channels, block.se_channels) for block in blocks] == [(32, 4), (48, 12)]  # 12: a choice's own


def test_no_scaling_is_the_network_as_it_is():
    architecture = Architecture((0, 1, 2, 3), tiny_space())
    spec = architecture.lower((8, 8, 3), 5)
    assert Scaling().is_none
    assert Scaling().apply(architecture, (8, 8, 3), 5) == Scaling().apply(spec) == spec


def test_a_spec_can_be_given_squeeze_excite_but_not_be_widened():
    assert not Scaling(se_ratio=0.0625).is_none
    assert Scaling(se_ratio=0.0625).apply(SPEC) == add_squeeze_excite(SPEC, 0.0625)
    with pytest.raises(InputError, match=r"width_multiplier: expected 1 for a NetworkSpec, .*got 1\.4"):
        Scaling(width_multiplier=1.4).apply(SPEC)


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        (Scaling(), "no scaling"),
        (Scaling(1.4), "1.4 x the width"),
        (Scaling(1.4, 0.0625), "SE at 0.0625 and 1.4 x the width"),
    ],
)
def test_scaling_in_words(scaling, words):
    assert str(scaling) == words
