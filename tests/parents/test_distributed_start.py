"""Starts from a parent on two replicas, against one device: with frozen statistics all of it is equal within rounding."""

import numpy as np
import pytest
from toy_parent import SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.export.folding import fold
from scarlet_tf.models.network import get_arrays
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.parents.warm_start import warm_start
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.devices import copy_variables
from scarlet_tf.training.network import retrain
from scarlet_tf.training.supernet import train_supernet

CLASSES = 3


@pytest.fixture(scope="module")
def parent():
    return toy_parent(toy_spec(blocks=(block(0, 8, 16, 3, 2), block(1, 16, 16, 3))))


def started(parent, batches):
    space = space_around(parent, shares=(1.0,))
    supernet = Supernet(space, (SIZE, SIZE, 3), CLASSES, skip="shortcut")
    warm_start(supernet, parent, batches)
    return supernet


def assert_equal(model, other, **tolerance):
    for one, same in zip(model.variables, other.variables, strict=True):
        np.testing.assert_allclose(same.numpy(), one.numpy(), **tolerance, err_msg=one.path)


def test_a_warm_start_in_the_scope_of_a_strategy_is_the_same(parent, two_replicas, rng):
    batches = [(toy_images(rng), np.arange(16) % CLASSES)]
    with two_replicas.scope():
        together = started(parent, batches)
    assert_equal(started(parent, batches), together, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_supernet_and_its_network_train_as_on_one_device(parent, two_replicas, rng):
    images, labels = toy_images(rng, 32), (np.arange(32) % CLASSES).astype(np.int32)
    batches = [(images, labels)]
    alone = started(parent, batches)
    with two_replicas.scope():
        together = started(parent, batches)
    settings = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "sampling": "sandwich", "distillation": 0.5}
    settings |= {"freeze_bn": True}
    train_supernet(alone, batches[0], settings)
    train_supernet(together, batches[0], settings, two_replicas)
    copy = started(parent, None)
    copy_variables(together, copy, two_replicas)
    assert_equal(alone, copy, rtol=1e-3, atol=1e-4)
    folded, _ = fold(extract(alone, Architecture((0, 1), alone.space)))
    teacher = extract(alone, parent_path(parent, alone.space))
    settings = {"epochs": 1, "batch_size": 16, "optimizer": "adamw", "learning_rate": 1e-3, "freeze_bn": True}
    settings |= {"dropout": 0.0, "ema": 0.0, "recalibration_batches": 0, "teacher": "parent"}
    found = [
        retrain(folded.spec, batches[0], batches[0], settings, initial=get_arrays(folded), strategy=s, teacher=teacher)[
            0
        ]
        for s in (None, two_replicas)
    ]
    for name, array in get_arrays(found[0]).items():
        np.testing.assert_allclose(get_arrays(found[1])[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
