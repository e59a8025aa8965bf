import dataclasses
import math

import pytest
from tiny import tiny_space

import scarlet_tf
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import Cost, CostTable, count, count_spec
from scarlet_tf.space.scaling import (
    EFFICIENTNET,
    Scaling,
    add_squeeze_excite,
    scale,
    scale_depth,
    scale_resolution,
    scale_width,
)
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

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
        (Scaling(1.4, depth_multiplier=1.8), "1.4 x the width and 1.8 x the depth"),
    ],
)
def test_scaling_in_words(scaling, words):
    assert str(scaling) == words


# -- depth, resolution, all at once ----------------------------------------------------------------------------------

DEEP = SearchSpace(
    "deep",
    (Stage(8, 4, 2), Stage(12, 1, 2), Stage(16, 3)),
    (Choice(2, 3), Choice(3, 5), Choice(2, 7, use_se=True), Choice(4, 3), Choice()),
    stem_channels=8,
    first_channels=8,
    tail_channels=16,
    input_size=16,
)


@pytest.mark.parametrize(
    ("choices", "multiplier", "expected"),
    [
        # 4 blocks -> ceil(5.6): those behind the first, again from the front; the only block of a stage is repeated
        ("0,1,2,3, 0, 1,2,3", 1.4, "0,1,2,3,1,2, 0,0, 1,2,3,2,3"),
        ("0,1,2,3, 0, 1,2,3", 3, "0,1,2,3,1,2,3,1,2,3,1,2, 0,0,0, 1,2,3,2,3,2,3,2,3"),
        # skips are no blocks: 2 -> 3; 0 stay 0; 1 -> 2, whose only block is behind the first layer
        ("4,1,2,4, 4, 4,3,4", 1.5, "4,1,2,4,1, 4, 4,3,4,3"),
        ("0,4,4,4, 0, 1,4,4", 2, "0,4,4,4,0, 0,0, 1,4,4,1"),
        # fewer: the last blocks go, skips stay; ceil(0.5 * 3) = 2, and never less than one
        ("0,1,2,3, 0, 1,4,3", 0.5, "0,1, 0, 1,4"),
        ("4,1,2,3, 4, 1,2,3", 0.1, "4,1, 4, 1"),
    ],
)
def test_depth_repeats_the_choices_of_each_stage(choices, multiplier, expected):
    deeper = scale_depth(Architecture.parse(choices, DEEP), multiplier)
    assert deeper.to_string() == expected.replace(" ", "")
    assert deeper.space.name == f"deep_depth{multiplier:g}"
    assert [layer.stride for layer in deeper.space.layers].count(2) == 2


def test_a_depth_of_1_is_the_network_itself():
    architecture = ZOO["scarlet_b"].architecture
    assert scale_depth(architecture, 1) is architecture


def test_ten_blocks_times_1_1_are_eleven():
    """In floating point 1.1 * 10 is above 11."""
    space = dataclasses.replace(DEEP, stages=(Stage(8, 10, 2),))
    assert len(scale_depth(Architecture((1,) * 10, space), 1.1).choices) == 11


@pytest.mark.parametrize(
    ("multiplier", "size"), [(1, 224), (1.07, 240), (0.5, 112), (240 / 224, 240), (1.0179, 232), (0.01, 8)]
)
def test_sizes_are_the_nearest_multiples_of_8(multiplier, size):
    assert scale_resolution(ZOO["scarlet_a"].architecture, multiplier).space.input_size == size


def test_a_resolution_of_1_keeps_a_size_that_is_no_multiple_of_8():
    space = dataclasses.replace(DEEP, input_size=19)
    assert scale_resolution(Architecture((0,) * 8, space), 1).space.input_size == 19


@pytest.mark.parametrize("function", [scale_depth, scale_resolution])
@pytest.mark.parametrize("multiplier", [0, -1.4, math.nan, math.inf, "2", True])
def test_bad_depth_or_resolution_is_refused(function, multiplier):
    name = function.__name__.removeprefix("scale_")
    with pytest.raises(InputError, match=f"{name}_multiplier: expected a number > 0, got"):
        function(ZOO["scarlet_a"].architecture, multiplier)


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("coefficients", sorted(EFFICIENTNET))
def test_compound_scaling_is_counted_alike_by_the_table_and_layer_by_layer(name, coefficients):
    wanted = EFFICIENTNET[coefficients]
    scaled = scale(ZOO[name].searched, wanted.width_multiplier, wanted.depth_multiplier, input_size=wanted.input_size)
    spec = scaled.lower()
    assert spec.input_shape == (wanted.input_size, wanted.input_size, 3)
    by_table = CostTable(scaled.space, wanted.input_size, 1000).count_one(scaled.choices)
    assert Cost(*by_table) == count_spec(spec) == count(scaled)


def test_compound_scaling_is_its_three_parts():
    architecture = ZOO["scarlet_c"].architecture
    parts = scale_resolution(scale_depth(scale_width(architecture, 1.2), 1.5), 1.07)
    assert scarlet_tf.scale(architecture, 1.2, 1.5, 1.07) == parts
    assert Scaling(1.2, depth_multiplier=1.5).apply(architecture, (240, 240, 3)) == parts.lower()
    with pytest.raises(InputError, match=r"resolution_multiplier: expected none with input_size, got 1.07"):
        scale(architecture, resolution_multiplier=1.07, input_size=240)


def test_a_spec_cannot_be_deepened():
    with pytest.raises(InputError, match=r"depth_multiplier: expected 1 for a NetworkSpec, .*deepened, got 2"):
        Scaling(depth_multiplier=2).apply(SPEC)
