"""Small spaces, networks with random BN statistics and labelled images, shared by the tests."""

import numpy as np
import pytest

from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import SearchSpace


def tiny_space(name="tiny", use_se=True, **overrides):
    """Four layers (a stride, a residual, a widening without stride, a residual) and four choices with a skip."""
    fields = {
        "stages": (Stage(8, 2, 2), Stage(12, 2, 1)),
        "choices": (Choice(2, 3), Choice(3, 5, use_se), Choice(2, 7), Choice()),
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "tail_channels": 16,
        "input_size": 8,
    }
    return SearchSpace(name, **{**fields, **overrides})


def tiniest_space():
    """One layer of two choices, which takes the least time to trace."""
    return tiny_space("tiniest", stages=(Stage(8, 1, 1),), choices=(Choice(2, 3), Choice()))


def images_and_labels(rng, count=8, size=8, classes=5):
    """Separable images: each class has its own mean colour pattern."""
    labels = (np.arange(count) % classes).astype(np.int32)
    patterns = np.random.default_rng(99).normal(size=(classes, size, size, 3))
    images = patterns[labels] + 0.3 * rng.normal(size=(count, size, size, 3))
    return images.astype(np.float32), labels


def randomised(arrays, rng):
    """The arrays with BN scale, offset and moving statistics drawn at random, as a trained network has them."""
    draws = {
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape),
        "beta": lambda shape: rng.normal(0, 0.3, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.3, shape),
        "moving_variance": lambda shape: rng.uniform(0.3, 2.0, shape),
    }
    return {k: draws.get(k.split("/")[1], lambda s, k=k: arrays[k])(arrays[k].shape) for k in arrays}


def randomise_supernet(supernet, rng):
    """Gives a supernet random BN parameters and statistics in place."""
    for variable in supernet.variables:
        array = randomised({f"x/{variable.name}": np.asarray(variable)}, rng)[f"x/{variable.name}"]
        variable.assign(array)


def skip_unless_computed(policy):
    """Skip where TensorFlow has no convolutions of this precision, as with oneDNN held down to AVX2."""
    from scarlet_tf.training.devices import refusal

    if reason := refusal(policy.removeprefix("mixed_")):
        pytest.skip(f"{policy}: {reason}")
