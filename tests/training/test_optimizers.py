import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.training.optimizers import make_schedule


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_cosine_after_warm_up():
    schedule = make_schedule("cosine", 1.0, total_steps=110, warmup_steps=10)
    expected = [0.1, 1.0, 1.0, 0.5 * (1 + np.cos(np.pi * 0.5)), 0.0]
    np.testing.assert_allclose(rates(schedule, [0, 9, 10, 60, 110]), expected, atol=1e-6)


def test_exponential_staircase_after_warm_up():
    schedule = make_schedule("exponential", 0.256, 1000, warmup_steps=5, decay_rate=0.97, decay_steps=24)
    np.testing.assert_allclose(
        rates(schedule, [4, 28, 29, 53]), [0.256, 0.256, 0.256 * 0.97, 0.256 * 0.97**2], rtol=1e-5
    )


def test_constant():
    assert make_schedule("constant", 0.3, 10) == 0.3
    np.testing.assert_allclose(rates(make_schedule("constant", 0.3, 10, 3), [0, 2, 9]), [0.1, 0.3, 0.3], rtol=1e-6)


def test_a_schedule_round_trips_through_its_config():
    for kind in ("cosine", "constant"):
        schedule = make_schedule(kind, 0.5, 20, warmup_steps=4)
        twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
        assert rates(twin, range(20)) == rates(schedule, range(20))


def test_an_unknown_schedule_is_named():
    with pytest.raises(InputError, match="schedule: expected one of"):
        make_schedule("linear", 1.0, 10)
