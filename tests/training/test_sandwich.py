"""Sandwich sampling and in-place distillation, against tapes path by path and NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from test_clipping import norm
from test_fair_step import SPACE, batch, trained_a_little
from test_train_supernet import CONFIG, Interrupt, assert_same_weights, data, weights
from tiny import skip_unless_computed, tiniest_space, tiny_space
from toy_parent import block, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.inputs import ArraySplit
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import InPlaceLoss, Loss, MomentumSGD
from scarlet_tf.training.sampling import (
    largest_path,
    paths_of_a_step,
    sandwich_paths,
    smallest_path,
    uniform_paths,
    update_counts,
)
from scarlet_tf.training.supernet import train_supernet

SMALL = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice(2, 5, True), Choice()))
SANDWICH = {**CONFIG, "sampling": "sandwich", "execution": "auto"}


# -- paths --------------------------------------------------------------------------------------------------------


def test_of_the_published_choices_the_widest_costs_most_and_the_skip_nothing():
    for name, largest in (("s1", 5), ("s2", 11)):
        space = SearchSpace.from_name(name)
        assert space.choices[largest].label.startswith("E6K7")
        assert largest_path(space) == (largest,) * space.num_layers
        assert smallest_path(space) == (space.num_choices - 1,) * space.num_layers


def test_the_largest_choice_is_each_layers_own():
    """Multiply-adds a pixel, by hand: expansion, depthwise, projection.

    2 to 2 channels: E6K3 24 + 108 + 24 = 156, E3K7 12 + 294 + 12 = 318; 2 to 32: 24 + 108 + 384 = 516, 12 + 294 + 192 = 498;
    32 to 32: 6144 + 1728 + 6144 = 14016, 3072 + 4704 + 3072 = 10848.
    """
    stages, choices = (Stage(2, 1, 1), Stage(32, 2, 1)), (Choice(6, 3), Choice(3, 7))
    space = tiny_space(stages=stages, choices=choices, first_channels=2)
    assert largest_path(space) == (1, 0, 0) and smallest_path(space) == (0, 1, 1)
    assert largest_path(tiny_space(stages=stages, choices=(*choices[::-1], Choice()), first_channels=2)) == (0, 1, 1)


def test_around_a_parent_of_one_kernel_size_the_largest_path_is_the_parents_own():
    """Also where every share is the whole, since a block has no expansion: of equals both are the first."""
    blocks = (block(0, 8, 16, 3, 2), block(1, 16, 16, 3, expansion=1), block(2, 16, 16, 3))
    parent = toy_parent(toy_spec(blocks=blocks))
    space = space_around(parent, shares=(0.5, 1.0))
    assert largest_path(space) == parent_path(parent, space).choices
    assert smallest_path(space) == (len(space.choices) - 1,) * 3


def test_a_sandwich_is_the_largest_the_smallest_and_uniform_draws():
    space = tiny_space()
    for step in range(5):
        paths = sandwich_paths(space, 3, step, num_random=4)
        assert paths.dtype == np.int32 and paths.shape == (6, space.num_layers)
        assert tuple(paths[0]) == largest_path(space) and tuple(paths[1]) == smallest_path(space)
        np.testing.assert_array_equal(paths[2:], uniform_paths(space, 3, step, 4))
    drawn = np.concatenate([sandwich_paths(space, 0, step)[2:] for step in range(2000)])
    np.testing.assert_allclose(np.mean(drawn[:, :, None] == np.arange(4), axis=0), 0.25, atol=0.04)


def test_updates_are_counted_by_steps_not_by_paths():
    one = tiny_space(choices=(Choice(2, 3),))
    assert update_counts("sandwich", one, 0, 0, 7).tolist() == [[7]] * 4  # in four paths a step
    counts = update_counts("sandwich", SPACE, 5, 0, 20, 1)
    steps = [[set(column) for column in sandwich_paths(SPACE, 5, step, 1).T.tolist()] for step in range(20)]
    for layer, choice in np.ndindex(*counts.shape):
        assert counts[layer, choice] == sum(choice in used[layer] for used in steps)
    np.testing.assert_array_equal(counts, sum(update_counts("sandwich", SPACE, 5, a, a + 10, 1) for a in (0, 10)))
    assert [paths_of_a_step(name, SPACE, 5) for name in ("strict_fair", "uniform", "sandwich")] == [3, 1, 7]


# -- steps --------------------------------------------------------------------------------------------------------


class Twin:
    """Trains a supernet by the same rule, path by path under a GradientTape; SGD with momentum and L2 in NumPy."""

    def __init__(self, supernet, momentum, decay, distillation, smoothing=0.0, rate=0.05):
        self.supernet, self.momentum, self.decay, self.rate = supernet, momentum, decay, rate
        self.distillation, self.smoothing = distillation, smoothing
        self.velocity = {v.path: np.zeros(v.shape) for v in supernet.trainable_variables}

    def step(self, images, labels, paths, training):
        variables = self.supernet.trainable_variables
        sums, losses, teacher = {}, [], None
        targets = (1 - self.smoothing) * np.eye(5, dtype=np.float32)[labels] + self.smoothing / 5
        for path in paths:
            with tf.GradientTape() as tape:
                logits = self.supernet(images, path, training=training)
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
                if teacher is not None:
                    soft = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(teacher, logits))
                    loss = (1 - self.distillation) * loss + self.distillation * soft
            teacher = tf.nn.softmax(logits).numpy() if teacher is None else teacher
            losses.append(float(loss))
            for v, g in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
                if g is not None:
                    sums[v.path] = sums.get(v.path, 0) + np.asarray(g, np.float64)
        for v in variables:
            if v.path in sums:
                gradient = sums[v.path] + (self.decay * np.asarray(v) if len(v.shape) > 1 else 0)
                self.velocity[v.path] = self.momentum * self.velocity[v.path] - self.rate * gradient
                v.assign(np.asarray(v) + self.velocity[v.path])
        return np.mean(losses)


def sandwich_step(supernet, momentum=0.9, rate=0.05, decay=0.1, smoothing=0.0, **options):
    optimizer = MomentumSGD(learning_rate=rate, momentum=momentum)
    optimizer.build(supernet.trainable_variables)
    loss = Loss(5, 8, label_smoothing=smoothing)
    return SupernetStep(supernet, optimizer, loss, weight_decay=decay, shared=True, **options)


@pytest.mark.both_modes
@pytest.mark.parametrize(
    "training, distillation, momentum, smoothing",
    [(False, 0.0, 0.9, 0.0), (True, 0.0, 0.0, 0.1), (False, 0.3, 0.9, 0.1), (True, 1.0, 0.9, 0.0)],
)
def test_a_step_is_that_of_the_summed_gradients_of_its_paths(training, distillation, momentum, smoothing):
    """Three steps; each has a choice in several paths, and the first one choices in none, which stay where they are."""
    supernet, (images, labels) = trained_a_little(), batch()
    twin = Twin(trained_a_little(), momentum, 0.1, distillation, smoothing)
    step = sandwich_step(supernet, momentum, smoothing=smoothing, training=training, distillation=distillation)
    for number in range(3):
        paths = sandwich_paths(SPACE, 1, number, 1)
        assert any(len(set(column)) < len(column) for column in paths.T)
        before = {v.path: np.array(v) for v in supernet.trainable_variables}
        loss = step(images, labels, paths)["loss"]
        np.testing.assert_allclose(loss, twin.step(images, labels, paths, training), rtol=1e-3)
        for layer, choice in np.ndindex(SPACE.num_layers, SPACE.num_choices):
            if choice not in paths[:, layer]:
                for v in supernet.choice_blocks[layer].candidates[choice].trainable_variables:
                    np.testing.assert_array_equal(v, before[v.path])
    for variable, other in zip(supernet.trainable_variables, twin.supernet.trainable_variables, strict=True):
        # As far as both executions of a fair step agree: rounding grows over the steps.
        np.testing.assert_allclose(variable, other, rtol=2e-3, atol=2e-4, err_msg=variable.path)


def test_in_a_space_of_one_choice_all_paths_are_one():
    """Four times the gradient of that path, and L2 once."""
    space = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3),))
    images, labels = batch()
    moves = []
    for paths in (sandwich_paths(space, 0, 0), np.zeros([1, 2], np.int32)):
        supernet = Supernet(space, num_classes=5, seed=0)
        before = weights(supernet)
        sandwich_step(supernet, 0.0, 1.0, decay=0.0, training=False)(images, labels, paths)
        moves.append([new - old for new, old in zip(weights(supernet), before, strict=True)])
    for four, one in zip(*moves, strict=True):
        np.testing.assert_allclose(four, 4 * one, rtol=1e-3, atol=1e-5)


def test_a_sandwich_is_clipped_by_the_norm_of_its_sum():
    supernet, (images, labels) = trained_a_little(), batch()
    before = [np.array(v) for v in supernet.trainable_variables]
    sandwich_step(supernet, 0.0, 0.1, clip_norm=0.25)(images, labels, sandwich_paths(SPACE, 0, 0))
    moves = [np.array(v) - old for v, old in zip(supernet.trainable_variables, before, strict=True)]
    assert norm(moves) == pytest.approx(0.1 * 0.25, rel=1e-3)  # moves are differences of float32 weights


@pytest.mark.both_modes
@pytest.mark.parametrize("clip_norm", [0.0, 0.25])
def test_two_replicas_step_as_one_device(two_replicas, clip_norm):
    """On the same global batch, with BN frozen, and each with what the largest path predicts for its own images."""
    (images, labels), results = batch(8), []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            supernet = Supernet(SMALL, num_classes=5, seed=0)
            replicas = strategy.num_replicas_in_sync
            options = {"clip_norm": clip_norm, "distillation": 0.4, "training": False, "num_replicas": replicas}
            step = sandwich_step(supernet, **options)
        figures = []
        for number in range(2):
            paths = sandwich_paths(SMALL, 0, number)
            dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
            for x, y in strategy.experimental_distribute_dataset(dataset):
                shares = strategy.run(step, args=(x, y, paths))
                figures.append({k: float(strategy.reduce("SUM", v, axis=None)) for k, v in shares.items()})
        results.append((figures, [v.numpy() for v in supernet.trainable_variables]))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        assert one == pytest.approx(other, rel=1e-4) and one.keys() == {"loss", "accuracy", "cross_entropy"}
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.both_modes
@pytest.mark.parametrize(("precision", "tolerance"), [("mixed_bfloat16", 0.25), ("mixed_float16", 0.1)])
def test_a_step_in_mixed_precision_is_the_full_one_within_its_rounding(precision, tolerance):
    """As of the fair step: of a dozen layers, each of which rounds; the loss scale must not show."""
    skip_unless_computed(precision)
    (images, labels), moves = batch(), []
    for policy in ("float32", precision):
        supernet = Supernet(SMALL, num_classes=5, seed=0, dtype=policy)
        before = [np.array(v) for v in supernet.trainable_variables]
        sandwich_step(supernet, decay=0.01, distillation=0.5)(images, labels, sandwich_paths(SMALL, 0, 0))
        moves.append([np.array(v) - old for v, old in zip(supernet.trainable_variables, before, strict=True)])
    for full, mixed in zip(*moves, strict=True):
        if np.linalg.norm(full) > 1e-3:
            assert np.linalg.norm(mixed - full) <= tolerance * np.linalg.norm(full)


@pytest.mark.parametrize("options", [{"shared": True}, {"distillation": 0.5}])
def test_lanes_are_refused(options):
    with pytest.raises(InputError, match="execution: expected sequential for a sandwich or distillation, got 'lanes'"):
        SupernetStep(None, None, None, "lanes", **options)


# -- loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.both_modes
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_by_hand(rng, smoothing):
    """Sums over 3 images of a global batch of 4; the labels are smoothed, the predictions are not."""
    logits, others = rng.normal(size=(2, 3, 5)).astype(np.float32)
    labels = np.array([4, 0, 2])
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, others))
    targets = (1 - smoothing) * np.eye(5)[labels] + smoothing / 5
    entropy, soft = -np.sum(targets * np.log(p)) / 4, -np.sum(q * np.log(p)) / 4
    found = InPlaceLoss(Loss(5, 4, smoothing))(labels, tf.constant(q), tf.constant(0.3), tf.constant(logits))
    np.testing.assert_allclose(found[0], 0.7 * entropy + 0.3 * soft, rtol=1e-5)  # float32
    np.testing.assert_allclose(found[1], np.sum(p.argmax(axis=1) == labels) / 4, rtol=1e-6)
    np.testing.assert_allclose(found[2], entropy, rtol=1e-5)
    np.testing.assert_allclose(found[3], p, rtol=1e-5)


# -- trainings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distillation", [0.0, 0.5])
def test_training_lowers_the_loss_and_an_interrupted_one_ends_with_the_same_weights(tmp_path, distillation):
    """Interrupted on a checkpoint and between two, bit by bit; the monitor changes nothing."""
    config = {**SANDWICH, "epochs": 6, "distillation": distillation, "sandwich_random": 1}
    straight = Supernet(SMALL, num_classes=5)
    monitored = {**config, "monitor_paths": 2, "csv": True}
    figures = train_supernet(straight, data(), monitored, run_dir=tmp_path / "one", validation_data=data())
    assert figures["history"][-1]["loss"] < figures["history"][0]["loss"] - 0.1
    assert ("cross_entropy" in figures["history"][0]) == (distillation > 0)
    columns = (tmp_path / "one/supernet/log.csv").read_text().splitlines()[0].split(",")
    assert ("cross_entropy" in columns) == (distillation > 0)
    for index, error, seconds in ((3, KeyboardInterrupt(), 60), (4, RuntimeError("killed"), 0)):
        with pytest.raises(type(error)):
            stopped = {**config, "checkpoint_seconds": seconds}
            train_supernet(
                Supernet(SMALL, num_classes=5), data(), stopped, None, tmp_path / "two", [Interrupt(index, error)]
            )
    resumed = Supernet(SMALL, num_classes=5, seed=9)  # its own weights are replaced by the checkpoint's
    train_supernet(resumed, data(), config, run_dir=tmp_path / "two")
    assert_same_weights(resumed, weights(straight))


def test_mirrored_training_runs(two_replicas):
    with two_replicas.scope():
        supernet = Supernet(tiniest_space(), num_classes=5)
    history = train_supernet(supernet, data(), {**SANDWICH, "epochs": 1, "distillation": 0.5}, two_replicas)["history"]
    assert 0 < history[0]["cross_entropy"] < 10


def test_the_advice_is_for_the_sum_of_a_sandwichs_paths(caplog):
    """Of 2 + 3 paths: a fifth of the rate."""
    blank = ArraySplit(np.zeros([120, 8, 8, 3], np.float32), np.arange(120) % 5)
    config = {**SANDWICH, "epochs": 1, "learning_rate": 0.1, "sandwich_random": 3}
    found = train_supernet(Supernet(SMALL, num_classes=5), blank, config)["not_learning"]
    assert "sums the gradients of 5 paths" in caplog.text
    assert found["try"]["supernet.learning_rate"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"execution": "lanes"}, "supernet.execution: expected sequential with sampling: sandwich, got lanes"),
        ({"jit_compile": True}, "supernet.jit_compile: expected false with a sequential execution, got true"),
        ({"sandwich_random": -1}, "supernet.sandwich_random: expected an integer >= 0, got -1"),
        ({"sandwich_random": 1.5}, "supernet.sandwich_random: expected an integer >= 0, got 1.5"),
        ({"distillation": 1.1}, "supernet.distillation: expected a number from 0 to 1, got 1.1"),
        ({"distillation": float("nan")}, "supernet.distillation: expected a number from 0 to 1, got nan"),
        (
            {"distillation": 0.5, "sampling": "strict_fair"},
            "supernet.distillation: expected 0 with sampling: strict_fair",
        ),
        ({"distillation": 0.5, "sampling": "uniform"}, "supernet.distillation: expected 0 with sampling: uniform"),
    ],
)
def test_bad_values_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        SupernetConfig(**{"sampling": "sandwich", **fields})


def test_a_sandwich_may_be_of_two_paths_alone():
    config = {**SANDWICH, "sandwich_random": 0, "epochs": 1}
    history = train_supernet(Supernet(SMALL, num_classes=5), data(), config)["history"]
    assert np.isfinite(history[0]["loss"])
