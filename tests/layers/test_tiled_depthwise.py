"""Tiles: they cover a kernel once, and their sum is Keras' depthwise convolution."""

import keras
import numpy as np
import pytest

from scarlet_tf.layers.tiled_depthwise import MAX_TAPS, TiledDepthwiseConv2D, tiles


@pytest.mark.parametrize("size", range(3, 14))
def test_tiles_cover_the_kernel_once_with_at_most_nine_taps_each(size):
    covered = np.zeros((size, size), int)
    for row, column, rows, columns in tiles(size):
        assert rows * columns <= MAX_TAPS
        covered[row : row + rows, column : column + columns] += 1
    assert (covered == 1).all()


def test_a_kernel_of_seven_needs_six_tiles():
    assert len(tiles(7)) == 6 and len(tiles(3)) == 1


@pytest.mark.parametrize("size", [5, 7, 8, 9])
@pytest.mark.parametrize("stride, padding", [(1, "same"), (1, "valid"), (2, "valid"), (3, "valid")])
def test_the_sum_of_the_tiles_is_the_convolution(size, stride, padding):
    options = {"strides": stride, "padding": padding, "bias_initializer": "random_normal", "activation": "relu"}
    whole, tiled = (kind(size, **options) for kind in (keras.layers.DepthwiseConv2D, TiledDepthwiseConv2D))
    images = np.random.default_rng(0).normal(size=(2, 16, 13, 5)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(whole(images))
    tiled.build(images.shape)
    tiled.set_weights(whole.get_weights())
    # The same products, added in another order: at most 81 of size 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tiled(images)), expected, atol=1e-5)


def test_padding_that_depends_on_the_stride_is_refused():
    with pytest.raises(ValueError, match="padding: expected 'valid' with stride 2, got 'same'"):
        TiledDepthwiseConv2D(7, strides=2, padding="same")(np.zeros((1, 8, 8, 2), np.float32))


def test_it_saves_and_loads(tmp_path):
    image = keras.Input((9, 9, 3))
    model = keras.Model(image, TiledDepthwiseConv2D(7, padding="same")(image))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))
