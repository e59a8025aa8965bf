"""dO/dg of a path's choices against two references: finite differences of the loss, and TensorFlow's own gradient."""

import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, randomise_supernet, skip_unless_computed, tiny_space

from scarlet_tf.betanas.training import Gates
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.training.optimizers import Loss

pytestmark = pytest.mark.both_modes

SPACE = tiny_space(stages=(Stage(8, 1, 2), Stage(12, 2, 1)), choices=(Choice(2, 3), Choice(3, 5, True), Choice()))
PATH = np.array([1, 2, 0])


def supernet_and_batch(skip="let", dtype="float32"):
    supernet = Supernet(SPACE, num_classes=5, seed=0, skip=skip, dtype=dtype)
    randomise_supernet(supernet, np.random.default_rng(0))
    return supernet, images_and_labels(np.random.default_rng(3), 8)


def gated_loss(supernet, images, labels, path, gates, training):
    """The loss with each layer's output sum_j g_j y_j, by Keras layers alone."""
    x = supernet.stem(images, training=training)
    for block, layer_gates in zip(supernet.choice_blocks, gates, strict=True):
        outputs = [candidate(x, training=training) for candidate in block.candidates]
        x = sum(gate * output for gate, output in zip(layer_gates, outputs, strict=True))
    return Loss(5, len(labels))(labels, supernet.tail(x, training=training))[0]


def one_hot(path):
    return np.eye(SPACE.num_choices)[path]


@pytest.mark.parametrize(("skip", "training"), [("let", True), ("identity", False)])
def test_gates_equal_the_automatic_gradient(skip, training):
    supernet, (images, labels) = supernet_and_batch(skip)
    gates = [[tf.constant(value, tf.float32) for value in row] for row in one_hot(PATH)]
    with tf.GradientTape() as tape:
        tape.watch(gates)
        expected = gated_loss(supernet, images, labels, PATH, gates, training)
    reference = np.array(tape.gradient(expected, gates))
    before = [np.array(v) for v in supernet.variables]
    loss, _, found = Gates(supernet, Loss(5, 8), training=training)(images, labels, PATH, np.ones((3, 3), bool))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-5 * np.abs(reference).max())
    for variable, value in zip(supernet.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_gates_equal_finite_differences_of_the_loss():
    supernet, (images, labels) = supernet_and_batch()
    _, _, found = Gates(supernet, Loss(5, 8), training=False)(images, labels, PATH, np.ones((3, 3), bool))
    for place in np.ndindex(3, 3):
        values = []
        for step in (1e-2, -1e-2):
            gates = one_hot(PATH)
            gates[place] += step
            values.append(float(gated_loss(supernet, images, labels, PATH, gates.astype("float32"), False)))
        np.testing.assert_allclose(found[place], (values[0] - values[1]) / 2e-2, rtol=2e-2, atol=2e-3)


def test_choices_that_do_not_count_are_not_run():
    """Their weights may hold anything; nothing of it is seen."""
    supernet, (images, labels) = supernet_and_batch()
    choices = np.ones((3, 3), bool)
    choices[0, 0] = choices[2, 1] = False
    gates = Gates(supernet, Loss(5, 8))
    _, _, whole = gates(images, labels, PATH, np.ones((3, 3), bool))
    for layer, choice in ((0, 0), (2, 1)):
        for variable in supernet.choice_blocks[layer].candidates[choice].variables:
            variable.assign(np.full(variable.shape, np.nan))
    _, _, found = gates(images, labels, PATH, choices)
    np.testing.assert_array_equal(found, np.where(choices, whole, 0))


@pytest.mark.parametrize(("dtype", "scale", "tolerance"), [("mixed_bfloat16", 1, 0.06), ("mixed_float16", 1024, 0.25)])
def test_16_bits_give_the_same_gates_within_their_rounding(dtype, scale, tolerance):
    skip_unless_computed(dtype)
    supernet, (images, labels) = supernet_and_batch()
    half, _ = supernet_and_batch(dtype=dtype)
    everything = np.ones((3, 3), bool)
    _, _, expected = Gates(supernet, Loss(5, 8))(images, labels, PATH, everything)
    _, _, found = Gates(half, Loss(5, 8), scale=scale)(images, labels, PATH, everything)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_a_path_through_a_choice_that_does_not_count_is_an_error():
    supernet, (images, labels) = supernet_and_batch()
    choices = np.ones((3, 3), bool)
    choices[1, 2] = False
    with pytest.raises(ValueError, match="block_01: the path's choice 2"):
        Gates(supernet, Loss(5, 8))(images, labels, PATH, choices)
