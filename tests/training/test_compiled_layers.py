"""What a compiled layer keeps: tensors between its two functions, and the graphs that they were cut from."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.evaluation import kernels
from scarlet_tf.layers import SpecBlock
from scarlet_tf.space.spec import InvertedResidualSpec
from scarlet_tf.training.compiled_layers import Rule, compile_layer, variables_of

pytestmark = pytest.mark.both_modes
SHAPE = (8, 32, 32, 8)


def block(kernel_size: int = 5) -> SpecBlock:
    """A built block whose expanded features are as large as what XLA compiles."""
    layer = SpecBlock(InvertedResidualSpec("block", 8, 32, 8, kernel_size, residual=True), seed=0)
    layer.build(SHAPE)
    assert np.prod(SHAPE[:3]) * 32 == kernels.LARGE_TENSOR
    return layer


def run(layer, compiled):
    """Return (y, residuals, gradients) of random features."""
    x = tf.constant(np.random.default_rng(1).normal(size=SHAPE), tf.float32)
    handles = [v.value.handle for v in variables_of(layer)]
    y, *residuals = compiled.forward([x, *handles])
    return y, residuals, compiled.backward([x, *handles, *residuals, x])


def functions() -> int:
    """Graphs of functions that are alive."""
    gc.collect()
    return sum(isinstance(x, tf.Graph) for x in gc.get_objects())


def test_compiled_activations_change_neither_results_nor_what_is_kept(monkeypatch):
    layer, found = block(), []
    for fuses in (True, False):
        monkeypatch.setattr(kernels, "fuses", lambda fuses=fuses: fuses)
        for variable in variables_of(layer)[len(layer.trainable_variables) :]:
            variable.assign(variable * 0 + 1)
        found.append(run(layer, compile_layer(layer, tf.TensorSpec(SHAPE), True, Rule())))
    (y, kept, gradients), (plain_y, plain_kept, plain_gradients) = found
    np.testing.assert_allclose(y, plain_y, rtol=0, atol=1e-5)
    for ours, plain in zip(gradients, plain_gradients, strict=True):
        # Sums of 8,192 pixels' gradients in another order.
        np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5 * np.abs(plain).max())
    large = [
        [t.shape for t in tensors if t.shape.num_elements() >= kernels.LARGE_TENSOR] for tensors in (kept, plain_kept)
    ]
    # The inputs of both BNs and activations: what activations make is made again.
    assert len(large[0]) == 4 and len(large[0]) <= len(large[1])


def test_the_graph_that_functions_are_cut_from_is_let_go():
    layer = block()
    run(layer, compile_layer(layer, tf.TensorSpec(SHAPE), True, Rule()))  # makes what all of them share
    before = functions()
    compiled = compile_layer(layer, tf.TensorSpec(SHAPE), True, Rule())
    assert functions() - before == 2
    y, _, gradients = run(layer, compiled)
    assert y.shape == SHAPE and len(gradients) == 1 + len(layer.trainable_variables)
