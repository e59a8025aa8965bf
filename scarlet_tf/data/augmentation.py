"""Random distortions of training images; every one is a pure function of its pixels and a seed."""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf.data.decoding import can_crop, decode, decode_and_crop


def random_shift(pixels: tf.Tensor, margin: int, seed: tf.Tensor, flip: bool, rows: tuple | None = None) -> tf.Tensor:
    """Shift [S, S, 3] or [B, S, S, 3] by up to `margin` pixels, black moving in; `flip`: mirrors half of them.

    rows: (first, total), where the images are those from `first` on of a batch of `total`; each is then shifted as it
    would be in that batch.
    """
    if pixels.shape.rank == 3:
        return random_shift(pixels[tf.newaxis], margin, seed, flip)[0]
    seeds = tf.random.split(seed, 2)
    batch, (height, width) = tf.shape(pixels)[0], pixels.shape[1:3]
    first, total = rows or (0, batch)
    offsets = tf.random.stateless_uniform([total, 2], seeds[0], 0, 2 * margin + 1, tf.int32)[first : first + batch]
    padded = tf.pad(pixels, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    columns = offsets[:, 1:] + tf.range(width)
    if flip:
        mirrored = tf.random.stateless_uniform([total, 1], seeds[1])[first : first + batch] < 0.5
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    shifted = tf.gather(padded, offsets[:, :1] + tf.range(height), axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(shifted, columns, axis=2, batch_dims=1), pixels.shape)


def random_resized_crop(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Inception's training crop of uint8 [H, W, 3] (or a batch): float32 [size, size, 3] in 0..255.

    A box with 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3 is resized to a square, mirrored in half of
    the cases and changed in brightness, saturation and contrast (Szegedy et al., "Going deeper with convolutions").
    """
    if image.shape.rank == 4:
        numbers = tf.range(tf.shape(image)[0])
        return tf.map_fn(
            lambda pair: random_resized_crop(pair[0], size, tf.random.fold_in(seed, pair[1])),
            (image, numbers),
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
    seeds = tf.random.split(seed, 3)
    return _after_crop(_slice(image, seeds[0]), size, seeds)


def random_resized_crop_of_encoded(encoded: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """`random_resized_crop` of the image that a scalar string encodes; of most JPEG files only the crop is decoded."""
    seeds = tf.random.split(seed, 3)

    def choose(height_and_width):
        begin, extent = _sample_box(tf.pad(height_and_width, [[0, 1]], constant_values=3), seeds[0])
        return tf.concat([begin[:2], extent[:2]], 0)

    crop = tf.cond(
        can_crop(encoded), lambda: decode_and_crop(encoded, choose), lambda: _slice(decode(encoded), seeds[0])
    )
    return _after_crop(crop, size, seeds)


def _slice(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.slice(image, *_sample_box(tf.shape(image), seed))


def _sample_box(shape: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(begin, extent), each int32 [3], of a box in an image of shape [H, W, 3]."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.zeros([1, 0, 4]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    # The third extent is -1, "all"; `tf.slice` takes it.
    return begin, extent


def _after_crop(crop: tf.Tensor, size: int, seeds: tf.Tensor) -> tf.Tensor:
    crop = tf.ensure_shape(crop, [None, None, 3])
    crop = tf.image.resize(crop, [size, size], "bilinear", antialias=True)
    return _color_jitter(tf.image.stateless_random_flip_left_right(crop, seeds[1]), seeds[2])


def _color_jitter(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Brightness by up to 32 of 255 levels, saturation and contrast by 0.5 to 1.5; clipped to 0..255."""
    seeds = tf.random.split(seed, 3)
    pixels = tf.image.stateless_random_brightness(pixels / 255.0, 32 / 255, seeds[0])
    pixels = tf.image.stateless_random_saturation(tf.clip_by_value(pixels, 0.0, 1.0), 0.5, 1.5, seeds[1])
    pixels = tf.image.stateless_random_contrast(pixels, 0.5, 1.5, seeds[2])
    return tf.clip_by_value(pixels, 0.0, 1.0) * 255.0
