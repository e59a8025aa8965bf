import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.layers.core import fan_out

pytestmark = pytest.mark.both_modes


def test_fan_out_adds_the_gradients_of_its_readers():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        first, second, third = fan_out(x, 3)
        y = first + 10 * second + 100 * third
    np.testing.assert_array_equal(y, [111, 222])
    np.testing.assert_array_equal(tape.gradient(y, x), [111, 111])
