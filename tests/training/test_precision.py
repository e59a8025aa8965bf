"""Training of a network in mixed precision, against float32 from the same weights."""

import functools

import numpy as np
import pytest
from tiny import images_and_labels, randomised, skip_unless_computed, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import build_network, get_arrays, load_network, set_arrays
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training import devices, optimizers
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain
from scarlet_tf.training.network_step import network_optimizer, network_step

pytestmark = pytest.mark.both_modes

SPEC = Architecture((1,), tiny_space(stages=(Stage(8, 1, 2),))).lower((8, 8, 3), 5, dropout=0.0)
NEUTRAL = dict.fromkeys(("warmup_epochs", "weight_decay", "dropout", "ema", "recalibration_batches"), 0)
CONFIG = {"epochs": 1, "batch_size": 10, "optimizer": "sgd", "schedule": "constant", "learning_rate": 0.05, **NEUTRAL}
# Of a dozen layers, each of which rounds to 8 or 11 bits.
TOLERANCES = {"mixed_bfloat16": 0.25, "mixed_float16": 0.1}


@functools.cache
def start():
    return randomised(get_arrays(build_network(SPEC, seed=0)), np.random.default_rng(1))


def moved(network):
    """How far a training from `start` moved each array that is worth comparing."""
    return {name: array - start()[name] for name, array in get_arrays(network).items()}


def assert_close(found, expected, tolerance):
    for name, change in expected.items():
        size = np.linalg.norm(change)
        if size > 1e-3:  # a projection's offset has no gradient but rounding where BN follows
            assert np.linalg.norm(found[name] - change) <= tolerance * size, name


def data():
    return [images_and_labels(np.random.default_rng(0), 10)] * 2


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """retrained(precision) -> (network, figures, folder) of a training of one step."""

    @functools.cache
    def train(precision):
        folder = tmp_path_factory.mktemp(precision)
        return *retrain(SPEC, *data(), {**CONFIG, "precision": precision}, folder, initial=start()), folder

    return train


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_step_of_retraining_is_the_full_one_within_its_rounding(retrained, precision):
    skip_unless_computed(precision)
    (full, figures, _), (mixed, rounded, _) = retrained("float32"), retrained(precision)
    assert_close(moved(mixed), moved(full), TOLERANCES[precision])
    loss, exact = (row["history"][0]["loss"] for row in (rounded, figures))
    assert loss == pytest.approx(exact, rel=0.05) and loss != exact
    assert {layer.compute_dtype for layer in mixed.layers} == {"float32"}  # what is measured, saved and exported


def tiny_gradients(precision):
    """What a step moves whose loss is divided by 2^18 images, at a rate that makes up for it."""
    config = RetrainConfig(
        **{**CONFIG, "batch_size": 2**18, "learning_rate": 0.05 * 2**18 / 10, "precision": precision}
    )
    network = build_network(SPEC, dropout=0.0, dtype=precision)
    set_arrays(network, start())
    images, labels = images_and_labels(np.random.default_rng(0), 10)
    network_step(network, network_optimizer(config, 1, network), config, 1, None)(images, labels, None)
    return moved(network)


def test_gradients_below_float16_survive_by_the_losses_scale(monkeypatch):
    skip_unless_computed("mixed_float16")
    exact = tiny_gradients("float32")
    assert_close(tiny_gradients("mixed_float16"), exact, 0.1)
    monkeypatch.setattr(optimizers, "LOSS_SCALE", 1.0)
    with pytest.raises(AssertionError):
        assert_close(tiny_gradients("mixed_float16"), exact, 0.5)


def test_a_training_in_mixed_precision_goes_on_and_no_other_does(retrained):
    skip_unless_computed("mixed_bfloat16")
    network, _, folder = retrained("mixed_bfloat16")
    again, figures = retrain(SPEC, *data(), {**CONFIG, "precision": "mixed_bfloat16"}, folder, initial=start())
    assert figures["steps"] == 1
    for other in (again, load_network(folder / "retrain" / "model.keras")):
        for name, array in get_arrays(other).items():
            np.testing.assert_array_equal(array, get_arrays(network)[name], err_msg=name)
    with pytest.raises(InputError, match="precision"):
        retrain(SPEC, *data(), CONFIG, folder, initial=start())


@pytest.mark.parametrize("section", ["retrain", "finetune"])
def test_a_precision_that_is_not_computed_here_is_refused_by_its_key(monkeypatch, section):
    monkeypatch.setattr(devices, "refusal", lambda dtype, jit_compile=False: f"no {dtype}")
    with pytest.raises(
        InputError, match=rf"^{section}\.precision: expected float32 on this machine, got mixed_float16"
    ):
        devices.check_support("mixed_float16", section=section)
    if section == "retrain":
        with pytest.raises(InputError, match=r"^retrain\.precision"):
            retrain(
                SPEC, *[images_and_labels(np.random.default_rng(0), 10)] * 2, {**CONFIG, "precision": "mixed_float16"}
            )
