import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, randomise_supernet, skip_unless_computed, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.training.compiled_layers import Rule
from scarlet_tf.training.fair_step import Paths, SupernetStep, lanes_gradients
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths, uniform_paths

pytestmark = pytest.mark.both_modes

SPACE = tiny_space(stages=(Stage(8, 1, 2), Stage(12, 2, 1)), choices=(Choice(2, 3), Choice(3, 5, True), Choice()))


def trained_a_little(seed=0):
    supernet = Supernet(SPACE, num_classes=5, seed=seed)
    randomise_supernet(supernet, np.random.default_rng(seed))
    return supernet


def batch(count=8):
    return images_and_labels(np.random.default_rng(3), count)


def assert_same_gradients(supernet, one, other):
    """Equal within float32 rounding of the layer's own scale; what is zero in exact arithmetic is near zero in both."""
    largest = max(float(np.abs(g).max()) for g in one)
    for variable, a, b in zip(supernet.trainable_variables, one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6 * largest, err_msg=variable.path)


@pytest.mark.parametrize("training", [True, False])
def test_lanes_gradients_equal_sequential_gradients(training):
    supernet, (images, labels) = trained_a_little(), batch()
    paths, loss = strict_fair_paths(SPACE, 0, 0), Loss(5, 8, label_smoothing=0.1)
    total, accuracy, gradients = Paths(supernet, loss, Rule(), training=training)(images, labels, paths)
    in_turn = (total, accuracy, [gradients[v.path] for v in supernet.trainable_variables])
    side_by_side = tf.function(lambda: lanes_gradients(supernet, loss, images, labels, paths, training))()
    np.testing.assert_allclose(in_turn[0], side_by_side[0], rtol=1e-5)
    np.testing.assert_allclose(in_turn[1], side_by_side[1], rtol=1e-6)
    assert_same_gradients(supernet, in_turn[2], side_by_side[2])
    assert {v.path.split("/")[1] for v in supernet.trainable_variables} == {
        "stem",
        "block_00",
        "block_01",
        "block_02",
        "tail",
    }


def test_strict_fair_gradients_are_the_sum_of_the_single_paths():
    """Stem and tail see every path, each choice only its own; nothing is averaged."""
    supernet, (images, labels) = trained_a_little(), batch()
    paths, loss = strict_fair_paths(SPACE, 0, 1), Loss(5, 8)
    _, _, summed = lanes_gradients(supernet, loss, images, labels, paths, training=False)
    singles = []
    for path in paths:
        with tf.GradientTape() as tape:
            value, _ = loss(labels, supernet(images, path))
        singles.append(
            tape.gradient(
                value,
                [v.value for v in supernet.trainable_variables],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
        )
    assert_same_gradients(supernet, [sum(column) for column in zip(*singles, strict=True)], summed)
    for layer, block in enumerate(supernet.choice_blocks):
        for choice, candidate in enumerate(block.candidates):
            users = [j for j, path in enumerate(paths) if path[layer] == choice]
            touched = [
                j
                for j, gradients in enumerate(singles)
                if any(
                    np.abs(g).max() > 0
                    for v, g in zip(supernet.trainable_variables, gradients, strict=True)
                    if any(v is own for own in candidate.trainable_variables)
                )
            ]
            assert touched == users and len(users) == 1


def test_l2_counts_once_however_many_paths():
    supernet, (images, labels) = trained_a_little(), batch()
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(supernet.trainable_variables)
    paths, loss = strict_fair_paths(SPACE, 0, 0), Loss(5, 8)
    _, _, gradients = lanes_gradients(supernet, loss, images, labels, paths, training=False)
    before = [np.array(v) for v in supernet.trainable_variables]
    SupernetStep(supernet, optimizer, loss, "lanes", weight_decay=0.5, training=False)(images, labels, paths)
    for variable, old, gradient in zip(supernet.trainable_variables, before, gradients, strict=True):
        decay = 0.5 * old if old.ndim > 1 else 0.0  # kernels only
        expected = old - (np.asarray(gradient) + decay)
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-4, err_msg=variable.path)


def test_uniform_sampling_leaves_undrawn_choices_entirely_alone():
    """Also when momentum has built up: no update, no decay, no momentum."""
    supernet, (images, labels) = trained_a_little(), batch()
    optimizer = MomentumSGD(learning_rate=0.1, momentum=0.9)
    optimizer.build(supernet.trainable_variables)
    step = SupernetStep(supernet, optimizer, Loss(5, 8), weight_decay=0.1)
    for number in range(4):
        path = uniform_paths(SPACE, 0, number)
        before = {v.path: np.array(v) for v in (*supernet.trainable_variables, *optimizer.variables)}
        step(images, labels, path)
        for layer, block in enumerate(supernet.choice_blocks):
            for choice, candidate in enumerate(block.candidates):
                for variable, slot in slots_of(candidate, supernet, optimizer):
                    moved = not np.array_equal(variable, before[variable.path])
                    slot_moved = not np.array_equal(slot, before[slot.path])
                    drawn = path[0, layer] == choice
                    # The offset of a projection's BN has no gradient where another BN follows.
                    assert drawn or not (moved or slot_moved), variable.path
                    assert moved or not drawn or variable.name != "kernel", variable.path


def slots_of(layer, supernet, optimizer):
    momentum = dict(zip([v.path for v in supernet.trainable_variables], optimizer.momentums, strict=True))
    return [(v, momentum[v.path]) for v in layer.trainable_variables]


@pytest.mark.parametrize(("momentum", "skip"), [(0.0, "identity"), (0.9, "let")])
def test_both_executions_leave_the_same_variables(momentum, skip):
    """Weights, momentums and moving statistics, of layers of one configuration, too, which share their functions."""
    space = tiny_space(stages=(Stage(8, 3, 1), Stage(12, 1, 2)), choices=(Choice(2, 3), Choice(2, 5, True), Choice()))
    images, labels = batch()
    found = []
    for execution in ("lanes", "sequential"):
        supernet = Supernet(space, num_classes=5, seed=0, skip=skip)
        optimizer = MomentumSGD(learning_rate=0.05, momentum=momentum)
        optimizer.build(supernet.trainable_variables)
        step = SupernetStep(supernet, optimizer, Loss(5, 8), execution, weight_decay=0.01)
        for number in range(3):
            logs = step(images, labels, strict_fair_paths(space, 0, number))
        found.append({v.path.partition("/")[2]: np.array(v) for v in (*supernet.variables, *optimizer.variables)})
        found[-1]["loss"] = np.array(logs["loss"])
    for (name, one), other in zip(found[0].items(), found[1].values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4, err_msg=name)


def test_momentum_sgd_equals_sgd():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(5, 3, 4))
    results = []
    for cls in (keras.optimizers.SGD, MomentumSGD):
        variable = keras.Variable(start)
        optimizer = cls(learning_rate=0.1, momentum=0.9)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        results.append(np.array(variable))
    np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
def test_mirrored_step_equals_the_single_device_step(two_replicas, execution):
    """On the same global batch, with BN frozen: in training mode each replica would normalise by its own half."""
    images, labels = batch(8)
    space = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice()))
    paths = strict_fair_paths(space, 0, 0)
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            supernet = Supernet(space, num_classes=5, seed=0)
            optimizer = MomentumSGD(learning_rate=0.1, momentum=0.9)
            optimizer.build(supernet.trainable_variables)
        replicas = strategy.num_replicas_in_sync
        step = SupernetStep(supernet, optimizer, Loss(5, 8), execution, 0.01, training=False, num_replicas=replicas)
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)

        def run(x, y, strategy=strategy, step=step):
            shares = strategy.run(step, args=(x, y, paths))
            return strategy.reduce("SUM", shares["loss"], axis=None)

        run = tf.function(run) if step.compiled else run

        for x, y in strategy.experimental_distribute_dataset(data):
            losses = [float(run(x, y)) for _ in range(2)]
        results.append((losses, [v.numpy() for v in supernet.trainable_variables]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_an_unknown_execution_is_refused():
    with pytest.raises(InputError, match="execution: expected one of"):
        SupernetStep(None, None, None, "parallel")


@functools.cache
def after_a_step(execution, precision="float32", **kwargs):
    """(loss, {variable: how far a step moved it}); all from the same start."""
    space = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice(2, 5, True), Choice()))
    images, labels = batch()
    supernet = Supernet(space, num_classes=5, seed=0, dtype=precision)
    optimizer = MomentumSGD(learning_rate=0.05, momentum=0.9)
    optimizer.build(supernet.trainable_variables)
    before = [np.array(v) for v in supernet.variables]
    step = SupernetStep(supernet, optimizer, Loss(5, 8), execution, weight_decay=0.01, **kwargs)
    paths = strict_fair_paths(space, 0, 0)
    if step.compiled:
        logs = tf.function(step, autograph=False)(images, labels, tf.constant(paths))
    else:
        logs = step(images, labels, paths)
    names = [v.path.partition("/")[2] for v in supernet.variables]
    moved = [np.array(v) - b for v, b in zip(supernet.variables, before, strict=True)]
    return float(logs["loss"]), dict(zip(names, moved, strict=True))


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
@pytest.mark.parametrize(
    ("precision", "rounding", "tolerance"), [("mixed_bfloat16", 2**-8, 0.25), ("mixed_float16", 2**-11, 0.1)]
)
def test_a_step_in_mixed_precision_is_the_full_one_within_its_rounding(execution, precision, rounding, tolerance):
    """Of a dozen layers, each of which rounds; a projection's offset has no gradient but rounding where BN follows."""
    skip_unless_computed(precision)
    full_loss, full = after_a_step("lanes")
    loss, mixed = after_a_step(execution, precision)
    assert loss == pytest.approx(full_loss, rel=12 * rounding) and loss != full_loss
    for name, expected in full.items():
        size = np.linalg.norm(expected)
        if size > 1e-3:
            assert np.linalg.norm(mixed[name] - expected) <= tolerance * size, name


@pytest.mark.slow
def test_xla_compiles_the_same_step():
    loss, compiled = after_a_step("lanes", jit_compile=True)
    expected_loss, expected = after_a_step("lanes")
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    with pytest.raises(InputError, match="jit_compile: expected false but for lanes"):
        after_a_step("sequential", jit_compile=True)
