import keras
import numpy as np
import pytest
from tiny import images_and_labels, randomised, tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.export.folding import fold
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space import Architecture
from scarlet_tf.training.batch_norm import moving_statistics, rebase, recalibrate


def test_recalibration_by_hand(rng):
    """Two batches: weights 0.09 and 0.1 of an average that began at zero, divided by 1 - 0.9^2 = 0.19."""
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization(momentum=0.9)])
    batches = [(rng.normal(i, 1 + i, size=(8, 4, 4, 2)).astype(np.float32), None) for i in range(2)]
    for variable in model.non_trainable_variables:
        variable.assign(np.full(2, 77.0))
    count = recalibrate(lambda x: model(x, training=True), batches, moving_statistics(model))
    assert count == 2
    mean, variance = (np.asarray(v) for v in model.non_trainable_variables)
    for got, statistic in ((mean, np.mean), (variance, np.var)):
        first, second = (statistic(x, axis=(0, 1, 2)) for x, _ in batches)
        np.testing.assert_allclose(got, (0.09 * first + 0.1 * second) / 0.19, rtol=1e-4)


def test_recalibration_needs_images():
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization()])
    with pytest.raises(InputError, match="at least one batch"):
        recalibrate(model, [], moving_statistics(model))


def test_rebase_keeps_the_function_and_makes_the_statistics_true(rng):
    """After folding, training mode begins with the function of inference mode, on the images that were measured."""
    network = Network(Architecture((3, 0, 3, 0), tiny_space()).lower((8, 8, 3), 5, skip="let"), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    folded, _ = fold(network)
    images, labels = images_and_labels(rng, 40)
    before = np.asarray(folded(images, training=False))
    assert not np.allclose(folded(images, training=True), before, rtol=0.1, atol=0.1)  # also moves the statistics
    folded, _ = fold(network)
    rebase(folded, [(images[:20], labels[:20]), (images[20:], labels[20:])])
    np.testing.assert_allclose(folded(images, training=False), before, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(folded(images, training=True), before, rtol=1e-2, atol=1e-2)
    with pytest.raises(InputError, match="at least one batch"):
        rebase(folded, [])
