"""NAS-Bench-Macro's space against the published costs, and against plain Keras."""

import json

import keras
import numpy as np
import pytest
from tiny import randomised

import nas_bench_macro
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import Architecture

SPACE = nas_bench_macro.SPACE


def made_table(rng):
    """The file's content with made-up accuracies: deeper networks are better, and one seed differs from another."""
    digits = np.stack(np.unravel_index(np.arange(3**8), (3,) * 8), axis=1)
    costs, params = nas_bench_macro.costs().count(digits)
    quality = 80 + 1.5 * (digits > 0).sum(axis=1) + 0.3 * (digits == 2).sum(axis=1)
    seeds = quality[:, None] + rng.normal(0, 0.2, (3**8, 3))
    return {
        "".join(map(str, network)): {"test_acc": row.tolist(), "flops": int(cost), "params": int(size)}
        for network, row, cost, size in zip(digits, seeds, costs, params, strict=True)
    }


def test_all_published_costs_come_out_to_the_digit():
    path = nas_bench_macro.default_path()
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = json.loads(path.read_text())
    networks = np.array([[int(digit) for digit in name] for name in rows])
    assert len(networks) == 6561
    for ours, key in zip(nas_bench_macro.costs().count(networks), ("flops", "params"), strict=True):
        np.testing.assert_array_equal(ours, [row[key] for row in rows.values()])
    table = nas_bench_macro.load_table(path)
    assert table.networks.shape == (3969, 8)
    assert 0.89 < table.accuracies.mean() < 0.91


def test_a_network_equals_one_of_plain_keras_layers(rng):
    """Skips at strides, an identity, a shortcut; random BN statistics."""
    spec = Architecture((0, 1, 2, 0, 2, 0, 0, 1), SPACE).lower((32, 32, 3), 10)
    network = Network(spec, seed=0)
    arrays = randomised(get_arrays(network), rng)
    set_arrays(network, arrays)

    def conv(x, name, stride=1, relu=True, depthwise=False):
        kernel = arrays[f"{name}/kernel"]
        padded = keras.ops.pad(x, [[0, 0], *[[kernel.shape[0] // 2] * 2] * 2, [0, 0]])
        x = (keras.ops.depthwise_conv if depthwise else keras.ops.conv)(padded, kernel, stride, "valid")
        parts = (arrays[f"{name}_bn/{part}"] for part in ("moving_mean", "moving_variance", "beta", "gamma"))
        mean, variance, beta, gamma = parts
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        return keras.ops.relu(x) if relu else x

    def block(x, name, stride=1, shortcut=False):
        y = conv(x, f"{name}_expand")
        y = conv(conv(y, f"{name}_depthwise", stride, depthwise=True), f"{name}_project", relu=False)
        return x + y if shortcut else y

    images = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
    x = conv(conv(images, "stem_conv"), "block_00_let", 2, relu=False)
    x = block(block(x, "block_01", shortcut=True), "block_02", 2)
    x = conv(block(x, "block_04", shortcut=True), "block_05_let", 2, relu=False)
    x = keras.ops.mean(conv(block(x, "block_07", shortcut=True), "tail_conv"), axis=(1, 2))
    expected = x @ arrays["classifier/kernel"] + arrays["classifier/bias"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(network(images)) / scale, np.asarray(expected) / scale, atol=1e-5)
    assert count_spec(spec).params == sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert nas_bench_macro.costs().count_one((0, 1, 2, 0, 2, 0, 0, 1))[1] == count_spec(spec).params


def test_another_file_is_refused_by_what_is_wrong_with_it(rng, tmp_path):
    table, path = made_table(rng), tmp_path / "table.json"
    torn = json.dumps(table)[:-100]
    fewer = {name: row for name, row in table.items() if name != "00000000"}
    for text, message in (
        (None, r"table\.json: could not be read: No such file"),
        (torn, r"table\.json: expected JSON"),
        ("[]", r"table\.json: expected the 6561 networks of NAS-Bench-Macro"),
        (json.dumps(fewer), "expected the 6561 networks"),
        (json.dumps({**fewer, "00000003": table["00000000"]}), "strings of eight digits 0 to 2"),
        (json.dumps({**table, "12000000": {"test_acc": [90.0, 90.0]}}), "12000000.test_acc: expected 3 numbers from 0"),
        (json.dumps({**table, "12000000": {**table["12000000"], "flops": 7}}), r"12000000.flops: expected \d+, as the"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=message):
            nas_bench_macro.load_table(path)
