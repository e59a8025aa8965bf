import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import Policy
from scarlet_tf.data.images import in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.export.folding import fold
from scarlet_tf.models.network import build_network, get_arrays, load_network
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain, save_model

pytestmark = pytest.mark.both_modes

SPACE = tiny_space()
ARCHITECTURE = Architecture((0, 3, 1, 3), SPACE)
ONE_BLOCK = Architecture((0,), tiny_space(stages=(Stage(8, 1, 2),)))
CONFIG = {
    "epochs": 4,
    "batch_size": 10,
    "learning_rate": 0.02,
    "warmup_epochs": 0.5,
    "ema": 0.9,
    "recalibration_batches": 4,
    "weight_decay": 1e-4,
}
SHAPE = {"input_shape": (8, 8, 3), "num_classes": 5}


def data(count=60):
    images, labels = images_and_labels(np.random.default_rng(0), count)
    return (images[:40], labels[:40]), (images[40:], labels[40:])


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "sgd", "schedule": "cosine", "ema": 0.0}, {"optimizer": "adamw"}]
)
def test_retraining_learns(options):
    model, figures = retrain(ARCHITECTURE, *data(), {**CONFIG, "epochs": 12, **options}, **SHAPE)
    assert figures["validation"]["accuracy"] >= 0.8
    assert model.spec == ARCHITECTURE.lower((8, 8, 3), 5, dropout=0.2)
    assert [e["epoch"] for e in figures["history"]] == list(range(12))
    assert "val_accuracy" in figures["history"][0]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(network, figures, folder) of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    return *retrain(ARCHITECTURE, *data(), CONFIG, folder, **SHAPE), folder


def assert_same_arrays(one, other):
    for key, array in get_arrays(one).items():
        np.testing.assert_array_equal(array, get_arrays(other)[key], err_msg=key)


class Stop(keras.callbacks.Callback):
    """Raises KeyboardInterrupt behind so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_with_the_same_weights(straight, tmp_path):
    """Dropout's random state, the averaged weights and the optimizer's slots are all in the checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        retrain(ARCHITECTURE, *data(), CONFIG, tmp_path, callbacks=[Stop(6)], **SHAPE)
    resumed, figures = retrain(ARCHITECTURE, *data(), CONFIG, tmp_path, **SHAPE)
    assert figures == straight[1]
    assert_same_arrays(resumed, straight[0])


@pytest.mark.slow
def test_retraining_on_mixed_images_learns_and_resumes(tmp_path):
    """Mixed labels are shares; validation keeps class numbers."""
    images, labels = images_and_labels(np.random.default_rng(0), 60)
    pixels = np.clip(images * 40 + 128, 0, 255).astype(np.uint8)
    split = IndexedSplit(in_memory(pixels), np.arange(60), labels, Preprocessing(8))
    train = split.subset(np.arange(40)).with_policy(Policy(5, random_erasing=0.1, mixup=0.2, cutmix=0.5))
    arguments = (train, split.subset(np.arange(40, 60)))
    config = {**CONFIG, "epochs": 8}
    with pytest.raises(KeyboardInterrupt):
        retrain(ARCHITECTURE, *arguments, config, tmp_path, callbacks=[Stop(6)], **SHAPE)
    resumed, _ = retrain(ARCHITECTURE, *arguments, config, tmp_path, **SHAPE)
    straight, figures = retrain(ARCHITECTURE, *arguments, config, **SHAPE)
    assert figures["validation"]["accuracy"] >= 0.7
    assert_same_arrays(straight, resumed)


def test_adamw_decays_kernels_by_their_share_and_nothing_else():
    """One step with and without decay differs by learning_rate * weight_decay * (the weights before), on kernels alone."""
    rate, decay = 1e-3, 0.5

    def after_one_step(weight_decay):
        config = {"epochs": 1, "batch_size": 40, "optimizer": "adamw", "schedule": "constant", "learning_rate": rate}
        config |= {"warmup_epochs": 0.0, "ema": 0.0, "recalibration_batches": 0, "dropout": 0.0}
        return get_arrays(retrain(ONE_BLOCK, *data(), {**config, "weight_decay": weight_decay}, **SHAPE)[0])

    before = get_arrays(build_network(ONE_BLOCK.lower((8, 8, 3), 5), dropout=0.0, seed=0))
    without, decayed = after_one_step(0.0), after_one_step(decay)
    for key, array in decayed.items():
        expected = rate * decay * before[key] if before[key].ndim > 1 else np.zeros_like(array)
        # The step's rounding, a few units in the last place of weights below 1.
        np.testing.assert_allclose(without[key] - array, expected, atol=1e-6, err_msg=key)


def test_model_file_answers_what_the_model_answers(straight):
    loaded = keras.models.load_model(straight[2] / "retrain" / "model.keras")
    x = data()[1][0]
    np.testing.assert_array_equal(loaded(x), straight[0](x))


def test_starting_from_a_folded_path():
    supernet = Supernet(SPACE, num_classes=5)
    folded, _ = fold(extract(supernet, ARCHITECTURE))
    config = {**CONFIG, "epochs": 1, "learning_rate": 1e-9, "ema": 0.0, "recalibration_batches": 0, "weight_decay": 0.0}
    model, _ = retrain(folded.spec, *data(), config, initial=get_arrays(folded))
    kernels = {k: v for k, v in get_arrays(folded).items() if k.endswith("kernel")}
    for key, kernel in kernels.items():
        np.testing.assert_allclose(get_arrays(model)[key], kernel, rtol=1e-5, atol=1e-6, err_msg=key)


def test_another_network_in_the_folder_is_refused(straight):
    with pytest.raises(InputError, match="another"):
        retrain(Architecture((0, 0, 1, 3), SPACE), *data(), CONFIG, straight[2], **SHAPE)


def test_shape_and_classes_come_from_the_images():
    config = {**CONFIG, "epochs": 1, "ema": 0.0, "recalibration_batches": 0}
    assert retrain(ONE_BLOCK, *data(), config)[0].spec == ONE_BLOCK.lower((8, 8, 3), 5, dropout=0.2)
    dataset = tf.data.Dataset.from_tensor_slices(data()[0]).batch(10)
    with pytest.raises(InputError, match="num_classes: needed"):
        retrain(ONE_BLOCK, dataset, dataset, config)
    assert retrain(ONE_BLOCK, dataset, dataset, config, num_classes=7)[0].output_shape == (None, 7)


@pytest.mark.parametrize("options", [{"classifier_activation": "softmax"}, {"num_classes": None}])
def test_a_network_that_does_not_answer_logits_is_refused(options):
    with pytest.raises(InputError, match="returns logits"):
        retrain(ARCHITECTURE.lower((8, 8, 3), 5).replace(**options), *data(), CONFIG)


def test_a_scaled_network_is_trained_and_its_folder_serves_no_other(tmp_path):
    config = {**CONFIG, "epochs": 1, "recalibration_batches": 0}
    scaled = {**config, "se_ratio": 0.125, "width_multiplier": 1.4, "depth_multiplier": 1.5}
    model, _ = retrain(ARCHITECTURE, *data(), scaled, tmp_path)
    expected = Scaling(1.4, 0.125, 1.5).apply(ARCHITECTURE, (8, 8, 3), 5)
    assert model.spec == expected.replace(dropout=0.2)
    with pytest.raises(InputError, match="it belongs to another run"):
        retrain(ARCHITECTURE, *data(), {**scaled, "se_ratio": 0.25}, tmp_path)
    with pytest.raises(InputError, match="it belongs to another run"):
        retrain(ARCHITECTURE, *data(), {**scaled, "width_multiplier": 1.0}, tmp_path)
    with pytest.raises(InputError, match="width_multiplier: expected 1 for a NetworkSpec"):
        retrain(expected, *data(), scaled)


@pytest.mark.parametrize("key", dataclasses.asdict(Scaling()))
@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf"), "1", True])
def test_bad_scaling_is_named(key, value):
    with pytest.raises(InputError, match=rf"retrain\.{key}: expected a number .*, got"):
        RetrainConfig(**{key: value})


@pytest.mark.parametrize(("key", "neutral"), dataclasses.asdict(Scaling()).items())
def test_the_supernets_weights_fit_no_scaled_network(key, neutral):
    value = neutral + 0.5
    with pytest.raises(
        InputError, match=rf"retrain\.{key}: expected {neutral:g} with retrain\.init: supernet, .*{value}"
    ):
        RetrainConfig(init="supernet", **{key: value})
    assert RetrainConfig(init="supernet", **{key: neutral}).scaling.is_none


def test_a_model_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "model.keras").mkdir()
    (tmp_path / "file").touch()
    model = build_network(ARCHITECTURE, num_classes=5)
    for path in (tmp_path / "model.keras", tmp_path / "file" / "model.keras"):
        with pytest.raises(InputError, match=r"model.keras: could not be written"):
            save_model(model, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model.keras"]


def test_a_clock_before_1980_costs_no_training(tmp_path, monkeypatch):
    """Checkpoints and `.keras` files are ZIP archives, whose dates begin in 1980; Keras' own writer fails."""
    monkeypatch.setattr(time, "localtime", lambda *seconds: time.struct_time((1970, 1, 2, 0, 0, 0, 4, 2, 0)))
    config = {**CONFIG, "checkpoint_seconds": 0}
    model, _ = retrain(ARCHITECTURE, *data(), config, run_dir=tmp_path, **SHAPE)
    with pytest.raises(ValueError, match="before 1980"):
        model.save(tmp_path / "keras' own.keras")
    images = data()[0][0]
    np.testing.assert_array_equal(load_network(tmp_path / "retrain" / "model.keras")(images), model(images))
    assert list((tmp_path / "retrain").glob("checkpoint-*.npz"))
    assert not [path.name for path in (tmp_path / "retrain").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "retrain.epochs"),
        ({"dropout": 1.0}, "retrain.dropout"),
        ({"pick": -1}, "retrain.pick"),
        ({"optimizer": "adam"}, "retrain.optimizer: expected one of"),
        ({"recalibration_batches": 1.5}, "retrain.recalibration_batches: expected an integer"),
        ({"decay_epochs": 0}, "retrain.decay_epochs"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        retrain(ARCHITECTURE, *data(), {**CONFIG, **change}, **SHAPE)
