import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.data import augmentation
from scarlet_tf.data.augmentation import KeySeeds, Policy, operations, policy_of, rand_augment
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.images import in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit

CLASSES = 6
EVERYTHING = Policy(CLASSES, rand_augment=2, random_erasing=0.5, mixup=0.4, cutmix=1.0)
ONE_OPERATION = dataclasses.replace(EVERYTHING, rand_augment=1)  # each takes a second to trace


def make_split(policy, augmentation="none", size=8):
    """24 images of one level each, 40 times their label."""
    labels = np.arange(24) % CLASSES
    images = [np.full([size, size, 3], 40 * label, np.uint8) for label in labels]
    preprocessing = Preprocessing(size, normalization="unit", augmentation=augmentation)
    return IndexedSplit(in_memory(images), np.arange(24), labels, preprocessing).with_policy(policy)


def stream(split, **arguments):
    return [(images.numpy(), labels.numpy()) for images, labels in split.batches(4, training=True, **arguments)]


def assert_equal(first, second):
    for pair, other in zip(first, second, strict=True):
        for array, expected in zip(pair, other, strict=True):
            np.testing.assert_array_equal(array, expected)


_SLOW = pytest.param("crop_flip", EVERYTHING, marks=pytest.mark.slow)


@pytest.mark.parametrize(("augmentation", "policy"), [_SLOW, ("inception", ONE_OPERATION)])
def test_everything_together_is_a_function_of_seed_and_epoch_and_resumes_exactly(augmentation, policy):
    split = make_split(policy, augmentation)
    first = stream(split, seed=1, epoch=2)
    assert_equal(first, stream(split, seed=1, epoch=2))
    assert_equal(first[4:], stream(split, seed=1, epoch=2, skip_batches=4))
    for images, labels in first:
        assert images.shape == (4, 8, 8, 3) and images.dtype == np.float32
        assert labels.shape == (4, CLASSES) and labels.dtype == np.float32
        np.testing.assert_allclose(labels.sum(1), 1.0, rtol=1e-6)
        assert images.min() >= 0.0 and images.max() <= 1.0 + 1e-6
    assert not np.array_equal(first[0][0], stream(split, seed=1, epoch=3)[0][0])


def test_workers_of_a_mixed_batch_resume_exactly_and_differ():
    split = make_split(ONE_OPERATION)
    workers = [stream(split, seed=1, shard=(index, 2)) for index in range(2)]
    assert [labels.shape for _, labels in workers[0]] == [(2, CLASSES)] * 6
    assert_equal(workers[1][3:], stream(split, seed=1, shard=(1, 2), skip_batches=3))
    assert not np.array_equal(workers[0][0][0], workers[1][0][0])


def test_mixup_mixes_labels_as_it_mixes_images():
    """Levels are 40 times the label, so a mixed pixel is 40 times the mean label."""
    shares = []
    for images, labels in stream(make_split(Policy(CLASSES, mixup=1.0))):
        expected = labels @ (40 * np.arange(CLASSES)) / 255
        np.testing.assert_allclose(images[:, 0, 0, 0], expected, atol=1e-6)
        assert np.ptp(images, axis=(1, 2, 3)).max() < 1e-6
        shares += labels.max(1).tolist()
    assert min(shares) < 0.9


def test_cutmix_labels_are_the_shares_of_the_areas():
    """Keras cuts at fractions of pixels: a side of n pixels is off by up to one of them."""
    mixed, size = 0, 64
    for images, labels in stream(make_split(Policy(CLASSES, cutmix=1.0), size=size)):
        for image, shares in zip(images, labels, strict=True):
            levels = np.round(image[..., 0] * 255).astype(int)
            assert set(np.unique(levels)) <= set(range(0, 40 * CLASSES, 40))
            areas = np.bincount(levels.ravel() // 40, minlength=CLASSES) / size**2
            np.testing.assert_allclose(areas, shares, atol=2 / size + 1 / size**2)
            mixed += shares.max() < 1
    assert mixed > 4


def test_both_give_some_batches_mixup_and_some_cutmix():
    split = make_split(Policy(CLASSES, mixup=1.0, cutmix=1.0))
    batches = [images for epoch in range(4) for images, _ in stream(split, epoch=epoch)]
    cut = [np.ptp(images, axis=(1, 2, 3)).max() > 0.1 for images in batches]
    assert 4 < sum(cut) < len(cut) - 4


def test_erasing_greys_a_rectangle_of_some_images():
    images = np.concatenate([images for images, _ in stream(make_split(Policy(CLASSES, random_erasing=0.5), size=16))])
    erased = np.isclose(images, 0.5).any(axis=(1, 2, 3))
    assert 4 < erased.sum() < 20
    assert np.ptp(images[~erased], axis=(1, 2, 3)).max() == 0


def test_evaluation_and_plain_training_are_left_alone():
    strong, split = make_split(EVERYTHING, "shift"), make_split(None, "shift")
    assert_equal(list(strong.batches(4).as_numpy_iterator()), list(split.batches(4).as_numpy_iterator()))
    assert_equal(stream(strong.plain(), seed=3), stream(split, seed=3))
    assert strong.subset(np.arange(8)).policy == strong.take(12).policy == EVERYTHING


@pytest.mark.parametrize("number", range(14))
def test_every_operation_is_a_function_of_its_seed_within_the_levels(number, rng):
    operation = operations(9.0)[number]
    images = tf.constant(rng.uniform(0, 255, [1, 12, 10, 3]), tf.float32)
    seeds = [[1, 2], [3, 4]]
    outputs = [operation(images, tf.constant(seed)).numpy() for seed in seeds]
    for seed, output in zip(seeds, outputs, strict=True):
        assert output.shape == images.shape and output.dtype == np.float32
        assert output.min() >= -1e-3 and output.max() <= 255 + 1e-3
        np.testing.assert_allclose(tf.function(operation)(images, tf.constant(seed)), output, atol=1e-3)
    without_draw = number in (0, 2, 3)
    assert np.array_equal(*outputs) == without_draw or number == 5  # posterization draws among few depths
    if number:
        assert not np.array_equal(outputs[0], images)


def test_rand_augment_at_magnitude_zero_leaves_shape_and_position(rng):
    """No strength: only what has none (contrast stretching, equalising) may change a level of this image."""
    image = np.tile(np.linspace(0, 255, 16, dtype=np.float32)[:, None, None], [1, 16, 3])
    for seed in range(12):
        changed = rand_augment(tf.constant(image), tf.constant([seed, 0]), 1, 0.0)
        assert np.all(np.diff(changed, axis=0) >= -1e-3) and np.ptp(changed, axis=1).max() < 1e-3


def test_images_of_a_batch_get_operations_of_their_own():
    """keras.layers.RandAugment would draw once for the whole batch."""
    split = make_split(Policy(CLASSES, rand_augment=1), size=16)
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8)[:, None, None], [1, 16, 3])
    labels = np.zeros(16, int)
    split = IndexedSplit(in_memory([ramp] * 16), np.arange(16), labels, split.preprocessing).with_policy(split.policy)
    ((images, _),) = split.batches(16, training=True)
    assert len({image.tobytes() for image in images.numpy()}) > 6


def test_key_seeds_serve_kerass_random_functions():
    def draw(key):
        seeds = KeySeeds(tf.constant(key))
        return [keras.random.uniform([3], seed=seeds).numpy().tolist() for _ in range(2)]

    first, second = draw([1, 2])
    assert first != second
    assert draw([1, 2]) == [first, second] != draw([1, 3])


def test_a_config_without_strong_values_has_no_policy():
    assert policy_of(DataConfig(rand_augment_magnitude=3.0), 10) is None
    assert policy_of(DataConfig(mixup=0.2), 10) == Policy(10, mixup=0.2)


def test_keras_configured_for_channels_first_changes_no_distortion():
    """RandomErasing and RandomTranslation would take rows for channels, without an error."""

    def distorted():
        seeds = tf.constant([3, 5])
        images = tf.random.stateless_uniform([1, 8, 8, 3], seeds, 0, 255)
        layers = augmentation._layers(0.9, 0.4, 1.0)
        erased = layers["random_erasing"]
        drawn = erased.get_random_transformation(images, training=True, seed=KeySeeds(seeds))
        return [
            *(operation(images, seeds) for operation in operations(9.0)),
            erased.transform_images(images, drawn, True),
        ]

    caches = (operations, augmentation._layers)
    found = {}
    for data_format in ("channels_first", "channels_last"):
        keras.config.set_image_data_format(data_format)
        for cache in caches:
            cache.cache_clear()
        found[data_format] = distorted()
    for image, other in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(image, other)
