import copy
import random

import numpy as np
import pytest

from scarlet_tf.search.config import PPOConfig
from scarlet_tf.search.controller import Adam, ControllerMutation, LSTMPolicy, clipped_loss
from scarlet_tf.search.mutation import MutationContext
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import SearchSpace

SPACE = SearchSpace("three", (Stage(8, 3, 2),), tuple(Choice(e, 3) for e in range(1, 5)), input_size=32)
GENOME = np.array([0, 1, 2])


def context():
    none = np.zeros((0, 3), int)
    return MutationContext(SPACE, None, 2, none, ({}, {}), none)


def controller(**settings):
    return ControllerMutation(SPACE, PPOConfig(**{"units": 6, "learning_rate": 0.01, **settings}))


def children(operator, rng, count=12):
    return np.array([operator.mutate(GENOME, rng, context()) for _ in range(count)])


def told(operator, rng, reward, count=12):
    """One generation; returns the mean reward of its children."""
    genomes = children(operator, rng, count)
    rewards = [reward(genome) for genome in genomes]
    operator.tell(genomes, [{"accuracy": value} for value in rewards])
    return np.mean(rewards)


def threes(genome):
    """The share of genes that are 3."""
    return float(np.mean(genome == 3))


def clipped_loss_reference(new, old, drawn, rewards, clip):
    """PPO's clipped objective, term by term."""
    terms = []
    for n, layer in np.argwhere(drawn):
        ratio = np.exp(new[n, layer] - old[n, layer])
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        terms.append(min(ratio * rewards[n], bounded * rewards[n]))
    return -np.mean(terms)


def test_clipped_loss_and_its_slopes_equal_finite_differences(rng):
    new, drawn = rng.normal(-1.5, 0.5, size=(24, 3)), rng.random((24, 3)) < 0.7
    old = new + rng.choice([-0.5, -0.1, 0.1, 0.5], size=(24, 3))  # ratios on both sides of 0.8 and 1.2, none near
    rewards = rng.normal(0, 0.3, 24)
    loss, slopes = clipped_loss(new, old, drawn, rewards[:, None], 0.2)
    assert loss == pytest.approx(clipped_loss_reference(new, old, drawn, rewards, 0.2), rel=1e-12)
    numeric = np.zeros_like(new)
    for index in np.ndindex(new.shape):
        above, below = new.copy(), new.copy()
        above[index] += 1e-5
        below[index] -= 1e-5
        difference = [clipped_loss_reference(x, old, drawn, rewards, 0.2) for x in (above, below)]
        numeric[index] = (difference[0] - difference[1]) / 2e-5
    np.testing.assert_allclose(slopes, numeric, atol=1e-9)
    # Where the ratio left the bounds in the direction of the reward, nothing pulls any more.
    beyond = (new - old > 0.3) & (rewards[:, None] > 0) | (new - old < -0.3) & (rewards[:, None] < 0)
    assert beyond[drawn].any() and not slopes[beyond].any()


def keras_twin(policy):
    """The policy as Keras' own layers in float64."""
    import keras

    layers = [
        keras.Input((policy.num_layers, policy.num_inputs), dtype="float64"),
        keras.layers.LSTM(policy.units, return_sequences=True, dtype="float64"),
        keras.layers.Dense(policy.num_choices, dtype="float64"),
    ]
    model = keras.Sequential(layers)
    model.set_weights(policy.weights)
    return model


def test_learning_equals_that_of_keras_layers_and_adam(rng):
    """Three generations of four steps, by TensorFlow's gradients and Keras' Adam."""
    import keras
    import tensorflow as tf

    operator = ControllerMutation(SPACE, PPOConfig(units=5, learning_rate=0.05))
    operator.policy.weights[:] = [array + rng.normal(0, 0.5, array.shape) for array in operator.policy.weights]
    operator._adam = Adam(operator.policy.weights, 0.05)
    model, adam = keras_twin(operator.policy), keras.optimizers.Adam(0.05)

    def log_probabilities(inputs, actions):
        return tf.gather(tf.nn.log_softmax(model(inputs)), actions, batch_dims=2)

    for _ in range(3):
        genomes, actions = rng.integers(4, size=(2, 9, 3))
        drawn, rewards = rng.random((9, 3)) < 0.6, rng.normal(size=9)
        inputs = operator.policy.inputs(genomes, actions)
        old = log_probabilities(inputs, actions)
        np.testing.assert_allclose(operator.policy.log_probabilities(genomes, actions), old, atol=1e-4)
        for _ in range(4):
            with tf.GradientTape() as tape:
                ratio = tf.exp(log_probabilities(inputs, actions) - old)
                gains = tf.minimum(ratio * rewards[:, None], tf.clip_by_value(ratio, 0.8, 1.2) * rewards[:, None])
                loss = -tf.reduce_mean(tf.boolean_mask(gains, drawn))
            weights = model.trainable_variables
            adam.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        operator.update(genomes, actions, drawn, rewards)
        for ours, theirs in zip(operator.policy.weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(
                ours, theirs, atol=1e-4
            )  # of steps of 0.05; Keras' Adam computes its rate in float32


def test_gradients_equal_finite_differences(rng):
    """Of a sum of log-probabilities, weighted at random, by a few weights of each part."""
    policy = LSTMPolicy(3, 4, 5)
    policy.weights = [rng.normal(0, 0.5, array.shape) for array in policy.weights]
    genomes, actions = rng.integers(4, size=(2, 8, 3))
    shares = rng.normal(size=(8, 3))
    gradients = policy.gradients(genomes, actions, lambda _: shares)
    for part, index in (
        (0, (3, 2)),
        (0, (8, 11)),
        (0, (0, 17)),
        (1, (2, 17)),
        (1, (4, 3)),
        (2, (9,)),
        (3, (4, 1)),
        (4, (2,)),
    ):
        values = []
        for change in (1e-6, -2e-6):
            policy.weights[part][index] += change
            values.append((policy.log_probabilities(genomes, actions) * shares).sum())
        policy.weights[part][index] += 1e-6
        assert gradients[part][index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("genes", [None, 1])
def test_controller_learns_what_is_rewarded(rng, genes):
    operator = controller(genes=genes)
    means = [told(operator, rng, threes, count=16) for _ in range(40)]
    changed = 3 if genes is None else 1
    assert np.mean(means[-5:]) - np.mean(means[:5]) > 0.4 * changed / 3


def test_gene_count_bounds_the_change(rng):
    for genes, most in ((1, 1), (2, 2), (None, 3), (9, 3)):
        changes = [np.sum(child != GENOME) for child in children(controller(genes=genes), rng, 60)]
        assert max(changes) == most


def test_baseline_is_a_moving_average_of_the_children_that_were_evaluated(rng):
    operator = controller(baseline_decay=0.75)
    genomes = np.unique(children(operator, rng), axis=0)[:3]
    operator.tell(genomes, [{"accuracy": 0.2}, None, {"accuracy": 0.4}])
    assert operator.baseline == pytest.approx(0.3)
    genomes = np.unique(children(operator, rng), axis=0)[:2]
    operator.tell(genomes, [{"accuracy": 0.5}, {"accuracy": 0.9}])
    assert operator.baseline == pytest.approx(0.75 * 0.3 + 0.25 * 0.7)


def learnt(operator):
    """What later draws depend on, beside the generator."""
    return operator.baseline, copy.deepcopy(vars(operator._made)), [array.tolist() for array in operator.policy.weights]


def test_children_of_others_refused_and_failed_ones_teach_nothing(rng):
    operator = controller()
    before = learnt(operator)
    genomes = children(operator, rng)
    strangers = np.array([g for g in np.ndindex(4, 4, 4) if list(g) not in genomes.tolist()])
    operator.tell(strangers, [{"accuracy": 1.0}] * len(strangers))
    assert learnt(operator) == before  # and its own children, all refused, are forgotten
    genomes = children(operator, rng)
    operator.tell(genomes, [None] * len(genomes))
    assert learnt(operator) == before


def test_what_it_learns_follows_from_what_it_is_told():
    """Bit by bit: a resumed search has it learn again from the journal."""
    operators = []
    for _ in range(2):
        operator, rng = controller(genes=2), np.random.default_rng(3)
        for _ in range(4):
            told(operator, rng, threes)
        operators.append(learnt(operator))
    assert operators[0] == operators[1] and operators[0][0] is not None


def test_seed_decides_the_first_weights_and_global_random_state_is_left_alone():
    before = random.getstate(), np.random.get_state()[1].tolist()
    states = [learnt(ControllerMutation(SPACE, seed=seed)) for seed in (0, 0, 1)]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert states[0] == states[1] != states[2]
