"""clip_norm: what is clipped, by hand and by twins, in both executions, of several replicas, and in half precision."""

import numpy as np
import pytest
import tensorflow as tf
from test_fair_step import SPACE, batch, trained_a_little
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import build_network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.compiled_layers import decayed
from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep, lanes_gradients
from scarlet_tf.training.network_step import network_optimizer, network_step
from scarlet_tf.training.optimizers import Loss, MomentumSGD, clipped
from scarlet_tf.training.sampling import strict_fair_paths, uniform_paths

SMALL = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice()))


def numbers(gradients):
    return [g.numpy().tolist() for g in gradients]


def test_all_gradients_are_scaled_by_one_factor():
    """(3, 0) and (4) have the norm 5 together; within 10 they stay, to 1 they become a fifth."""
    gradients = [tf.constant([3.0, 0.0]), tf.constant([4.0])]
    assert numbers(clipped(gradients, 0)) == numbers(clipped(gradients, 10)) == [[3, 0], [4]]
    one, other = clipped(gradients, 1)
    np.testing.assert_allclose(one, [0.6, 0.0], rtol=1e-6)  # float32
    np.testing.assert_allclose(other, [0.8], rtol=1e-6)


def test_no_gradient_stays_none():
    assert numbers(clipped([tf.zeros(2)], 1.0)) == [[0, 0]]


def test_half_precision_gradients_have_their_norm_in_float32():
    """The square of 400 is beyond float16."""
    found = clipped([tf.constant([300.0, 400.0], tf.float16)], 5.0)[0]
    assert found.dtype == tf.float16
    np.testing.assert_allclose(found, [3, 4], rtol=2e-3)  # float16 has 11 bits


def test_replicas_share_the_norm_of_their_sum(two_replicas):
    """3 on one and 4 on the other are 7 together, so 1 is a seventh of each; each by itself would have become 1."""

    def replica():
        number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        return clipped([tf.reshape(3 + number, [1])], 1.0, 2)[0]

    shares = two_replicas.experimental_local_results(two_replicas.run(replica))
    np.testing.assert_allclose(np.concatenate(shares), [3 / 7, 4 / 7], rtol=1e-6)  # float32


def moved(execution, clip_norm, paths, momentum=0.0, steps=1, precision="float32", space=SPACE):
    """{variable: how far it moved}, in the order of the supernet's variables."""
    images, labels = batch()
    supernet = Supernet(space, num_classes=5, seed=0, dtype=precision)
    optimizer = MomentumSGD(learning_rate=0.1, momentum=momentum)
    optimizer.build(supernet.trainable_variables)
    before = [np.array(v) for v in supernet.trainable_variables]
    step = SupernetStep(supernet, optimizer, Loss(5, 8), execution, weight_decay=0.01, clip_norm=clip_norm)
    for _ in range(steps):
        step(images, labels, paths)
    moves = [np.array(v) - old for v, old in zip(supernet.trainable_variables, before, strict=True)]
    return {v.path.partition("/")[2]: move for v, move in zip(supernet.trainable_variables, moves, strict=True)}


def norm(arrays):
    return float(np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in arrays)))


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
def test_a_step_moves_as_far_as_the_norm_allows_and_in_the_same_direction(execution):
    """The gradient, of all paths and with L2, is the twin's of a step without clipping; SGD at rate 0.1."""
    paths = strict_fair_paths(SPACE, 0, 0)
    free, held = (list(moved(execution, clip, paths).values()) for clip in (0.0, 0.25))
    assert norm(free) > 0.1 * 0.25
    assert norm(held) == pytest.approx(0.1 * 0.25, rel=1e-3)  # moves are differences of float32 weights
    factor = 0.1 * 0.25 / norm(free)
    for one, other in zip(free, held, strict=True):
        np.testing.assert_allclose(factor * one, other, rtol=1e-3, atol=1e-6)


def test_l2_counts_in_the_norm_once():
    """By hand: the gradient of the summed loss plus decay * kernel."""
    supernet, (images, labels), paths = trained_a_little(), batch(), strict_fair_paths(SPACE, 0, 0)
    _, _, gradients = lanes_gradients(supernet, Loss(5, 8), images, labels, paths, training=False)
    weights = [tf.convert_to_tensor(v) for v in supernet.trainable_variables]
    whole = decayed(gradients, weights, 0.5)
    before = [np.array(v) for v in supernet.trainable_variables]
    optimizer = MomentumSGD(learning_rate=1.0, momentum=0.0)
    optimizer.build(supernet.trainable_variables)
    clip = norm([np.array(g) for g in whole]) / 2
    step = SupernetStep(supernet, optimizer, Loss(5, 8), "lanes", 0.5, training=False, clip_norm=clip)
    step(images, labels, paths)
    for variable, old, gradient in zip(supernet.trainable_variables, before, whole, strict=True):
        np.testing.assert_allclose(variable, old - np.array(gradient) / 2, rtol=1e-4, atol=1e-4, err_msg=variable.path)


def test_both_executions_clip_alike_with_momentum():
    paths = strict_fair_paths(SPACE, 0, 0)
    one, other = (moved(execution, 0.25, paths, momentum=0.9, steps=3) for execution in ("lanes", "sequential"))
    for name in one:  # as without clipping: rounding grows over the steps
        np.testing.assert_allclose(one[name], other[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_a_bound_that_is_not_reached_changes_nothing():
    paths = strict_fair_paths(SPACE, 0, 0)
    free, held = (moved("sequential", clip, paths, momentum=0.9, steps=2) for clip in (0.0, 1e6))
    for name in free:
        np.testing.assert_allclose(free[name], held[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_single_path_is_clipped_by_its_own_weights_and_leaves_the_others_alone():
    paths = uniform_paths(SPACE, 0, 0)
    found = moved("sequential", 0.25, paths)
    assert norm(found.values()) == pytest.approx(0.1 * 0.25, rel=1e-3)
    drawn = [moves for name, moves in found.items() if np.any(moves)]
    assert 0 < len(drawn) < len(found)


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
def test_the_norm_is_that_of_gradients_without_float16s_scale(execution):
    held = moved(execution, 0.25, strict_fair_paths(SMALL, 0, 0), precision="mixed_float16", space=SMALL)
    assert norm(held.values()) == pytest.approx(0.1 * 0.25, rel=1e-3)


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
def test_two_replicas_clip_as_one_device(two_replicas, execution):
    """On the same global batch, with BN frozen, as in test_fair_step."""
    images, labels = batch(8)
    paths, results = strict_fair_paths(SMALL, 0, 0), []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            supernet = Supernet(SMALL, num_classes=5, seed=0)
            optimizer = MomentumSGD(learning_rate=0.1, momentum=0.9)
            optimizer.build(supernet.trainable_variables)
        replicas = strategy.num_replicas_in_sync
        step = SupernetStep(
            supernet, optimizer, Loss(5, 8), execution, 0.01, training=False, num_replicas=replicas, clip_norm=0.25
        )

        def run(x, y, strategy=strategy, step=step):
            strategy.run(step, args=(x, y, paths))

        run = tf.function(run) if step.compiled else run
        before = [v.numpy() for v in supernet.trainable_variables]
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
        for x, y in strategy.experimental_distribute_dataset(data):
            run(x, y)
        results.append([v.numpy() - old for v, old in zip(supernet.trainable_variables, before, strict=True)])
    assert norm(results[1]) == pytest.approx(0.1 * 0.25, rel=1e-3)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def network_moves(config, strategy=None):
    strategy = strategy or tf.distribute.get_strategy()
    images, labels = batch(8)
    config = RetrainConfig(
        batch_size=8, schedule="constant", warmup_epochs=0, ema=0, label_smoothing=0, dropout=0, **config
    )
    with strategy.scope():
        network = build_network(config.scaling.apply(Architecture([0, 1], SMALL), (8, 8, 3), 5), seed=0)
        optimizer = network_optimizer(config, 1, network)
    step = network_step(network, optimizer, config, strategy.num_replicas_in_sync, None)
    before = [v.numpy() for v in network.trainable_variables]
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    for x, y in strategy.experimental_distribute_dataset(data):
        tf.function(lambda x, y: strategy.run(step, args=(x, y, 0)))(x, y)
    return [v.numpy() - old for v, old in zip(network.trainable_variables, before, strict=True)]


def test_a_networks_step_is_clipped_too():
    sgd = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.01}
    free, held = network_moves(sgd), network_moves({**sgd, "clip_norm": 0.25})
    assert norm(free) > 0.1 * 0.25 and norm(held) == pytest.approx(0.1 * 0.25, rel=1e-3)
    factor = norm(held) / norm(free)
    for one, other in zip(free, held, strict=True):
        np.testing.assert_allclose(factor * one, other, rtol=1e-3, atol=1e-6)


def test_a_networks_replicas_are_clipped_together(two_replicas):
    """Each normalises by its own half of the batch, so that only the length of the step is known."""
    sgd = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 0.25}
    assert norm(network_moves(sgd, two_replicas)) == pytest.approx(0.1 * 0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("section", "config"), [("supernet", SupernetConfig), ("retrain", RetrainConfig), ("finetune", FinetuneConfig)]
)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", True])
def test_bad_bounds_are_refused(section, config, value):
    with pytest.raises(InputError, match=rf"{section}.clip_norm: expected a number >= 0, got"):
        config(clip_norm=value)


def test_a_fine_tuning_hands_its_bound_on():
    assert FinetuneConfig(clip_norm=2.5).training.clip_norm == 2.5
