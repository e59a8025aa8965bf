"""Exchange with PyTorch's networks; what needs PyTorch itself is in test_torch_parity.py."""

import dataclasses
import importlib.util
import sys

import keras
import numpy as np
import pytest
from tiny import randomised, tiny_space

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import primitives
from scarlet_tf.layers.builder import connect
from scarlet_tf.models.network import build_network, get_arrays, set_arrays
from scarlet_tf.models.torch_weights import from_state_dict, read_state_dict, to_state_dict, torch_key, write_state_dict
from scarlet_tf.space.search_space import Architecture

# A stride, a skip, SE in a block that widens, a shortcut.
CHOICES = (0, 3, 1, 2)


def network(rng, classes=5):
    model = build_network(Architecture(CHOICES, tiny_space()), (8, 8, 3), classes)
    set_arrays(model, randomised(get_arrays(model), rng))
    return model


def saved_state(model, folder):
    st.save_torch_weights(model, folder / "w.npz")
    return read_state_dict(folder / "w.npz")


def assert_same(arrays, others):
    assert arrays.keys() == others.keys()
    for key in arrays:
        np.testing.assert_array_equal(arrays[key], others[key], err_msg=key)


def test_every_array_of_a_block_goes_where_pytorch_has_it(rng):
    expand, depthwise = rng.normal(size=(1, 1, 2, 6)), rng.normal(size=(3, 3, 6, 1))
    squeeze, bias, gamma, variance = (rng.normal(size=shape) for shape in ((1, 1, 6, 1), (1,), (6,), (6,)))
    state = to_state_dict(
        {
            "block_03_expand/kernel": expand,
            "block_03_depthwise/kernel": depthwise,
            "block_03_depthwise_bn/gamma": gamma,
            "block_03_depthwise_bn/moving_variance": variance,
            "block_03_se_squeeze/kernel": squeeze,
            "block_03_se_squeeze/bias": bias,
        }
    )
    assert state.keys() == {
        "mb_module.3.conv1.weight",
        "mb_module.3.conv2.weight",
        "mb_module.3.bn2.weight",
        "mb_module.3.bn2.running_var",
        "mb_module.3.bn2.num_batches_tracked",
        "mb_module.3.mid_se.squeeze_conv.weight",
        "mb_module.3.mid_se.squeeze_conv.bias",
    }
    for output in range(6):
        for pixel in range(2):
            assert state["mb_module.3.conv1.weight"][output, pixel, 0, 0] == expand[0, 0, pixel, output]
        for row in range(3):
            for column in range(3):
                assert state["mb_module.3.conv2.weight"][output, 0, row, column] == depthwise[row, column, output, 0]
        assert state["mb_module.3.mid_se.squeeze_conv.weight"][0, output, 0, 0] == squeeze[0, 0, output, 0]
    np.testing.assert_array_equal(state["mb_module.3.bn2.weight"], gamma)
    np.testing.assert_array_equal(state["mb_module.3.bn2.running_var"], variance)
    counter = state["mb_module.3.bn2.num_batches_tracked"]
    assert counter.dtype == np.int64 and counter.shape == () and counter == 0


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("stem_conv/kernel", "stem.0.weight"),
        ("stem_conv_bn/moving_mean", "stem.1.running_mean"),
        ("stem_depthwise/kernel", "separable_conv.0.weight"),
        ("stem_depthwise_bn/gamma", "separable_conv.1.weight"),
        ("stem_project/kernel", "separable_conv.3.weight"),
        ("stem_project_bn/beta", "separable_conv.4.bias"),
        ("block_18_se_excite/bias", "mb_module.18.mid_se.excite_conv.bias"),
        ("block_07_project/kernel", "mb_module.7.conv3.weight"),
        ("block_07_project_bn/moving_variance", "mb_module.7.bn3.running_var"),
        ("tail_conv/kernel", "conv_before_pooling.0.weight"),
        ("tail_conv_bn/gamma", "conv_before_pooling.1.weight"),
        ("classifier/kernel", "classifier.weight"),
        ("classifier/bias", "classifier.bias"),
        ("block_07_let/kernel", None),
        ("dense/kernel", None),
    ],
)
def test_weights_have_the_published_keys(ours, theirs):
    assert torch_key(ours) == theirs


def test_the_classifier_is_transposed(rng):
    kernel = rng.normal(size=(4, 3))
    np.testing.assert_array_equal(to_state_dict({"classifier/kernel": kernel})["classifier.weight"], kernel.T)


def test_skipped_layers_keep_their_number_and_have_no_entry(rng, tmp_path):
    numbers = {key.split(".")[1] for key in saved_state(network(rng), tmp_path) if key.startswith("mb_module.")}
    assert numbers == {"0", "2", "3"}


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_network_comes_back_bit_by_bit(rng, tmp_path, ending):
    if ending == ".safetensors":
        pytest.importorskip("safetensors", reason="needs the package safetensors")
    model, other = network(rng), network(rng)
    st.save_torch_weights(model, tmp_path / f"w{ending}")
    st.load_torch_weights(other, tmp_path / f"w{ending}")
    assert_same(get_arrays(other), get_arrays(model))


def test_the_prefix_of_data_parallel_training_is_dropped(rng, tmp_path):
    model, other = network(rng), network(rng)
    state = {f"module.{key}": array for key, array in saved_state(model, tmp_path).items()}
    write_state_dict(tmp_path / "parallel.npz", state)
    st.load_torch_weights(other, tmp_path / "parallel.npz")
    assert_same(get_arrays(other), get_arrays(model))


def test_the_classifier_behind_a_dropout_layer_is_read(rng, tmp_path):
    model = network(rng)
    state = saved_state(model, tmp_path)
    behind = {key.replace("classifier.", "classifier.1."): array for key, array in state.items()}
    assert_same(from_state_dict(behind, get_arrays(model), "w"), get_arrays(model))
    with pytest.raises(InputError, match=r"w: 2 unexpected: classifier\.1\.weight, classifier\.1\.bias$"):
        from_state_dict(behind | state, get_arrays(model), "w")


def test_half_and_double_precision_become_the_models_type(rng, tmp_path):
    model = network(rng)
    state = saved_state(model, tmp_path)
    for dtype in (np.float16, np.float64):
        loaded = from_state_dict({k: v.astype(dtype) for k, v in state.items()}, get_arrays(model), "w")
        assert {array.dtype for array in loaded.values()} == {np.dtype(np.float32)}


def test_all_that_does_not_fit_is_listed_and_the_model_stays_as_it_was(rng, tmp_path):
    model = network(rng)
    before, state = get_arrays(model), saved_state(network(rng), tmp_path)
    del state["stem.0.weight"], state["mb_module.0.conv2.weight"]
    state["mb_module.1.conv1.weight"] = np.zeros((2, 2, 1, 1), np.float32)
    state["classifier.bias"] = state["classifier.bias"][:-1]
    state["classifier.weight"] = state["classifier.weight"].astype(np.int8)
    write_state_dict(tmp_path / "bad.npz", state)
    with pytest.raises(InputError) as caught:
        st.load_torch_weights(model, tmp_path / "bad.npz")
    message = str(caught.value)
    assert "bad.npz" in message
    assert "2 missing: stem.0.weight, mb_module.0.conv2.weight" in message
    assert "1 unexpected: mb_module.1.conv1.weight" in message
    assert "1 of the wrong shape: classifier.bias (expected (5,), got (4,))" in message
    assert "1 not of floating point: classifier.weight (int8)" in message
    assert_same(get_arrays(model), before)


def test_long_lists_are_cut_and_counted(rng):
    arrays = get_arrays(network(rng))
    with pytest.raises(InputError, match=rf"w: {len(arrays)} missing: stem.0.weight, ([\w.]+, ){{4}}\.\.\.$"):
        from_state_dict({}, arrays, "w")


def test_a_classifier_that_the_model_lacks_is_refused_or_skipped(rng, tmp_path):
    full = network(rng)
    st.save_torch_weights(full, tmp_path / "w.npz")
    spec = full.spec.replace(num_classes=None, pooling="avg")
    features = st.Network(spec)
    with pytest.raises(InputError, match=r"2 unexpected: classifier.weight, classifier.bias"):
        st.load_torch_weights(features, tmp_path / "w.npz")
    st.load_torch_weights(features, tmp_path / "w.npz", skip_classifier=True)
    assert_same(get_arrays(features), {k: v for k, v in get_arrays(full).items() if not k.startswith("classifier/")})


def test_skip_classifier_keeps_a_classifier_of_other_classes(rng, tmp_path):
    full, other = network(rng), network(rng, classes=7)
    st.save_torch_weights(full, tmp_path / "w.npz")
    with pytest.raises(
        InputError, match=r"2 of the wrong shape: classifier.weight \(expected \(7, 16\), got \(5, 16\)"
    ):
        st.load_torch_weights(other, tmp_path / "w.npz")
    kernel = get_arrays(other)["classifier/kernel"]
    st.load_torch_weights(other, tmp_path / "w.npz", skip_classifier=True)
    np.testing.assert_array_equal(get_arrays(other)["classifier/kernel"], kernel)
    np.testing.assert_array_equal(get_arrays(other)["stem_conv/kernel"], get_arrays(full)["stem_conv/kernel"])


def test_layers_in_front_of_an_input_tensors_network_are_left_alone(rng, tmp_path):
    source = network(rng)
    st.save_torch_weights(source, tmp_path / "w.npz")
    scale = keras.layers.Normalization()
    scale.adapt(rng.normal(3, 2, (16, 8, 8, 3)))
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, connect(source.spec, scale(image), primitives))
    st.load_torch_weights(model, tmp_path / "w.npz")
    x = rng.normal(3, 2, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model(x), source(scale(x)), rtol=1e-5, atol=1e-6)
    st.save_torch_weights(model, tmp_path / "back.npz")
    assert_same(read_state_dict(tmp_path / "back.npz"), read_state_dict(tmp_path / "w.npz"))


def test_a_published_network_takes_every_tensor(tmp_path):
    model = st.ScarletC(input_shape=(32, 32, 3), classes=4)
    state = saved_state(model, tmp_path)
    # 3 + 1 convolutions and their BN (weight, bias, mean, variance, counter) around the blocks, the classifier's two;
    # 16 blocks of 3 convolutions with BN; 13 of them with the four tensors of SE.
    assert len(state) == 4 * 6 + 2 + 16 * 18 + 13 * 4
    st.load_torch_weights(model, tmp_path / "w.npz")


def test_lets_have_no_place_until_they_are_folded(tmp_path):
    architecture = Architecture(CHOICES, tiny_space())
    model = st.Network(architecture.lower((8, 8, 3), 5, skip="let"))
    with pytest.raises(InputError, match=r"block_01_let/kernel: .*fold the LETs first"):
        st.save_torch_weights(model, tmp_path / "w.npz")
    assert not (tmp_path / "w.npz").exists()
    folded, _ = st.fold(model)
    st.save_torch_weights(folded, tmp_path / "w.npz")


def test_a_block_without_the_shortcut_that_pytorch_would_add_is_refused(rng, tmp_path):
    spec = network(rng).spec
    blocks = [dataclasses.replace(block, residual=False) for block in spec.blocks]
    with pytest.raises(InputError, match="block_03: a PyTorch block of its shape has a shortcut"):
        st.save_torch_weights(st.Network(spec.replace(blocks=tuple(blocks))), tmp_path / "w.npz")


def test_other_models_are_refused(tmp_path):
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for model in (dense, "scarlet_a"):
        with pytest.raises(InputError, match="expected a network of this package"):
            st.save_torch_weights(model, tmp_path / "w.npz")


@pytest.mark.parametrize(
    "name, contents, message",
    [
        ("missing.npz", None, "found none"),
        ("w.h5", b"", "ends in one of .npz, .safetensors"),
        ("w.tar", b"", "ends in one of"),
        ("torn.npz", b"PK\x03\x04torn", "expected an archive of numpy.savez"),
        ("array.npz", b"\x93NUMPY", "expected an archive of numpy.savez"),
        ("torn.safetensors", b"torn", "expected a safetensors file"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, contents, message):
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors", reason="needs the package safetensors")
    if contents is not None:
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        read_state_dict(tmp_path / name)


def test_a_single_array_is_no_state_dict(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(3))
    (tmp_path / "w.npy").rename(tmp_path / "w.npz")
    with pytest.raises(InputError, match=r"expected an archive of numpy\.savez"):
        read_state_dict(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "name, package", [("w.safetensors", "safetensors"), ("w.pth", "torch"), ("w.pth.tar", "torch")]
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, name, package):
    for module in (package, f"{package}.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"")
    extra = "torch" if package == "torch" else "pretrained"
    message = rf"needs the package {package}: pip install 'scarlet_tf\[{extra}\]'"
    if package != "torch":  # whose files are read without it
        with pytest.raises(InputError, match=message):
            read_state_dict(tmp_path / name)
    with pytest.raises(InputError, match=message):
        write_state_dict(tmp_path / name, {})
    assert (tmp_path / name).read_bytes() == b""


@pytest.mark.skipif(importlib.util.find_spec("safetensors") is None, reason="needs the package safetensors")
def test_bfloat16_is_read_as_float32(tmp_path):
    header = b'{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    # A bfloat16 is the upper half of a float32: 1.5 is 0x3fc0, -2 is 0xc000.
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\xc0\x3f\x00\xc0")
    array = read_state_dict(tmp_path / "w.safetensors")["x"]
    assert array.dtype == np.float32 and array.tolist() == [1.5, -2.0]
