import copy
import json
import pathlib

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.foreign.networks import network_from_blocks, network_from_file
from scarlet_tf.models.foreign.ofa import network_from_ofa
from scarlet_tf.space.cost import count_spec

NETWORKS = pathlib.Path(__file__).parents[2] / "configs" / "networks"
MBV3, WIDE = "ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.2"
PROXYLESS = "ofa_proxyless_d234_e346_k357_w1.3"


def conv(in_channels, out_channels, kernel=1, stride=1, act="relu6", **changes):
    """A layer as the authors' code writes it."""
    fields = {"name": "ConvLayer", "kernel_size": kernel, "stride": stride, "dilation": 1, "groups": 1, "bias": False}
    fields |= {"has_shuffle": False, "in_channels": in_channels, "out_channels": out_channels, "use_bn": True}
    return fields | {"act_func": act, "dropout_rate": 0, "ops_order": "weight_bn_act"} | changes


def block(in_channels, out_channels, kernel, stride, ratio, mid=None, act="relu6", se=False, shortcut=False):
    layer = {"name": "MBInvertedConvLayer", "in_channels": in_channels, "out_channels": out_channels}
    layer |= {"kernel_size": kernel, "stride": stride, "expand_ratio": ratio, "mid_channels": mid}
    layer |= {"act_func": act, "use_se": se}
    identity = {"name": "IdentityLayer", "in_channels": [in_channels], "out_channels": [out_channels], "use_bn": False}
    identity |= {"act_func": None, "dropout_rate": 0, "ops_order": "weight_bn_act"}
    named = {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer}
    return named | {"shortcut": identity if shortcut else None}


def linear(features, classes):
    fields = {"name": "LinearLayer", "in_features": features, "out_features": classes, "bias": True, "use_bn": False}
    return fields | {"act_func": None, "dropout_rate": 0.2, "ops_order": "weight_bn_act"}


def proxyless(*blocks):
    """A small ProxylessNASNets: 3 > 16 > blocks > 32 > 5 classes."""
    last = blocks[-1]["mobile_inverted_conv"]["out_channels"]
    return {
        "name": "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 0.001},
        "first_conv": conv(3, 16, 3, 2),
        "blocks": list(blocks),
        "feature_mix_layer": conv(last, 32),
        "classifier": linear(32, 5),
    }


def mobilenet_v3():
    return {
        "name": "MobileNetV3",
        "bn": {"momentum": 0.1, "eps": 1e-05},
        "first_conv": conv(3, 16, 3, 2, "h_swish"),
        "blocks": [
            block(16, 16, 3, 1, 1, act="relu", shortcut=True),
            block(16, 24, 5, 2, 4, 64, "relu", se=True),
            block(24, 24, 7, 1, 3, 72, "h_swish", shortcut=True),
        ],
        "final_expand_layer": conv(24, 48, act="h_swish"),
        "feature_mix_layer": conv(48, 40, act="h_swish", use_bn=False),
        "classifier": linear(40, 5),
        "resolution": 32,
    }


BLOCKS = (block(16, 8, 3, 1, 1), block(8, 24, 5, 2, 3), block(24, 24, 3, 1, 6, shortcut=True))


def test_a_proxyless_network_is_what_its_block_strings_say():
    strings = ["ds_r1_k3_s1_c8", "ir_r1_k5_s2_e3_c24", "ir_r1_k3_s1_e6_c24"]
    options = {"stem_channels": 16, "tail_channels": 32, "activation": "relu6", "num_classes": 5}
    assert network_from_ofa(proxyless(*BLOCKS)) == network_from_blocks(strings, **options).replace(dropout=0.2)


def test_a_mobilenet_v3_is_what_its_block_strings_say():
    strings = ["ds_r1_k3_s1_c16_nre", "ir_r1_k5_s2_e4_c24_se0.25_nre", "ir_r1_k7_s1_e3_c24"]
    expected = network_from_blocks(
        strings,
        stem_channels=16,
        tail_channels=48,
        head_channels=40,
        head_bias=False,
        activation="hard_swish",
        se_from="expanded",
        se_divisor=8,
        se_gate="hard_sigmoid",
        input_shape=(32, 32, 3),
        num_classes=5,
    )
    assert network_from_ofa(mobilenet_v3()) == expected.replace(dropout=0.2)


def test_newer_files_call_the_layers_otherwise():
    config = proxyless(*BLOCKS)
    newer = copy.deepcopy(config)
    for each in newer["blocks"]:
        each["name"], each["conv"] = "ResidualBlock", each.pop("mobile_inverted_conv")
        each["conv"] |= {"name": "MBConvLayer", "groups": None}
    assert network_from_ofa(newer) == network_from_ofa(config)


def test_a_zero_layer_with_a_shortcut_is_nothing():
    zero = block(8, 8, 3, 1, 3, shortcut=True)
    zero["mobile_inverted_conv"] = {"name": "ZeroLayer", "stride": 1}
    assert network_from_ofa(proxyless(BLOCKS[0], zero, *BLOCKS[1:])) == network_from_ofa(proxyless(*BLOCKS))


def test_arguments_take_precedence_over_the_file(tmp_path):
    spec = network_from_ofa(mobilenet_v3(), input_shape=(64, 96, 3), num_classes=7)
    assert (spec.input_shape, spec.num_classes) == ((64, 96, 3), 7)
    path = tmp_path / "net.config"
    path.write_text(json.dumps(mobilenet_v3(), indent="\t"))
    assert network_from_file(path).input_shape == (32, 32, 3)
    assert network_from_file(path, 48, 3) == spec.replace(input_shape=(48, 48, 3), num_classes=3)


# Published beside each network in Once-for-All's README: parameters and multiply-adds in millions. The paths are what
# the published net.config files say, block by block; sizes are those of their run.config.
PATHS = {
    "tx2_gpu16@96ms_top1@75.8_finetune@25": (
        PROXYLESS,
        {
            "ks": [3, 3, 3, 3, 7, 5, 3, 3, 3, 5, 5, 5, 5, 7, 7, 3, 3, 3, 5, 3, 5],
            "e": [3, 4, 6, 3, 3, 4, 3, 3, 4, 4, 4, 3, 4, 3, 3, 6, 6, 6, 6, 4, 3],
            "d": [3, 2, 4, 4, 4],
            "r": [172],
        },
        ("6.2", "349"),
    ),
    "cpu_lat@11ms_top1@72.0_finetune@25": (
        PROXYLESS,
        {
            "ks": [5, 5, 3, 3, 3, 7, 3, 3, 5, 3, 7, 3, 5, 7, 3, 3, 3, 3, 3, 3, 5],
            "e": [4, 3, 3, 3, 3, 3, 3, 3, 4, 4, 3, 3, 4, 4, 3, 3, 6, 4, 3, 3, 4],
            "d": [2, 2, 3, 2, 2, 1],
            "r": 144,
        },
        ("4.4", "160"),
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_published_costs_of_paths_come_out(name):
    supernet, path, published = PATHS[name]
    cost = count_spec(network_from_ofa(path, supernet=supernet))
    assert (f"{cost.params / 1e6:.1f}", f"{cost.multiply_adds / 1e6:.0f}") == published


def test_the_largest_published_network_comes_out():
    cost = count_spec(network_from_file(NETWORKS / "ofa_flops_595m.yaml"))
    assert (f"{cost.params / 1e6:.1f}", f"{cost.multiply_adds / 1e6:.0f}") == ("9.1", "595")


def test_a_path_has_the_layers_that_its_lists_say():
    spec = network_from_ofa({"ks": [7, *[3] * 19], "e": [3, 4, *[6] * 18], "d": 2, "wid": None}, supernet=MBV3)
    assert len(spec.blocks) == 1 + 5 * 2
    assert [b.kernel_size for b in spec.blocks[:4]] == [3, 7, 3, 3]
    assert [b.hidden_channels for b in spec.blocks[:4]] == [16, 48, 96, 144]
    assert [b.stride for b in spec.blocks] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 2, 1]
    assert [b.out_channels for b in spec.blocks[1::2]] == [24, 40, 80, 112, 160]
    assert [bool(b.se_channels) for b in spec.blocks[1::2]] == [False, True, False, True, True]
    assert (spec.tail_channels, spec.head_channels, spec.head_bias) == (960, 1280, False)


def test_the_wider_supernets_widths():
    spec = network_from_ofa({"supernet": WIDE, "ks": 3, "e": 4, "d": 2})
    assert [b.out_channels for b in spec.blocks[::2]] == [24, 32, 48, 96, 136, 192]
    assert (spec.stem_channels, spec.tail_channels, spec.head_channels) == (24, 1152, 1536)
    spec = network_from_ofa({"supernet": PROXYLESS, "ks": 3, "e": 4, "d": 2})
    assert [b.out_channels for b in spec.blocks] == [24, 32, 32, 56, 56, 104, 104, 128, 128, 248, 248, 416]
    assert (spec.stem_channels, spec.tail_channels, spec.head_channels) == (40, 1664, None)


PATH = {"supernet": MBV3, "ks": 3, "e": 4, "d": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"supernet": "ofa_resnet50"}, "supernet: expected one of ofa_mbv3_d234_e346_k357_w1.0, .* got 'ofa_resnet50'"),
        ({"ks": [3] * 19}, "ks: expected 20 numbers, or one for all, got 19"),
        ({"ks": None}, "ks: expected 20 numbers, or one for all, got None"),
        ({"e": [3] * 19 + [5]}, r"e\[19\]: expected one of \(3, 4, 6\), got 5"),
        ({"d": [2, 3, 4, 5, 2]}, r"d\[3\]: expected one of \(2, 3, 4\), got 5"),
        ({"d": [2] * 6}, "d: expected 5 numbers"),
        ({"wid": [0]}, r"wid: expected none, .* got \[0\]"),
        ({"r": [128, 160]}, r"r: expected the size of the image in pixels, got \[128, 160\]"),
        ({"image_size": 224}, "image_size: unknown key; expected supernet, name, wid, ks, e, d, r"),
    ],
)
def test_bad_paths_are_named(change, message):
    with pytest.raises(InputError, match=message):
        network_from_ofa(PATH | change)


def changed(config, keys, value):
    """A deep copy of `config` with what the path of keys leads to replaced."""
    config = copy.deepcopy(config)
    target = config
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return config


CONV = ("blocks", 1, "mobile_inverted_conv")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("name",), "PyramidTreeNet", "name: expected one of MobileNetV3, ProxylessNASNets, got 'PyramidTreeNet'"),
        (("width",), 1, "width: unknown key"),
        (("blocks",), "no", "blocks: expected a list, got 'no'"),
        (("blocks", 0), 3, r"blocks\[0\]: expected a mapping, got 3"),
        (CONV, None, r"blocks\[1\].mobile_inverted_conv: expected a layer, got None"),
        ((*CONV, "name"), "ZeroLayer", r"blocks\[1\].mobile_inverted_conv.name: expected MBConvLayer or .*'ZeroLayer'"),
        ((*CONV, "in_channels"), 9, r"blocks\[1\].mobile_inverted_conv.in_channels: expected 16, .* got 9"),
        ((*CONV, "groups"), 4, r"groups: expected None, the only one that can be expressed, got 4"),
        ((*CONV, "kernel_size"), [3, 5], r"blocks\[1\].mobile_inverted_conv.kernel_size: expected an integer >= 1"),
        ((*CONV, "kernel_size"), 4, "block_01: kernel_size: expected an odd number, got 4"),
        ((*CONV, "act_func"), "swish", r"act_func: expected one of relu, relu6, h_swish, got 'swish'"),
        ((*CONV, "mid_channels"), 0, r"mid_channels: expected an integer >= 1, got 0"),
        (("blocks", 1, "shortcut"), {"name": "IdentityLayer"}, "block_01: residual: expected stride 1"),
        (("blocks", 0, "shortcut"), {"name": "ConvLayer"}, r"blocks\[0\].shortcut: expected IdentityLayer"),
        (("first_conv", "kernel_size"), 7, "first_conv.kernel_size: expected 3, the only one .*, got 7"),
        (("first_conv", "dilation"), 2, "first_conv.dilation: expected 1"),
        (("final_expand_layer",), None, "final_expand_layer: expected ConvLayer, .* got None"),
        (("final_expand_layer", "bias"), True, "final_expand_layer.bias: expected False"),
        (("feature_mix_layer", "use_bn"), True, "feature_mix_layer.use_bn: expected False"),
        (("feature_mix_layer", "act_func"), "relu", "feature_mix_layer.act_func: expected 'h_swish' as in final_exp"),
        (("feature_mix_layer", "in_channels"), 64, "feature_mix_layer.in_channels: expected 48, .* got 64"),
        (("classifier", "in_features"), 48, "classifier.in_features: expected 40, .* got 48"),
        (("classifier", "bias"), False, "classifier.bias: expected True"),
        (("resolution",), "big", "input_shape: expected"),
    ],
)
def test_what_cannot_be_expressed_is_named_with_its_key(keys, value, message):
    with pytest.raises(InputError, match=message):
        network_from_ofa(changed(mobilenet_v3(), keys, value))


def test_a_proxyless_network_without_its_last_convolution_cannot_be_expressed():
    config = changed(proxyless(*BLOCKS), ("feature_mix_layer",), None)
    with pytest.raises(InputError, match="feature_mix_layer: expected ConvLayer, which is all that can be expressed"):
        network_from_ofa(config)


def test_an_expansion_needs_a_number():
    config = changed(proxyless(*BLOCKS), (*CONV, "expand_ratio"), None)
    with pytest.raises(InputError, match=r"expand_ratio: expected a number > 0, got None"):
        network_from_ofa(config)


def test_a_torn_file_is_named(tmp_path):
    path = tmp_path / "net.config"
    path.write_text('{"name": ')
    with pytest.raises(InputError, match=r"net\.config: "):
        network_from_file(path)


def test_a_supernet_is_for_paths():
    with pytest.raises(InputError, match="supernet: expected none for a whole network"):
        network_from_ofa(mobilenet_v3(), supernet=MBV3)
    with pytest.raises(InputError, match="config: expected a mapping, got list"):
        network_from_ofa([])
