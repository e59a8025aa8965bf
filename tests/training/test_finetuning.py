"""Fine-tuning: what starts, what moves and how fast, what stays bit by bit, and that it resumes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, randomised, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import build_network, get_arrays, load_network, set_arrays
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import FinetuneConfig
from scarlet_tf.training.network import finetune
from scarlet_tf.training.network_step import Tuning
from scarlet_tf.training.optimizers import LayerwiseAdamW, LayerwiseRMSprop, LayerwiseSGD

# Skips leave two blocks: parts are stem, block, block, tail, classifier.
ARCHITECTURE = Architecture((0, 3, 1, 3), tiny_space())
CONFIG = {"epochs": 2, "batch_size": 10, "warmup_epochs": 0.0, "recalibration_batches": 2}
STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")


def pretrained(classes=7, size=8):
    network = build_network(ARCHITECTURE, (size, size, 3), classes, seed=5)
    set_arrays(network, randomised(get_arrays(network), np.random.default_rng(5)))
    return network


def data(size=8):
    images, labels = images_and_labels(np.random.default_rng(0), 60, size)
    return (images[:40], labels[:40]), (images[40:], labels[40:])


def test_the_network_gets_a_classifier_for_the_new_classes_and_learns_them():
    source = pretrained()
    before = get_arrays(source)
    options = CONFIG | {"epochs": 12, "learning_rate": 0.03, "recalibration_batches": 0}
    model, figures = finetune(source, *data(), options)
    assert model.output_shape == (None, 5)
    assert figures["validation"]["accuracy"] >= 0.7
    key = "stem_conv_bn/moving_mean"  # nothing is frozen, so training itself moves the statistics
    assert not np.array_equal(get_arrays(model)[key], before[key])
    for key, array in get_arrays(source).items():  # a copy was trained
        np.testing.assert_array_equal(array, before[key])


def test_other_image_sizes_and_networks_without_a_top_are_taken():
    spec = ARCHITECTURE.lower((16, 16, 3), None)
    model, _ = finetune(build_network(spec, seed=0), *data(), CONFIG | {"epochs": 1})
    assert model.input_shape == (None, 8, 8, 3)
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
def test_frozen_batch_normalisation_stays_bit_by_bit(optimizer):
    source = pretrained()
    before = get_arrays(source)
    model, _ = finetune(source, *data(), CONFIG | {"freeze_bn": True, "optimizer": optimizer, "ema": 0.5})
    after = get_arrays(model)
    frozen = [key for key in after if key.split("/")[1] in STATISTICS]
    assert len(frozen) == 4 * sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    for key in frozen:
        np.testing.assert_array_equal(after[key], before[key], err_msg=key)
    for key in set(after) - set(frozen) - {"classifier/kernel", "classifier/bias"}:
        assert not np.array_equal(after[key], before[key]), key


@pytest.mark.parametrize("recalibration_batches", [0, 2])
def test_parts_before_train_from_stay_bit_by_bit(recalibration_batches):
    source, last = pretrained(), ARCHITECTURE.lower((8, 8, 3), 5).blocks[-1].name
    before = get_arrays(source)
    options = CONFIG | {"train_from": last, "recalibration_batches": recalibration_batches}
    model, _ = finetune(source, *data(), options)
    assert all(layer.trainable for layer in model.layers)  # as any other network again
    after = get_arrays(model)
    del after[f"{last}_project_bn/beta"]  # has no gradient: the tail's batch normalisation takes every offset away
    for key, array in after.items():
        moves = key.startswith((last, "tail", "classifier"))
        same = key in before and before[key].shape == array.shape and np.array_equal(array, before[key])
        assert same != moves, key


def test_a_part_that_is_none_is_named_with_those_that_there_are():
    with pytest.raises(
        InputError, match=r"finetune.train_from: expected one of stem, .*, tail, classifier, got 'block_99'"
    ):
        finetune(pretrained(), *data(), {"train_from": "block_99"})


def test_each_part_moves_by_the_following_ones_rate_times_the_decay():
    """One step of plain SGD against the gradient, computed apart, times the rate worked out by hand."""
    source = pretrained()
    (images, labels), validation = data()
    images, labels = images[:10], labels[:10]
    options = {"epochs": 1, "batch_size": 10, "learning_rate": 0.5, "momentum": 0.0, "schedule": "constant"}
    options |= {"warmup_epochs": 0.0, "weight_decay": 0.01, "label_smoothing": 0.0, "dropout": 0.0, "freeze_bn": True}
    options |= {"rate_decay": 0.25, "recalibration_batches": 0, "ema": 0.0}
    model, _ = finetune(source, (images, labels), validation, options)
    start = build_network(model.spec, dropout=0.0)
    arrays = get_arrays(source)
    first = get_arrays(build_network(model.spec, seed=0))  # where the new classifier began
    set_arrays(start, arrays | {key: first[key] for key in ("classifier/kernel", "classifier/bias")})
    names = {v.path: f"{layer.name}/{v.name}" for layer in start.layers for v in layer.weights}
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, start(images, training=False), from_logits=True)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, [v.value for v in start.trainable_variables])
    blocks = [block.name for block in model.spec.blocks]
    factors = {"classifier": 1.0, "tail": 0.25, blocks[-1]: 0.25**2, blocks[0]: 0.25**3, "stem": 0.25**4}
    assert len(blocks) == 2
    checked, found = 0, get_arrays(model)
    for variable, gradient in zip(start.trainable_variables, gradients, strict=True):
        key = names[variable.path]
        if key.split("/")[1] in STATISTICS:
            continue
        factor = next(value for part, value in factors.items() if key.startswith(part))
        value = np.asarray(variable)
        decay = 0.01 * value if value.ndim > 1 else 0.0
        np.testing.assert_allclose(
            found[key], value - 0.5 * factor * (gradient + decay), rtol=1e-4, atol=1e-6, err_msg=key
        )
        checked += 1
    assert checked > 8


@pytest.mark.parametrize(
    ("layerwise", "plain"),
    [
        (lambda: LayerwiseSGD(0.1, momentum=0.9), lambda: keras.optimizers.SGD(0.1, momentum=0.9)),
        (lambda: LayerwiseRMSprop(0.1, momentum=0.9), lambda: keras.optimizers.RMSprop(0.1, momentum=0.9)),
        (lambda: LayerwiseAdamW(0.1, 0.01), lambda: keras.optimizers.AdamW(0.1, weight_decay=0.01)),
    ],
)
def test_a_factor_is_the_same_as_another_learning_rate(layerwise, plain):
    """Three steps of two variables, one with a factor, against plain optimizers of the two rates."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(3, 2)).astype(np.float32) for _ in range(2)]
    together = [keras.Variable(value, name=f"v{i}") for i, value in enumerate(values)]
    alone = [keras.Variable(value) for value in values]
    optimizer, others = layerwise(), [plain(), plain()]
    others[1].learning_rate = 0.025
    optimizer.set_rates({together[1].path: 0.25}, together)
    for _ in range(3):
        gradients = [tf.constant(rng.normal(size=(3, 2)), tf.float32) for _ in range(2)]
        optimizer.apply(gradients, together)
        for other, gradient, variable in zip(others, gradients, alone, strict=True):
            other.apply([gradient], [variable])
    for left, right in zip(together, alone, strict=True):
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), rtol=1e-5, atol=1e-6)


def test_an_interrupted_fine_tuning_ends_with_the_same_weights(tmp_path):
    class Stop(keras.callbacks.Callback):
        left = 6

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    options = CONFIG | {"rate_decay": 0.5, "freeze_bn": True, "optimizer": "adamw", "learning_rate": 1e-3, "ema": 0.9}
    with pytest.raises(KeyboardInterrupt):
        finetune(pretrained(), *data(), options, tmp_path, callbacks=[Stop()])
    resumed, resumed_figures = finetune(pretrained(), *data(), options, tmp_path)
    straight, figures = finetune(pretrained(), *data(), options)
    assert resumed_figures == figures
    saved = get_arrays(load_network(tmp_path / "retrain" / "model.keras"))
    for key, array in get_arrays(straight).items():
        np.testing.assert_array_equal(array, get_arrays(resumed)[key], err_msg=key)
        np.testing.assert_array_equal(array, saved[key], err_msg=key)


def test_a_folder_with_another_tuning_is_refused(tmp_path):
    options = CONFIG | {"epochs": 1}
    finetune(pretrained(), *data(), options, tmp_path)
    with pytest.raises(InputError, match=r"another run: settings\.tuning\.rate_decay: expected 0\.5, found 1\.0"):
        finetune(pretrained(), *data(), options | {"rate_decay": 0.5}, tmp_path)


@pytest.mark.slow
def test_two_replicas_move_at_the_rates_of_one(two_replicas):
    options = CONFIG | {"rate_decay": 0.5, "freeze_bn": True, "dropout": 0.0}
    together, _ = finetune(pretrained(), *data(), options, strategy=two_replicas)
    alone, _ = finetune(pretrained(), *data(), options)
    for key, array in get_arrays(alone).items():
        np.testing.assert_allclose(get_arrays(together)[key], array, rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize(
    ("key", "value"),
    [("rate_decay", 1.5), ("rate_decay", 0), ("freeze_bn", "yes"), ("train_from", ""), ("epochs", 0), ("network", 3)],
)
def test_bad_settings_are_named(key, value):
    with pytest.raises(InputError, match=rf"finetune\.{key}: expected"):
        FinetuneConfig(**{key: value})


def test_rates_of_a_frozen_part_are_left_out():
    network = pretrained()
    tuning = Tuning(train_from="classifier", rate_decay=0.5)
    tuning.freeze(network, network.spec)
    assert set(tuning.rates(network, network.spec).values()) == {1.0}
    assert len(network.trainable_variables) == 2
