import copy
import json
import random

import numpy as np
import pytest

from scarlet_tf.search.arrays import decode_array
from scarlet_tf.search.controller import ControllerMutation, PPOTrainer, clipped_loss
from scarlet_tf.search.mutation import MutationContext
from scarlet_tf.search.mutation_config import PPOConfig
from scarlet_tf.search.policy import LSTMPolicy
from scarlet_tf.space import Choice, SearchSpace, Stage

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


def clipped_loss_reference(logits, actions, old, drawn, rewards, clip):
    """PPO's clipped objective, term by term, in float64."""
    terms = []
    for n, layer in np.argwhere(drawn):
        row = logits[n, layer]
        ratio = np.exp(row[actions[n, layer]] - np.log(np.sum(np.exp(row))) - old[n, layer])
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        terms.append(min(ratio * rewards[n], bounded * rewards[n]))
    return -np.mean(terms)


def test_clipped_loss_and_its_gradient_equal_finite_differences(rng):
    import tensorflow as tf

    logits = rng.normal(size=(24, 3, 4))
    actions, drawn = rng.integers(4, size=(24, 3)), rng.random((24, 3)) < 0.7
    chosen = np.take_along_axis(logits - np.log(np.exp(logits).sum(-1, keepdims=True)), actions[..., None], 2)[..., 0]
    old = chosen + rng.choice([-0.5, -0.1, 0.1, 0.5], size=(24, 3))  # ratios on both sides of 0.8 and 1.2, none near
    rewards = rng.normal(0, 0.3, 24)
    variable = tf.Variable(logits, dtype=tf.float32)
    given = (actions, old.astype("float32"), drawn.astype("float32"), rewards.astype("float32")[:, None])
    with tf.GradientTape() as tape:
        loss = clipped_loss(variable, *given, 0.2)
    expected = clipped_loss_reference(logits, actions, old, drawn, rewards, 0.2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)  # float32
    numeric = np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += 1e-5
        below[index] -= 1e-5
        difference = [clipped_loss_reference(x, actions, old, drawn, rewards, 0.2) for x in (above, below)]
        numeric[index] = (difference[0] - difference[1]) / 2e-5
    gradient = tape.gradient(loss, variable).numpy()
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
    # Where the ratio left the bounds in the direction of the reward, nothing pulls any more.
    beyond = (chosen - old > 0.3) & (rewards[:, None] > 0) | (chosen - old < -0.3) & (rewards[:, None] < 0)
    assert beyond[drawn].any() and not gradient[beyond].any()


def test_numpy_and_keras_give_the_same_logits(rng):
    policy = LSTMPolicy(5, 4, 7)
    policy.weights = [rng.normal(0, 1, array.shape).astype(np.float32) for array in policy.weights]
    trainer = PPOTrainer(policy, PPOConfig())
    genomes, actions = rng.integers(4, size=(2, 9, 5))
    logits = np.asarray(trainer.model(policy.inputs(genomes, actions)), float)
    expected = np.take_along_axis(logits, actions[..., None], 2)[..., 0] - np.log(np.exp(logits).sum(-1))
    np.testing.assert_allclose(policy.log_probabilities(genomes, actions), expected, atol=2e-6)  # float32


def test_one_step_moves_each_weight_against_the_numerical_gradient(rng):
    """Adam's first step is the learning rate in the direction of the sign."""
    policy = LSTMPolicy(3, 4, 5)
    policy.weights = [rng.normal(0, 0.5, array.shape).astype(np.float32) for array in policy.weights]
    genomes, actions = rng.integers(4, size=(2, 8, 3))
    drawn, rewards = rng.random((8, 3)) < 0.6, rng.normal(size=8)
    trainer = PPOTrainer(policy, PPOConfig(epochs=1))
    before = [array.copy() for array in policy.weights]
    old = policy.log_probabilities(genomes, actions)

    def objective():
        ratio = np.exp(policy.log_probabilities(genomes, actions).astype(float) - old)
        return np.mean((ratio * rewards[:, None])[drawn])

    slopes = []
    for part, index in ((0, (3, 2)), (0, (8, 11)), (1, (2, 17)), (2, (9,)), (3, (4, 1)), (4, (2,))):
        values = []
        for change in (0.01, -0.01):
            policy.weights[part][index] = before[part][index] + change
            values.append(objective())
        policy.weights[part][index] = before[part][index]
        slopes.append((part, index, (values[0] - values[1]) / 0.02))
    trainer.update(genomes, actions, drawn, rewards)
    for part, index, slope in slopes:
        assert abs(slope) > 1e-4
        change = policy.weights[part][index] - before[part][index]
        assert change == pytest.approx(1e-3 * np.sign(slope), rel=0.01)  # Adam's epsilon is small beside the gradient


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


def test_children_of_others_refused_and_failed_ones_teach_nothing(rng):
    operator = controller()
    before = operator.state_dict()
    genomes = children(operator, rng)
    strangers = np.array([g for g in np.ndindex(4, 4, 4) if list(g) not in genomes.tolist()])
    operator.tell(strangers, [{"accuracy": 1.0}] * len(strangers))
    assert operator.state_dict() == before  # and its own children, all refused, are forgotten
    genomes = children(operator, rng)
    operator.tell(genomes, [None] * len(genomes))
    assert operator.state_dict() == before


@pytest.mark.parametrize("between", ["generations", "mutate and tell"])
def test_restored_state_goes_on_with_the_same_bits(between):
    """Adam's moments are part of it: after three generations the next steps are not those of a fresh optimizer."""
    operator, rng = controller(genes=2), np.random.default_rng(3)
    for _ in range(3):
        told(operator, rng, threes)
    pending = children(operator, rng) if between == "mutate and tell" else None
    state = json.loads(json.dumps(operator.state_dict(), allow_nan=False))
    moments = state["variables"][7:]
    assert len(moments) == 2 * 5 and all(np.any(decode_array(value)) for value in moments)
    restored = ControllerMutation(SPACE, operator.config, seed=99)
    restored.load_state_dict(state)
    generators = rng, copy.deepcopy(rng)
    for each, generator in zip((operator, restored), generators, strict=True):
        if pending is not None:
            each.tell(pending, [{"accuracy": threes(genome)} for genome in pending])
        for _ in range(2):
            told(each, generator, threes)
    assert restored.state_dict() == operator.state_dict()


def test_seed_decides_the_first_weights_and_global_random_state_is_left_alone():
    before = random.getstate(), np.random.get_state()[1].tolist()
    states = [ControllerMutation(SPACE, seed=seed).state_dict() for seed in (0, 0, 1)]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert states[0] == states[1] != states[2]


def test_state_of_another_size_is_refused():
    with pytest.raises(ValueError):
        controller(units=6).load_state_dict(controller(units=7).state_dict())
