import keras
import numpy as np
import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.training.batch_norm import moving_statistics, recalibrate


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
