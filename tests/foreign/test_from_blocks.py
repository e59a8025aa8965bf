import pathlib

import pytest
import yaml

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.foreign.networks import network_from_blocks, network_from_file
from scarlet_tf.space.cost import Cost, count_spec

NETWORKS = pathlib.Path(__file__).parents[2] / "configs" / "networks"
# Parameters to the digit, multiply-adds in millions, as others state them.
PUBLISHED = {
    # torchvision, "num_params" and "_ops" of its pretrained weights
    "mobilenet_v2": (3_504_872, 301),
    "mobilenet_v3_large": (5_483_032, 217),
    "mobilenet_v3_small": (2_542_856, 57),
    "mnasnet_b1": (4_383_312, 314),
    # imgclsmob's table; multiply-adds from the paper or tensorflow/tpu, that table counts other operations, too
    "efficientnet_b0": (5_288_548, None),
    "mnasnet_a1": (3_887_038, 312),
    "fbnet_c": (5_572_200, None),
    "proxylessnas_mobile": (4_080_512, None),
    "single_path_nas": (4_421_616, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters_come_out_to_the_digit(name):
    params, millions = PUBLISHED[name]
    cost = count_spec(network_from_file(NETWORKS / f"{name}.yaml"))
    assert cost.params == params
    assert millions is None or round(cost.multiply_adds / 1e6) == millions


def test_every_network_file_is_checked():
    files = {path.stem for path in NETWORKS.glob("*.yaml")}
    assert files == PUBLISHED.keys() | {"ofa_flops_595m"}
    assert all(yaml.safe_load((NETWORKS / f"{name}.yaml").read_text())["name"] == name for name in files)


# One block string, 16 channels at 8 x 8 pixels in front of it; tail 8, no classifier.
SMALL = {"stem_channels": 16, "stem_stride": 1, "tail_channels": 8, "input_shape": (8, 8, 3), "num_classes": None}
AROUND = Cost(64 * (27 * 16), 27 * 16 + 2 * 16)


def tail(pixels, channels):
    return Cost(pixels * 8 * channels, 8 * channels + 16)


def test_an_ir_block_with_e1_has_an_expansion():
    expected = Cost(64 * (16 * 16 + 9 * 16 + 16 * 16), 16 * 16 + 9 * 16 + 16 * 16 + 3 * 32)
    assert count_spec(network_from_blocks(["ir_r1_k3_s1_e1_c16"], **SMALL)) == AROUND + expected + tail(64, 16)


def test_a_ds_block_has_none():
    expected = Cost(16 * (25 * 16 + 16 * 24), 25 * 16 + 16 * 24 + 2 * 16 + 2 * 24)
    assert count_spec(network_from_blocks(["ds_r1_k5_s2_c24"], **SMALL)) == AROUND + expected + tail(16, 24)


@pytest.mark.parametrize(
    ("options", "squeeze"),
    [
        ({}, 4),  # a quarter of the 16 at the block's input
        ({"se_from": "expanded"}, 12),  # of the 48 inside
        ({"se_from": "expanded", "se_divisor": 8}, 16),
        ({"se_divisor": 8}, 8),
    ],
)
def test_width_of_squeeze_and_excitation(options, squeeze):
    [block] = network_from_blocks(["ir_r1_k3_s1_e3_c16_se0.25"], **SMALL, **options).blocks
    assert block.se_channels == squeeze and block.se_gate == "sigmoid"
    [block] = network_from_blocks(["ir_r1_k3_s1_e3_c16_se0.25"], se_gate="hard_sigmoid", **SMALL).blocks
    assert block.se_gate == "hard_sigmoid"


def test_repeats_strides_shortcuts_and_activations_of_blocks():
    blocks = network_from_blocks(
        ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e6_c24_nhs", "ir_r2_k5_s1_e3_c24_noskip"], activation="relu6"
    ).blocks
    assert [block.name for block in blocks] == [f"block_{index:02d}" for index in range(5)]
    assert [block.stride for block in blocks] == [1, 2, 1, 1, 1]
    assert [block.residual for block in blocks] == [False, False, True, False, False]
    assert [block.activation for block in blocks] == ["relu6", "hard_swish", "hard_swish", "relu6", "relu6"]
    assert [block.expand for block in blocks] == [False, True, True, True, True]
    assert [block.hidden_channels for block in blocks] == [32, 96, 144, 72, 72]


def test_widths_are_rounded_to_multiples_of_8_as_in_timm():
    blocks = network_from_blocks(["ir_r1_k3_s1_e3.67_c24", "ir_r1_k3_s1_e2.3_c80"], stem_channels=24).blocks
    assert [block.hidden_channels for block in blocks] == [88, 56]
    blocks = network_from_blocks(["ir_r1_k3_s1_e6_c32", "ir_r1_k3_s1_e6_c24"], width_multiplier=1.4).blocks
    assert [block.out_channels for block in blocks] == [48, 32]


def test_the_activation_is_that_of_stem_tail_and_head():
    spec = network_from_blocks(["ds_r1_k3_s1_c16_nre"], activation="hard_swish", head_channels=8)
    assert (spec.stem_activation, spec.tail_activation, spec.blocks[0].activation) == (
        "hard_swish",
        "hard_swish",
        "relu",
    )
    assert (spec.first_channels, spec.tail_channels, spec.head_channels) == (None, 1280, 8)


def test_a_last_convolution_of_one_pixel_is_the_tail():
    spec = network_from_blocks(["ds_r1_k3_s1_c16", "cn_r1_k1_s1_c96"], width_multiplier=0.5)
    assert len(spec.blocks) == 1 and spec.tail_channels == 48


CN = "cn_r1_k1_s1_c96"


@pytest.mark.parametrize(
    ("blocks", "options", "message"),
    [
        (
            [CN, "ds_r1_k3_s1_c16"],
            {},
            f"{CN}: block type 'cn' cannot be expressed here; only the last string may be cn",
        ),
        (["skip", "ds_r1_k3_s1_c16"], {}, "skip: block type 'skip' cannot be expressed here; leave the block out"),
        (["cn_r1_k3_s1_c16"], {}, "cn_r1_k3_s1_c16: expected r1, k1 and s1"),
        ([CN], {"tail_channels": 8}, f"tail_channels: expected none beside {CN}, got 8"),
        ([f"{CN}_nhs"], {}, f"{CN}_nhs: n: expected the network's activation, relu, got hard_swish"),
        (
            [CN],
            {"activation": "swish"},
            'activation: expected one of hard_swish, .* got "swish"; did you mean hard_swish',
        ),
        ([CN], {"se_from": "hidden"}, 'se_from: expected one of input, expanded, got "hidden"'),
        ([CN], {"se_divisor": 4}, "se_divisor: expected one of 1, 8, got 4"),
        ([CN], {"se_gate": "relu"}, 'se_gate: expected one of hard_sigmoid, sigmoid, got "relu"'),
        ([CN], {"stem_stride": 4}, "stem_stride: expected an integer from 1 to 2, got 4"),
        ([CN], {"stem_channels": None}, "stem_channels: expected an integer >= 1, got null"),
        ([CN], {"head_channels": 0}, "head_channels: expected an integer >= 1 or null, got 0"),
        ([CN], {"width_multiplier": 0}, "width_multiplier: expected a number > 0, got 0"),
        ([CN], {"input_shape": 224}, "input_shape: expected"),
        ([CN], {"num_classes": 0}, "num_classes: expected"),
    ],
)
def test_what_cannot_be_expressed_is_named(blocks, options, message):
    with pytest.raises(InputError, match=message):
        network_from_blocks(blocks, **options)


def write(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return path


def test_a_file_holds_the_arguments(tmp_path):
    path = write(tmp_path, "name: my\nblocks: [ds_r1_k3_s1_c16]\nstem_channels: 8\ninput_size: 32\nnum_classes: 5\n")
    expected = network_from_blocks(["ds_r1_k3_s1_c16"], stem_channels=8, input_shape=(32, 32, 3), num_classes=5)
    assert network_from_file(path) == expected
    assert network_from_file(path, 64, 7) == expected.replace(input_shape=(64, 64, 3), num_classes=7)
    path = write(tmp_path, "blocks: [ds_r1_k3_s1_c16]")
    assert network_from_file(path) == network_from_blocks(["ds_r1_k3_s1_c16"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks: [ds_r1_k3_s1_c16_nmi]", "ds_r1_k3_s1_c16_nmi: n: expected re, r6, hs"),
        ("stem_channels: 8", "blocks: missing"),
        ("{blocks: [ds_r1_k3_s1_c16], depth: 3}", "depth: unknown key; expected name, input_size, activation, blocks"),
        ("{blocks: [ds_r1_k3_s1_c16], input_size: big}", "input_shape: expected"),
        ("- 3", "expected a mapping, got list"),
        ("", "expected a mapping, got nothing"),
        ("{blocks: [ds_r1_k3_s1_c16], blocks: []}", "key 'blocks' is given twice"),
        ("a: [", "expected YAML"),
    ],
)
def test_bad_files_are_named(text, message, tmp_path):
    with pytest.raises(InputError, match=rf"my\.yaml: .*{message}"):
        network_from_file(write(tmp_path, text))


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml: expected a readable YAML file: No such file"):
        network_from_file("nowhere.yaml")
