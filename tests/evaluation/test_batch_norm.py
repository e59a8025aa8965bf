import keras
import numpy as np
import pytest
from tiny import images_and_labels, randomised, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.batch_norm import moving_statistics, rebase, recalibrate
from scarlet_tf.export.folding import fold
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space.search_space import Architecture

pytestmark = pytest.mark.both_modes


def test_statistics_are_the_mean_of_all_batches(rng):
    """Forty batches, of which the first twenty differ from the others: a moving average would know the last alone."""
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization(momentum=0.9)])
    batches = [(rng.normal(10 * (i // 20), 1 + i // 20, (8, 4, 4, 2)).astype(np.float32), None) for i in range(40)]
    for variable in model.non_trainable_variables:
        variable.assign(np.full(2, 77.0))
    assert recalibrate(lambda x: model(x, training=True), batches, moving_statistics(model)) == 40
    mean, variance = (np.asarray(v) for v in model.non_trainable_variables)
    # float32 sums of forty terms: their rounding is some 1e-6 of them
    np.testing.assert_allclose(mean, np.mean([x.mean((0, 1, 2)) for x, _ in batches], axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean([x.var((0, 1, 2)) for x, _ in batches], axis=0), rtol=1e-5)
    halves = [np.mean([x.mean() for x, _ in half]) for half in (batches[:20], batches[20:])]
    assert mean.mean() == pytest.approx(np.mean(halves), rel=1e-5) and np.ptp(halves) > 9
    assert variance.max() < 4 < np.concatenate([x for x, _ in batches]).var()  # without the spread of the means


@pytest.mark.parametrize("sizes", [(8, 8, 8), (8, 8, 3)])
def test_recalibration_of_a_network_is_exact_in_every_layer(rng, sizes):
    """Each batch's own statistics, in NumPy, of what reaches each batch normalisation; every image counts the same."""
    network = Network(Architecture((3, 0, 1, 2), tiny_space()).lower((8, 8, 3), 5, skip="let"), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    batches = [images_and_labels(rng, size) for size in sizes]
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    probe = keras.Model(network.input, [layer.input for layer in layers])
    seen = [[np.asarray(x, np.float64) for x in probe(images, training=True)] for images, _ in batches]
    recalibrate(lambda x: network(x, training=True), batches, moving_statistics(network))
    for i, layer in enumerate(layers):
        for found, statistic in ((layer.moving_mean, np.mean), (layer.moving_variance, np.var)):
            expected = np.average([statistic(xs[i], axis=(0, 1, 2)) for xs in seen], axis=0, weights=sizes)
            # the kernel's float32 sums over 64 places an image, and in which order
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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
