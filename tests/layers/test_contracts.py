"""Every layer and head keeps what Keras promises of its own: shapes, dtypes, saving, masks, JAX's pure functions."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import ChoiceBlock, SpecBlock, Stem, Tail
from scarlet_tf.layers.core import BatchNormalization, Conv2D, DepthwiseConv2D, Subsample
from scarlet_tf.layers.split_depthwise import SplitDepthwiseConv2D
from scarlet_tf.models.features import DetectionHead, SegmentationHead
from scarlet_tf.space.spec import InvertedResidualSpec, LinearSpec, NetworkSpec

BLOCK = InvertedResidualSpec("block", 4, 6, 4, 5, se_channels=2, residual=True)
ENDS = NetworkSpec((5, 7, 4), 3, 6, 2, 5, (), 6)
MAPS = {"stride_4": (5, 7, 4), "stride_8": (3, 4, 6)}
LAYERS = {
    "batch_norm": (lambda **k: BatchNormalization(**k), 4),
    "conv": (lambda **k: Conv2D(3, 1, use_bias=False, **k), 1),
    "depthwise": (lambda **k: DepthwiseConv2D(3, padding="same", use_bias=False, **k), 1),
    "split": (lambda **k: SplitDepthwiseConv2D(7, padding="same", use_bias=False, **k), 1),
    "subsample": (lambda **k: Subsample(2, **k), 0),
    "block": (lambda **k: SpecBlock(BLOCK, **k), 19),
    "skip": (lambda **k: SpecBlock(LinearSpec("skip", 4, 6, 2), **k), 1),
    "stem": (lambda **k: Stem(ENDS, **k), 15),
    "tail": (lambda **k: Tail(ENDS, **k), 7),
    "segmentation": (lambda **k: SegmentationHead(3, 4, **k), 18),
    "detection": (lambda **k: DetectionHead(3, 4, **k), 32),
}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_symbolic_call_declares_what_the_eager_one_returns(name, policy, rng):
    """`compute_output_spec` decides what the layers behind it expect; the dtype is the layer's own, not the global one."""
    make, num_weights = LAYERS[name]
    layer = make(dtype=policy)
    shapes = MAPS if name in ("segmentation", "detection") else (5, 7, 4)
    declared = layer(keras.tree.map_shape_structure(keras.Input, shapes))
    found = layer(keras.tree.map_shape_structure(lambda s: rng.normal(size=(2, *s)).astype(np.float32), shapes))
    for one, other in zip(keras.tree.flatten(declared), keras.tree.flatten(found), strict=True):
        assert tuple(one.shape) == (None, *other.shape[1:])
        assert one.dtype == keras.backend.standardize_dtype(other.dtype)
    assert len(layer.weights) == num_weights
    inner = {part.dtype_policy.name for part in layer._flatten_layers(include_self=False)}
    assert inner <= {policy, "float32"} and (policy in inner or not inner)


@pytest.mark.parametrize("name", LAYERS)
def test_a_functional_model_with_it_saves_and_loads(name, rng, tmp_path):
    shapes = MAPS if name in ("segmentation", "detection") else (5, 7, 4)
    inputs = (
        {key: keras.Input(shape, name=key) for key, shape in MAPS.items()} if shapes is MAPS else keras.Input(shapes)
    )
    model = keras.Model(inputs, LAYERS[name][0](dtype="mixed_bfloat16", name="it")(inputs))
    x = keras.tree.map_shape_structure(lambda s: rng.normal(size=(2, *s)).astype(np.float32), shapes)
    model.get_layer("it").trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("it").get_config() == model.get_layer("it").get_config()
    for one, other in zip(keras.tree.flatten(model(x)), keras.tree.flatten(loaded(x)), strict=True):
        np.testing.assert_array_equal(tf.cast(one, tf.float32), tf.cast(other, tf.float32))


def test_a_choice_block_in_a_functional_model(rng, tmp_path):
    block = ChoiceBlock([SpecBlock(LinearSpec("skip", 4, 4), seed=0), SpecBlock(BLOCK, seed=1)])
    image, choice = keras.Input((5, 7, 4)), keras.Input(batch_shape=(), dtype="int32")
    model = keras.Model([image, choice], block(image, choice))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = rng.normal(size=(2, 5, 7, 4)).astype(np.float32)
    for index, candidate in enumerate(block.candidates):
        np.testing.assert_array_equal(loaded([x, np.int32(index)]), candidate(x))
    with pytest.raises(InputError, match=r"choice: expected one integer, of shape \(\), got shape \(None,\)"):
        block(image, keras.Input((), dtype="int32"))
    with pytest.raises(InputError, match=r"got shape \(2,\)"):
        block(x, np.array([0, 1]))


@pytest.mark.parametrize(
    "options, shape, mask",
    [
        ({"axis": 1}, (6, 3, 4, 5), None),
        ({"axis": -2}, (6, 3, 4, 5), None),
        ({"center": False}, (6, 3, 4, 5), None),
        ({"scale": False}, (6, 3, 4, 5), None),
        ({"renorm": True}, (6, 3, 4, 5), None),
        ({"dtype": "float64"}, (6, 3, 4, 5), None),
        ({}, (6, 5), None),
        ({}, (6, 4, 5), None),
        ({}, (6, 2, 3, 4, 5), None),
        ({}, (6, 4, 5), np.arange(24).reshape(6, 4) % 3 > 0),
        ({}, (6, 3, 4, 5), np.arange(72).reshape(6, 3, 4) % 3 > 0),
    ],
)
def test_what_the_written_out_gradient_does_not_cover_is_keras_own(options, shape, mask, rng):
    x = tf.constant(3 * rng.normal(size=shape) + 1, tf.float64 if "dtype" in options else tf.float32)
    found = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        layer = cls(momentum=0.8, **options)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=mask)
            loss = tf.reduce_sum(y**3)
        found.append([y, tape.gradient(loss, x), *layer.weights])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_mask_reaches_batch_normalization(rng):
    """Padding has no part in the statistics: the moving mean is that of the rows that are kept."""
    x = rng.normal(size=(4, 3, 2)).astype(np.float32)
    x[:, 2] = 0
    layer = BatchNormalization(momentum=0.0)
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Masking(), layer])
    model(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, x[:, :2].mean((0, 1)), rtol=1e-5)


UNDER_JAX = """
import jax, keras, numpy as np
from scarlet_tf.base.errors import InputError
from scarlet_tf.layers.core import BatchNormalization
from scarlet_tf.models.supernet import FairCrossentropy, FairLanes
from scarlet_tf.models.supernet import Supernet
from tiny import tiniest_space

def refused(function, *args):
    try:
        jax.jit(function)(*args)
    except InputError as error:
        return "expected stateless_call" in str(error)

x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
layer = BatchNormalization(momentum=0.0)
layer(x)
assert refused(lambda x: layer(x, training=True), x)
assert not np.any(layer.moving_mean.numpy())
state = [[v.value for v in group] for group in (layer.trainable_variables, layer.non_trainable_variables)]
_, moved = jax.jit(lambda t, n, x: layer.stateless_call(t, n, x, training=True))(*state, x)
np.testing.assert_allclose(moved[0], x.mean((0, 1, 2)), atol=1e-5)
layer(x, training=True)
np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean((0, 1, 2)), atol=1e-5)

lanes = FairLanes(Supernet(tiniest_space(), num_classes=3))
assert refused(lanes, x)
assert lanes(x).shape == (4, 2, 3)
paths = np.array([[1], [0]])
given = {"images": x, "paths": paths}
np.testing.assert_allclose(jax.jit(lambda x: lanes({"images": x, "paths": paths}))(x), lanes(given), atol=1e-4)
assert refused(lambda x: lanes({"images": x, "paths": paths}, training=True), x)
lanes.compile("sgd", loss=FairCrossentropy())
assert np.isfinite(lanes.fit(x, np.array([0, 1, 2, 0]), verbose=0).history["loss"][0])
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed: pip install 'scarlet_tf[jax]'")
def test_what_would_leave_tracers_in_layers_is_refused():
    tests = pathlib.Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests.parent)])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes longer than all steps
    done = subprocess.run([sys.executable, "-c", UNDER_JAX], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
