import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from scarlet_tf.search.controller import LSTMPolicy


def varied(num_layers=3, num_choices=3, units=5, scale=1.0):
    """A policy with random weights in all parts."""
    policy, rng = LSTMPolicy(num_layers, num_choices, units), np.random.default_rng(7)
    policy.weights = [rng.normal(0, scale, array.shape) for array in policy.weights]
    return policy


def test_new_policy_draws_all_choices_equally():
    genomes = np.array([[0, 1, 2], [2, 2, 2]])
    np.testing.assert_allclose(LSTMPolicy(3, 3, 8).log_probabilities(genomes, genomes), np.log(1 / 3), rtol=1e-12)


def test_probabilities_of_all_genomes_add_up_to_one():
    policy, genome = varied(), np.array([0, 2, 1])
    everything = np.array(list(itertools.product(range(3), repeat=3)))
    log_probabilities = policy.log_probabilities(np.repeat(genome[None], 27, axis=0), everything)
    assert np.exp(log_probabilities.sum(axis=1, dtype=float)).sum() == pytest.approx(1, abs=1e-12)


def test_samples_follow_the_probabilities(rng):
    """All three genes are drawn: 27 outcomes whose probabilities are products over the steps."""
    policy, genome = varied(scale=0.5), np.array([0, 2, 1])
    everything = list(itertools.product(range(3), repeat=3))
    rows = np.repeat(genome[None], 27, axis=0)
    expected = np.exp(policy.log_probabilities(rows, np.array(everything)).sum(axis=1, dtype=float))
    counts = dict.fromkeys(everything, 0)
    for _ in range(3000):
        counts[tuple(policy.sample(genome, (0, 1, 2), rng).tolist())] += 1
    assert stats.chisquare(list(counts.values()), 3000 * expected / expected.sum()).pvalue > 1e-3
    assert genome.tolist() == [0, 2, 1]


def test_only_the_given_layers_are_drawn_and_follow_their_conditional_probabilities(rng):
    policy, genome = varied(num_layers=4), np.array([0, 2, 1, 2])
    options = np.repeat(genome[None], 3, axis=0)
    options[:, 2] = np.arange(3)
    expected = np.exp(policy.log_probabilities(np.repeat(genome[None], 3, axis=0), options)[:, 2].astype(float))
    counts = np.zeros(3, int)
    for _ in range(2000):
        child = policy.sample(genome, [2], rng)
        assert child[[0, 1, 3]].tolist() == [0, 2, 2]
        counts[child[2]] += 1
    assert stats.chisquare(counts, 2000 * expected / expected.sum()).pvalue > 1e-3
    assert policy.sample(genome, [], rng).tolist() == genome.tolist()


def test_inputs_name_layer_gene_and_action_before():
    policy = LSTMPolicy(2, 3, 4)
    ones = [np.flatnonzero(step).tolist() for step in policy.inputs(np.array([[2, 0]]), np.array([[1, 1]]))[0]]
    assert ones == [[0, 2 + 2, 5 + 3], [1, 2 + 0, 5 + 1]]  # 3: no action yet
    assert policy.num_inputs == 9


def test_policy_and_hierarchy_import_no_framework():
    code = (
        "import sys, scarlet_tf.search.controller, scarlet_tf.search.config; "
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
