"""Importances of choices that begin with a parent's weights."""

import itertools

import keras
import numpy as np
import pytest
from toy_parent import SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.betanas.training import train_betanas
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import space_around
from scarlet_tf.parents.warm_start import warm_start

SETTINGS = {"algorithm": "betanas", "betanas": {"warmup": 0, "drop": False}}
CONFIG = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-12, "freeze_bn": True}


@pytest.fixture(scope="module")
def images():
    return toy_images(np.random.default_rng(0), 48), (np.arange(48) % 3).astype(np.int32)


@pytest.fixture(scope="module")
def supernet(images):
    parent = toy_parent(toy_spec(blocks=(block(0, 8, 16, 3, 2), block(1, 16, 16, 3))))
    supernet = Supernet(space_around(parent, shares=(1.0,)), (SIZE, SIZE, 3), 3, skip="shortcut")
    warm_start(supernet, parent, [images])
    return supernet


def test_importances_are_trained_with_the_parents_statistics(supernet, images):
    """A step of the weights and one of the importances, whose loss is that of some path at inference."""
    train, held_out = [part[:32] for part in images], [part[32:] for part in images]
    history = train_betanas(supernet, train, held_out, CONFIG, SETTINGS)["history"]
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    paths = itertools.product(range(2), repeat=2)
    losses = [float(entropy(held_out[1], supernet(held_out[0], path))) for path in paths]
    assert np.isclose(losses, history[0]["held_out_loss"], rtol=1e-4).any()


def test_importances_need_a_training(supernet, images):
    with pytest.raises(
        InputError, match=r"supernet\.epochs: expected at least 1 with betanas, which trains importances"
    ):
        train_betanas(supernet, images, images, CONFIG | {"epochs": 0}, SETTINGS)
