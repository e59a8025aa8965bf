import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.sampling import sample_paths, strict_fair_paths, uniform_paths


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_a_fair_step_uses_every_choice_of_every_layer_exactly_once(name):
    space = SearchSpace.from_name(name)
    for step in range(20):
        paths = strict_fair_paths(space, seed=0, step=step)
        counters = np.zeros((space.num_layers, space.num_choices), int)
        for path in paths:
            counters[np.arange(space.num_layers), path] += 1
        assert (counters == 1).all()


def test_fair_permutations_are_independent_and_uniform():
    """Of the 24 permutations of 4 choices each comes about equally often, in each layer, and layers differ."""
    space, steps = tiny_space(), 2400
    paths = np.stack([strict_fair_paths(space, 1, step) for step in range(steps)])
    for layer in range(space.num_layers):
        counts = np.unique(paths[:, :, layer], axis=0, return_counts=True)[1]
        assert len(counts) == 24
        # 100 expected, standard deviation 9.8: five of them on either side.
        assert counts.min() > 50 and counts.max() < 150
    assert (paths[:, :, 0] == paths[:, :, 1]).mean() == pytest.approx(0.25, abs=0.02)


def test_uniform_paths_are_uniform():
    paths = np.concatenate([uniform_paths(tiny_space(), 0, step) for step in range(4000)])
    share = np.mean(paths[:, :, None] == np.arange(4), axis=0)
    np.testing.assert_allclose(share, 0.25, atol=0.04)


@pytest.mark.parametrize("sampling", ["strict_fair", "uniform"])
def test_paths_are_a_function_of_seed_and_step(sampling):
    first, again = (sample_paths(sampling, tiny_space(), 0, 7) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [sample_paths(sampling, tiny_space(), seed, step) for seed, step in ((0, 8), (1, 7), (1, 8))]
    assert not all(np.array_equal(first, other) for other in others)


def test_an_unknown_sampling_is_named():
    with pytest.raises(InputError, match="sampling: expected one of"):
        sample_paths("fair", tiny_space(), 0, 0)
