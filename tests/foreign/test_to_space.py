import pytest
from tiny import tiny_space

import scarlet_tf as st
from scarlet_tf.models.foreign.networks import architecture_from_blocks
from scarlet_tf.space.search_space import SearchSpace

# Scarlet-A, layer by layer as its encoding has it in S2.
SCARLET_A = [
    ["ir_r1_k7_s2_e3_c32", "ir_r1_k5_s1_e6_c32"],
    ["ir_r1_k5_s2_e3_c40", "ir_r1_k7_s1_e3_c40_se0.25", "ir_r1_k3_s1_e6_c40_se0.25", "ir_r1_k5_s1_e3_c40_se0.25"],
    ["ir_r1_k3_s2_e6_c80_se0.25", "ir_r1_k3_s1_e3_c80", "ir_r1_k7_s1_e3_c80_se0.25", "ir_r1_k7_s1_e3_c80"],
    ["ir_r1_k5_s1_e3_c96", "ir_r1_k7_s1_e3_c96_se0.25", "ir_r1_k3_s1_e3_c96", "ir_r1_k7_s1_e3_c96_se0.25"],
    ["ir_r1_k3_s2_e6_c192_se0.25", "ir_r1_k5_s1_e6_c192_se0.25", "ir_r1_k3_s1_e3_c192_se0.25"],
    "ir_r1_k3_s1_e6_c192_se0.25",
    "ir_r1_k7_s1_e6_c320_se0.25",
]


def test_a_published_network_is_found_again():
    space = SearchSpace.from_name("s2")
    assert architecture_from_blocks(SCARLET_A, space).to_string() == "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11"


# Choices of the tiny space: E2K3, E3K5+SE, E2K7, skip; its layers: 8 (stride 2), 8, 12, 12.
TINY = ["ir_r2_k3_s2_e2_c8_nhs", "ir_r1_k5_s1_e3_c12_se0.25", "skip"]


def test_repeats_and_skips():
    assert architecture_from_blocks(TINY, tiny_space()).choices == (0, 0, 1, 3)


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        (2, "ir_r1_k5_s1_e3_c12", "layer 2: .*: E3K5 is no choice of space 'tiny'; expected one of E2K3, E3K5"),
        (2, "ir_r1_k5_s1_e2.5_c12", "layer 2: .*: E2.5K5 is no choice of space"),
        (2, "ir_r1_k5_s1_e3_c16_se0.25", "layer 2: .*: c: expected 12, got 16"),
        (2, "ir_r1_k5_s1_e3_c12_se0.5", "layer 2: .*: se: expected 0.25, got 0.5"),
        (2, "ir_r1_k5_s2_e3_c12_se0.25", "layer 2: .*: s: expected 1, got 2"),
        (2, "ir_r1_k5_s1_e3_c12_se0.25_nre", "layer 2: .*: n: expected hard_swish, got relu"),
        (2, "ds_r1_k5_s1_c12", "layer 2: .*: E1K5 is no choice of space"),
        (3, "ir_r1_k3_s1_e2_c12_noskip", "layer 3: .*: shortcut: expected True, got False"),
        (0, "ir_r1_k3_s1_e2_c8", "layer 0: .*: s: expected 2, got 1"),
        (2, "ir_r2_k5_s1_e3_c12_se0.25", "blocks: expected 4 layers, .* 'tiny' .* got 5; a skipped layer is 'skip'"),
    ],
)
def test_what_does_not_fit_is_named_with_its_layer(place, text, message):
    layers = ["ir_r1_k3_s2_e2_c8", "ir_r1_k3_s1_e2_c8", "ir_r1_k5_s1_e3_c12_se0.25", "skip"]
    layers[place] = text
    with pytest.raises(st.InputError, match=message):
        architecture_from_blocks(layers, tiny_space())


def test_noskip_changes_nothing_where_there_is_no_shortcut():
    layers = [TINY[0], "ir_r1_k5_s1_e3_c12_se0.25_noskip", "skip"]
    assert architecture_from_blocks(layers, tiny_space()).choices == (0, 0, 1, 3)


def test_a_skip_needs_a_space_with_skips():
    space = tiny_space(choices=tiny_space().choices[:3])
    with pytest.raises(st.InputError, match="layer 3: skip: skip is no choice of space 'tiny'"):
        architecture_from_blocks(TINY, space)
