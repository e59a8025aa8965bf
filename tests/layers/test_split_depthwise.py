"""Strips: they cover a kernel once, and their sum is Keras' depthwise convolution."""

import keras
import numpy as np
import pytest

from scarlet_tf.layers.split_depthwise import MAX_TAPS, SplitDepthwiseConv2D, strips

pytestmark = pytest.mark.both_modes


@pytest.mark.parametrize("size", range(3, 14))
def test_strips_cover_the_rows_once_with_at_most_25_taps_each(size):
    assert all(rows * size <= MAX_TAPS for _, rows in strips(size))
    assert [row for first, rows in strips(size) for row in range(first, first + rows)] == list(range(size))


def test_a_kernel_of_seven_is_three_strips_and_one_of_five_is_one():
    assert strips(7) == [(0, 3), (3, 3), (6, 1)] and strips(5) == [(0, 5)]


@pytest.mark.parametrize("size", [5, 7, 8, 9])
@pytest.mark.parametrize("stride, padding", [(1, "same"), (1, "valid"), (2, "valid"), (3, "valid")])
@pytest.mark.parametrize("shape", [(2, 16, 13, 5), (1, 9, 9, 3)])
def test_the_sum_of_the_strips_is_the_convolution(size, stride, padding, shape):
    expect_equal(size, shape, strides=stride, padding=padding, activation="relu")


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_strips_that_see_padding_alone_add_nothing(side):
    expect_equal(7, (2, side, side, 3), padding="same")


@pytest.mark.parametrize("side", [4, 9, 12, 13])
@pytest.mark.parametrize("stride", [1, 2])
def test_zeros_are_those_of_a_padding_in_front(side, stride):
    image = keras.Input((side, side, 3))
    padded = keras.layers.ZeroPadding2D(3)(image)
    whole = keras.Model(image, keras.layers.DepthwiseConv2D(7, stride)(padded))
    split = keras.Model(image, SplitDepthwiseConv2D(7, stride, zeros=3)(image))
    split.set_weights(whole.get_weights())
    assert split.output_shape == whole.output_shape
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    np.testing.assert_allclose(split.predict(images, verbose=0), whole.predict(images, verbose=0), atol=1e-5)


def expect_equal(size, shape, **options):
    options["bias_initializer"] = "random_normal"
    whole, split = (kind(size, **options) for kind in (keras.layers.DepthwiseConv2D, SplitDepthwiseConv2D))
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = keras.ops.convert_to_numpy(whole(images))
    split.build(images.shape)
    split.set_weights(whole.get_weights())
    # The same products, added in another order: at most 81 of size 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(split(images)), expected, atol=1e-5)


def test_padding_that_depends_on_the_stride_is_refused():
    with pytest.raises(ValueError, match="padding: expected 'valid' with stride 2 and zeros 0"):
        SplitDepthwiseConv2D(7, strides=2, padding="same")(np.zeros((1, 8, 8, 2), np.float32))


def test_it_saves_and_loads(tmp_path):
    image = keras.Input((9, 9, 3))
    model = keras.Model(image, SplitDepthwiseConv2D(7, padding="same")(image))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))
