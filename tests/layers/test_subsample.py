import keras
import numpy as np
import pytest

from scarlet_tf.layers.core import Subsample

pytestmark = pytest.mark.both_modes


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 6, 7, 3), (1, 1, 2, 1)])
def test_both_ways_keep_every_nth_pixel_exactly(stride, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for by_convolution in (False, True):
        layer = Subsample(stride, by_convolution)
        answer = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_array_equal(answer, x[:, ::stride, ::stride])
        assert layer.compute_output_shape(shape) == answer.shape
        assert Subsample.from_config(layer.get_config()).by_convolution is by_convolution


def test_a_stride_below_one_is_refused():
    with pytest.raises(ValueError, match="stride: expected an integer >= 1, got 0"):
        Subsample(0)
