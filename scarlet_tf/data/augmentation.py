"""Random distortions of training images; every one is a pure function of its pixels and a seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.data.data_config import DataConfig, Resizing
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


def resized(pixels: tf.Tensor, size: int, resizing: Resizing) -> tf.Tensor:
    """[..., H, W, 3] in 0..255 as float32 [..., size, size, 3], antialiased, in 0..255 as well."""
    pixels = tf.image.resize(pixels, [size, size], resizing, antialias=True)
    # Beside edges the bicubic kernel overshoots, which no pixel of another image does.
    return tf.clip_by_value(pixels, 0.0, 255.0) if resizing == "bicubic" else pixels


def random_resized_crop(image: tf.Tensor, size: int, seed: tf.Tensor, resizing: Resizing = "bilinear") -> tf.Tensor:
    """Inception's training crop of uint8 [H, W, 3] (or a batch): float32 [size, size, 3] in 0..255.

    A box with 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3 is resized to a square, mirrored in half of
    the cases and changed in brightness, saturation and contrast (Szegedy et al., "Going deeper with convolutions").
    """
    if image.shape.rank == 4:
        numbers = tf.range(tf.shape(image)[0])
        return tf.map_fn(
            lambda pair: random_resized_crop(pair[0], size, tf.random.fold_in(seed, pair[1]), resizing),
            (image, numbers),
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
    seeds = tf.random.split(seed, 3)
    return _after_crop(_slice(image, seeds[0]), size, seeds, resizing)


def random_resized_crop_of_encoded(
    encoded: tf.Tensor, size: int, seed: tf.Tensor, resizing: Resizing = "bilinear"
) -> tf.Tensor:
    """`random_resized_crop` of the image that a scalar string encodes; of most JPEG files only the crop is decoded."""
    seeds = tf.random.split(seed, 3)

    def choose(height_and_width):
        begin, extent = _sample_box(tf.pad(height_and_width, [[0, 1]], constant_values=3), seeds[0])
        return tf.concat([begin[:2], extent[:2]], 0)

    crop = tf.cond(
        can_crop(encoded), lambda: decode_and_crop(encoded, choose), lambda: _slice(decode(encoded), seeds[0])
    )
    return _after_crop(crop, size, seeds, resizing)


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


def _after_crop(crop: tf.Tensor, size: int, seeds: tf.Tensor, resizing: Resizing) -> tf.Tensor:
    crop = resized(tf.ensure_shape(crop, [None, None, 3]), size, resizing)
    return _color_jitter(tf.image.stateless_random_flip_left_right(crop, seeds[1]), seeds[2])


def _color_jitter(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Brightness by up to 32 of 255 levels, saturation and contrast by 0.5 to 1.5; clipped to 0..255."""
    seeds = tf.random.split(seed, 3)
    pixels = tf.image.stateless_random_brightness(pixels / 255.0, 32 / 255, seeds[0])
    pixels = tf.image.stateless_random_saturation(tf.clip_by_value(pixels, 0.0, 1.0), 0.5, 1.5, seeds[1])
    pixels = tf.image.stateless_random_contrast(pixels, 0.5, 1.5, seeds[2])
    return tf.clip_by_value(pixels, 0.0, 1.0) * 255.0


# -- Random keys of a pass, and a generator with which Keras' preprocessing layers draw from one of them -----------


def pass_key(shuffle: tuple[int, int], purpose: int) -> np.ndarray:
    """A random seed, int32 [2], for (seed, epoch); other purposes (1, 2, ...) give independent ones."""
    return np.random.SeedSequence((*shuffle, purpose)).generate_state(2).view(np.int32)


class KeySeeds(keras.random.SeedGenerator):
    """Seed generator for Keras' random functions whose seeds follow from one key, a tensor [2].

    Keras' layers take a whole number or a SeedGenerator. The first would be fixed when tf.data traces the function; the
    second keeps its state in a variable, which parallel calls change in any order and which a resumed run lacks.
    """

    def __init__(self, key: tf.Tensor):
        # The base class's is not called: there is no variable, and nothing that a checkpoint would have to hold.
        self._key = key
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The next seed, int32 [2]: a function of the key and of how many were drawn before."""
        del ordered
        self._drawn += 1
        return tf.random.fold_in(self._key, self._drawn)


# -- RandAugment: a few random operations an image, each a Keras preprocessing layer (Cubuk et al., arXiv:1909.13719)
#
# keras.layers.RandAugment draws its operations once for a whole batch, computes all of them to keep two, turns by up to
# `factor` full circles, and takes no seed from outside. So the layers it consists of are used here one by one.


_GREY = 127.5


def rand_augment(pixels: tf.Tensor, seed: tf.Tensor, num_operations: int, magnitude: float) -> tf.Tensor:
    """Apply `num_operations` random ones of the paper's 14 to float32 [H, W, 3] in 0..255; a function of `seed` [2].

    magnitude: 0 to 10; at 10 an operation is as strong as it ever is in AutoAugment: 30 degrees, a shear of 0.3, a shift
    by 0.45 of the side. The strength is drawn uniformly up to that (a reading: the paper fixes it and draws the sign), and
    brightness is added, where the paper multiplies. Pixels that move in are grey.
    """
    images, one_of_them = pixels[tf.newaxis], _one_of_them(magnitude)
    for number in range(num_operations):
        images = one_of_them(images, tf.random.fold_in(seed, number))
    return images[0]


@functools.cache
def _one_of_them(magnitude: float) -> tf.types.experimental.PolymorphicFunction:
    """One random operation, traced once per size, not once per epoch: the branches take seconds to trace."""
    candidates = operations(magnitude)

    def apply(images, seed):
        seeds = tf.random.split(seed, 2)
        drawn = tf.random.stateless_uniform([], seeds[0], 0, len(candidates), tf.int32)
        branches = [functools.partial(operation, images, seeds[1]) for operation in candidates]
        return tf.ensure_shape(tf.switch_case(drawn, branches), images.shape)

    return tf.function(apply, autograph=False)


@functools.cache
def operations(magnitude: float) -> tuple[Callable, ...]:
    """The 14 operations as functions of (float32 [1, H, W, 3] in 0..255, seed [2])."""
    share = magnitude / 10
    layers, common = keras.layers, {"dtype": "float32", "data_format": "channels_last"}
    moved = {"fill_mode": "constant", "fill_value": _GREY, **common}
    colour = {"value_range": (0, 255), **common}
    with tf.init_scope():  # the layers own variables, although none is used
        return (
            lambda images, seed: tf.identity(images),
            _solarize(layers.Solarization(**colour), share),
            *map(
                _apply,
                (
                    layers.AutoContrast(**colour),
                    layers.Equalization(**colour),
                    layers.RandomRotation((-share / 12, share / 12), **moved),
                    layers.RandomPosterization((8 - round(4 * share), 8), **colour),
                    layers.RandomColorDegeneration((0.0, 0.9 * share), **colour),
                    layers.RandomContrast((0.9 * share, 0.9 * share), **colour),
                    layers.RandomBrightness((-0.45 * share, 0.45 * share), **colour),
                    layers.RandomSharpness((0.5 - 0.45 * share, 0.5 + 0.45 * share), **colour),
                    layers.RandomShear(0.3 * share, 0.0, **moved),
                    layers.RandomShear(0.0, 0.3 * share, **moved),
                    layers.RandomTranslation(0.0, (-0.45 * share, 0.45 * share), **moved),
                    layers.RandomTranslation((-0.45 * share, 0.45 * share), 0.0, **moved),
                ),
            ),
        )


def _apply(layer) -> Callable:
    def operation(images, seed):
        drawn = layer.get_random_transformation(images, training=True, seed=KeySeeds(seed))
        return layer.transform_images(images, drawn, training=True)

    return operation


def _solarize(layer, share: float) -> Callable:
    """Invert the levels above a threshold; the layer's own draw has no lower end but 0."""

    def operation(images, seed):
        threshold = 256 * (1 - share * tf.random.stateless_uniform([1, 1, 1, 1], seed))
        drawn = {"additions": tf.zeros([1, 1, 1, 1]), "thresholds": threshold}
        return layer.transform_images(images, drawn, training=True)

    return operation


# -- Policy: the strong distortions of training images that go beyond cropping, made of Keras' preprocessing layers


@dataclasses.dataclass(frozen=True)
class Policy:
    """The distortions that `data.rand_augment`, `random_erasing`, `mixup` and `cutmix` configure, for `num_classes` classes.

    Made from a DataConfig, which has checked the ranges. Everything is a pure function of its arguments.
    """

    num_classes: int
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def distorts_images(self) -> bool:
        """True if single images are changed."""
        return bool(self.rand_augment or self.random_erasing)

    @property
    def mixes(self) -> bool:
        """True if images of a batch are mixed, which makes labels float32 [B, num_classes]."""
        return bool(self.mixup or self.cutmix)

    def prepare(self) -> None:
        """Make the layers, outside of any graph."""
        operations(self.rand_augment_magnitude)
        _layers(self.random_erasing, self.mixup, self.cutmix)

    def distort(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """RandAugment, then random erasing, of one image: float32 [S, S, 3] in 0..255, seed [2].

        Erased rectangles (Keras' sizes) become grey, which "inception" normalisation makes 0.
        """
        seeds = tf.random.split(seed, 2)
        if self.rand_augment:
            pixels = rand_augment(pixels, seeds[0], self.rand_augment, self.rand_augment_magnitude)
        if self.random_erasing:
            erasing, images = self._layer("random_erasing"), pixels[tf.newaxis]
            drawn = erasing.get_random_transformation(images, training=True, seed=KeySeeds(seeds[1]))
            pixels = tf.ensure_shape(erasing.transform_images(images, drawn, training=True)[0], pixels.shape)
        return pixels

    def mix(self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix float32 [B, S, S, 3] with one another; int labels [B] become float32 [B, num_classes].

        With both mixup and cutmix a batch gets one of them, each with probability 1/2.
        """
        seeds = tf.random.split(seed, 2)
        targets = tf.one_hot(labels, self.num_classes)

        def apply(name):
            layer = self._layer(name)
            drawn = layer.get_random_transformation(images, training=True, seed=KeySeeds(seeds[1]))
            mixed = layer.transform_images(images, drawn, training=True)
            shares = layer.transform_labels(targets, drawn, training=True)
            return tf.ensure_shape(mixed, images.shape), tf.ensure_shape(shares, targets.shape)

        if self.mixup and self.cutmix:
            first = tf.random.stateless_uniform([], seeds[0]) < 0.5
            return tf.cond(first, lambda: apply("mixup"), lambda: apply("cutmix"))
        return apply("mixup" if self.mixup else "cutmix")

    def _layer(self, name: str):
        return _layers(self.random_erasing, self.mixup, self.cutmix)[name]


def policy_of(config: DataConfig, num_classes: int) -> Policy | None:
    """The policy that `config` asks for; None where all of it is off."""
    keys = [field.name for field in dataclasses.fields(Policy) if field.name != "num_classes"]
    policy = Policy(num_classes, **{key: getattr(config, key) for key in keys})
    return policy if policy.distorts_images or policy.mixes else None


@functools.cache
def _layers(random_erasing: float, mixup: float, cutmix: float) -> dict[str, keras.layers.Layer]:
    common = {"dtype": "float32", "data_format": "channels_last"}
    with tf.init_scope():  # the layers own variables, although none is used
        return {
            "random_erasing": keras.layers.RandomErasing(
                (random_erasing, random_erasing), fill_value=127.5, value_range=(0, 255), **common
            ),
            "mixup": keras.layers.MixUp(mixup, **common),
            "cutmix": keras.layers.CutMix((cutmix, cutmix), **common),
        }
