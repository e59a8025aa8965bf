import numpy as np
import pytest
from tiny import images_and_labels, tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.models.extract import extract
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.evaluator import Evaluator
from scarlet_tf.space import Architecture
from scarlet_tf.training.batch_norm import moving_statistics, recalibrate
from scarlet_tf.training.evaluation import evaluate
from scarlet_tf.training.inputs import ArraySplit
from scarlet_tf.training.supernet import train_supernet

ARCHITECTURE = Architecture((1, 0, 3, 2), tiny_space())


@pytest.fixture(scope="module")
def images():
    images, labels = images_and_labels(np.random.default_rng(0), 60)
    return (images[:40], labels[:40]), (images[40:], labels[40:])


@pytest.fixture(scope="module")
def supernet(images):
    model = Supernet(tiny_space(), num_classes=5)
    train_supernet(model, images[0], {"epochs": 4, "batch_size": 10, "learning_rate": 0.05, "execution": "lanes"})
    return model


def test_figures_equal_those_of_the_extracted_and_recalibrated_network(supernet, images):
    training, validation = images
    figures = Evaluator(supernet, validation, training, 4, batch_size=10).evaluate(ARCHITECTURE)
    network = extract(supernet, ARCHITECTURE)
    batches = ArraySplit(*training).batches(10, training=True, seed=0)
    recalibrate(lambda x: network(x, training=True), batches.take(4), moving_statistics(network))
    expected = evaluate(network, ArraySplit(*validation).batches(10))
    assert figures["accuracy"] == expected["accuracy"] and figures["num_examples"] == 20
    assert figures["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_evaluations_do_not_depend_on_those_before(supernet, images, rng):
    evaluator = Evaluator(supernet, images[1], images[0], 4, batch_size=10)
    before = [np.array(v) for v in supernet.variables]
    first = evaluator.evaluate(ARCHITECTURE)
    for _ in range(3):
        evaluator.evaluate(supernet.space.sample(rng))
    assert evaluator.evaluate(ARCHITECTURE.choices) == first
    for variable, value in zip(supernet.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_without_recalibration_the_running_statistics_serve(supernet, images):
    figures = Evaluator(supernet, images[1], batch_size=10).evaluate(ARCHITECTURE)
    expected = evaluate(extract(supernet, ARCHITECTURE), ArraySplit(*images[1]).batches(10))
    assert figures["accuracy"] == expected["accuracy"]


def test_a_misfit_is_named(supernet, images):
    with pytest.raises(InputError, match="4 layers, got 2"):
        Evaluator(supernet, images[1]).evaluate((0, 1))
