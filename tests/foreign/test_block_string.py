import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.foreign.block_string import BlockString, parse_stages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ir_r2_k3_s2_e6_c24_se0.25_nre_noskip",
            BlockString("", "ir", 2, 3, 2, 24, 6.0, 0.25, "relu", False),
        ),
        ("ir_c32_e2.5_s1_k5_r1", BlockString("", "ir", 1, 5, 1, 32, 2.5)),
        ("ir_r1_k3_s1_e6_c16_a1_p1_nhs_skip", BlockString("", "ir", 1, 3, 1, 16, 6.0, 0.0, "hard_swish")),
        ("ds_r3_k7_s1_c16_nr6", BlockString("", "ds", 3, 7, 1, 16, 1.0, 0.0, "relu6")),
        ("ds_r1_k3_s2_e1_c16_se0.5", BlockString("", "ds", 1, 3, 2, 16, 1.0, 0.5)),
        ("cn_r1_k1_s1_c960", BlockString("", "cn", 1, 1, 1, 960)),
        ("skip", BlockString("", "skip")),
    ],
)
def test_fields_are_read_in_any_order(text, expected):
    parsed = BlockString.parse(text)
    assert parsed.text == text
    assert {**vars(parsed), "text": ""} == vars(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("er_r1_k3_s1_e4_c24", r"block type 'er' \(fused expansion and depthwise convolution\) cannot be expressed"),
        ("dsa_r1_k3_s1_c32", r"block type 'dsa' \(an activation after the projection\) cannot be expressed"),
        ("uir_r1_a3_k5_s2_e3_c64", "block type 'uir'"),
        ("mqa_r1_k3_h4_s1_d64_c160", r"block type 'mqa' \(attention\) cannot be expressed"),
        ("xx_r1_k3_s1_c32", "block type 'xx' is unknown; expected ir, ds, skip, or, as the last string, cn"),
        ("r1_k3_s1_e1_i32_o16", "block type 'r1' is unknown"),
        ("skip_r2", "block type 'skip' is unknown"),
        ("ir_r1_k3_s1_c32", "expected the fields r, k, s, e, c, got no e"),
        ("ir_r1_s1_c32", "expected .*, got no k and no e"),
        ("ir_r1_k3_k5_s1_e6_c32", "k: expected it once, got 3 and 5"),
        ("ir_r1_k3.5_s1_e6_c32", r"k: expected one odd number \(mixed kernels cannot be expressed\), got 3.5"),
        ("ir_r1_k4_s1_e6_c32", "k: expected one odd number .*, got 4"),
        ("ir_r1_k3_s3_e6_c32", "s: expected 1 or 2, got 3"),
        ("ir_r0_k3_s1_e6_c32", "r: expected a whole number >= 1, got 0"),
        ("ir_r1_k3_s1_e6_c32.5", "c: expected a whole number >= 1, got 32.5"),
        ("ir_r1_k3_s1_e0_c32", "e: expected a number > 0, got 0"),
        ("ir_r1_k3_s1_e6x_c32", "e: expected a number > 0, got 6x"),
        ("ir_r1_k3_s1_e6_c32_se0.2.5", "se: expected a number >= 0, got 0.2.5"),
        ("ir_r1_k3_s1_e6_c32_nmi", "n: expected re, r6, hs, sw; mi cannot be expressed"),
        ("ir_r1_k3_s1_e6_c32_ngelu", "ngelu: expected a field such as k3"),
        ("ir_r1_k3_s1_e6_c32_a3", r"a: expected 1, the only one .* \(kernel of the expansion\), got 3"),
        ("ir_r1_k3_s1_e6_c32_p3", "p: expected 1"),
        ("ds_r1_k3_s1_e6_c32", r"e: expected 1, the only one .* \(a ds block has no expansion\), got 6"),
        ("ir_r1_k3_s1_e6_c32_cc4", r"field 'cc' \(conditional convolutions\) cannot be expressed"),
        ("ir_r1_k3_s1_e6_c32_gs8", r"field 'gs' \(grouped convolutions\) cannot be expressed"),
        ("ir_r1_k3_s1_e6_c32_z9", "field 'z' is unknown; expected r, k, s, e, c, se, n, a, p"),
        ("ir_r1_k3_s1_e6_c32_wat", "wat: expected a field such as"),
        ("ir_r1_k3_s1_e6_c32_skip_noskip", "expected skip or noskip once, got skip and noskip"),
        ("cn_r1_k3_s1_c16_skip", "skip: a convolution with a shortcut cannot be expressed"),
    ],
)
def test_what_cannot_be_expressed_is_named_with_string_and_field(text, message):
    with pytest.raises(InputError, match=f"^{text}: {message}"):
        BlockString.parse(text)


def test_stages_are_strings_or_lists_of_strings():
    strings = parse_stages(["ds_r1_k3_s2_c16", ("ir_r1_k3_s2_e6_c24", "ir_r2_k5_s1_e3_c24")])
    assert [string.channels for string in strings] == [16, 24, 24]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("ir_r1_k3_s1_e6_c32", "blocks: expected a list of block strings, got 'ir_r1"),
        (7, "blocks: expected a list of block strings, got 7"),
        ([], "blocks: expected at least one block string, got none"),
        ([{"k": 3}], r"blocks: expected block strings such as .* or lists of them, got \{'k': 3\}"),
        ([[3]], "blocks: expected block strings such as 'ir_r2_k3_s2_e6_c24', got 3"),
        (
            [["ir_r1_k3_s2_e6_c24", "ir_r1_k3_s2_e3_c24"]],
            "ir_r1_k3_s2_e3_c24: s: expected 1 after the first string of a stage, got 2",
        ),
    ],
)
def test_bad_lists_are_named(stages, message):
    with pytest.raises(InputError, match=message):
        parse_stages(stages)
