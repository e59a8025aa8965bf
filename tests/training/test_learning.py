"""A training that does not learn says so: what its loss is compared with, what is advised, where it is said."""

import json
import logging
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_train_supernet import CONFIG as SUPERNET
from test_train_supernet import SPACE
from tiny import images_and_labels

from scarlet_tf.base.errors import InputError, NotFiniteError
from scarlet_tf.base.files import read_json
from scarlet_tf.data.inputs import ArraySplit, as_split
from scarlet_tf.evaluation.scoring import beside_chance
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig
from scarlet_tf.training.forecast import closing_figures
from scarlet_tf.training.learning import FILE, Learning, Reference
from scarlet_tf.training.network import finetune, retrain
from scarlet_tf.training.optimizers import Loss
from scarlet_tf.training.supernet import train_supernet

RETRAIN = {"epochs": 3, "batch_size": 10, "optimizer": "sgd", "learning_rate": 0.05, "warmup_epochs": 0, "ema": 0}
LN10 = math.log(10)


def split(*labels):
    return ArraySplit(np.zeros((len(labels), 2, 2, 3)), labels)


def blank(count=40, classes=5):
    """Images that say nothing of their classes, which are equally frequent."""
    return np.zeros((count, 8, 8, 3), np.float32), np.arange(count) % classes


def learning(folder=None, paths=3, **settings):
    return Learning("supernet", SupernetConfig(**settings), Reference(LN10), paths, folder)


def test_the_loss_of_constant_frequencies_by_hand():
    uneven = Reference.of(split(0, 0, 0, 1), 2)
    assert uneven.constant == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)) and uneven.perfect == 0
    # Smoothing by 0.2 leaves 0.8 of each share and spreads 0.2: 0.75 becomes 0.7, and a label's 1 becomes 0.9.
    smoothed = Reference.of(split(0, 0, 0, 1), 2, label_smoothing=0.2)
    assert smoothed.constant == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.3))
    assert smoothed.perfect == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert smoothed.threshold == pytest.approx(smoothed.constant - 0.001 * (smoothed.constant - smoothed.perfect))


def test_labels_that_are_shares_count_by_their_mean():
    shares = ArraySplit(np.zeros((2, 2, 2, 3)), np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]], np.float32))
    found = Reference.of(shares, 3)
    assert found.constant == pytest.approx(-2 * 0.25 * math.log(0.25) - 0.5 * math.log(0.5))
    assert found.perfect == pytest.approx(math.log(2))


def test_a_dataset_does_not_tell_its_frequencies_so_they_count_as_equal():
    data = tf.data.Dataset.from_tensors((tf.zeros([4, 2, 2, 3]), tf.constant([0, 0, 0, 1])))
    assert Reference.of(as_split(data, 2), 2).constant == pytest.approx(math.log(2))


def test_no_constant_prediction_has_a_smaller_training_loss(rng):
    """By the loss that trainings use."""
    labels, smoothing = rng.choice(4, size=50, p=[0.6, 0.2, 0.15, 0.05]), 0.1
    reference, loss = Reference.of(split(*labels), 4, smoothing), Loss(4, 50, smoothing)
    smoothed = 0.9 * np.bincount(labels, minlength=4) / 50 + 0.025

    def constant(logits):
        return float(loss(labels, tf.constant(np.tile(logits, (50, 1)), tf.float32))[0])

    assert constant(np.log(smoothed)) == pytest.approx(reference.constant, rel=1e-5)  # float32
    assert min(constant(np.log(smoothed) + rng.normal(0, 0.3, 4)) for _ in range(20)) > reference.constant


def test_a_warning_comes_with_the_first_whole_epoch_after_the_warm_up_and_only_once(caplog, tmp_path):
    watched = learning(tmp_path, learning_rate=0.1, batch_size=128, warmup_epochs=1.5)
    assert watched.judge(0, 99, {"loss": 2.5}) == watched.judge(1, 99, {"loss": 2.5}) == {} and not caplog.text
    row = watched.judge(2, 99, {"loss": 2.3026})
    watched.judge(3, 99, {"loss": 2.301})  # below ln 10 = 2.3026, by less than a thousandth
    assert len(caplog.records) == 1 and caplog.records[0].levelno == logging.WARNING
    text = caplog.messages[0]
    assert "supernet: nothing is learned: the mean loss of epoch 3 is 2.3026, not below the 2.3026" in text
    assert "try supernet.learning_rate: 0.033 (it is 0.1, and a step sums the gradients of 3 paths)" in text
    assert "supernet.clip_norm: 1.0" in text
    found = row["not_learning"]
    assert found["try"] == {"supernet.learning_rate": 0.033, "supernet.clip_norm": 1.0} and found["text"] == text
    assert json.loads((tmp_path / FILE).read_text())["loss"] == 2.301


def test_a_warning_is_taken_back_when_learning_begins(caplog, tmp_path):
    watched = learning(tmp_path)
    watched.judge(0, 99, {"loss": 2.4})
    with caplog.at_level(logging.INFO, "scarlet_tf"):
        assert watched.judge(1, 99, {"loss": 2.0}) == {}
    assert "learns from epoch 2 on" in caplog.text and not (tmp_path / FILE).exists()
    watched.judge(2, 99, {"loss": 2.4})
    assert (tmp_path / FILE).exists() and caplog.text.count("nothing is learned") == 2


def test_a_network_that_could_not_have_learned_yet_is_not_judged():
    assert [bool(learning().judge(0, steps, {"loss": 2.4})) for steps in (1, 9, 10)] == [False, False, True]


def test_a_loss_with_a_teachers_part_is_not_what_is_compared():
    assert learning().judge(0, 99, {"loss": 9.0, "cross_entropy": 2.0}) == {}
    assert learning().judge(0, 99, {"loss": 1.0, "cross_entropy": 2.4})
    assert learning().judge(0, 99, {"held_out_loss": 3.0}) == {}  # an epoch of BetaNAS that moved no weight


@pytest.mark.parametrize(
    ("section", "config", "paths", "expected"),
    [
        ("supernet", SupernetConfig(learning_rate=0.045), 13, {"learning_rate": 0.0035, "clip_norm": 1.0}),
        (
            "supernet",
            SupernetConfig(learning_rate=0.045, sampling="uniform"),
            1,
            {"learning_rate": 0.015, "clip_norm": 1.0},
        ),
        # At most what is usual for one path, shared by three.
        ("supernet", SupernetConfig(learning_rate=10.0), 3, {"learning_rate": 0.033, "clip_norm": 1.0}),
        ("supernet", SupernetConfig(clip_norm=1.0), 3, {"learning_rate": 0.015, "warmup_epochs": 1.0}),
        # A rate as small as this is not lowered further.
        ("supernet", SupernetConfig(learning_rate=1e-7), 3, {"learning_rate": 0.033}),
        ("retrain", RetrainConfig(), 1, {"learning_rate": 0.085, "clip_norm": 1.0}),
        ("retrain", RetrainConfig(clip_norm=2.0), 1, {"learning_rate": 0.085, "warmup_epochs": 10.0}),
        (
            "finetune",
            FinetuneConfig(optimizer="adamw", learning_rate=0.1),
            1,
            {"learning_rate": 0.001, "clip_norm": 1.0},
        ),
    ],
)
def test_values_to_try(section, config, paths, expected):
    found = Learning(section, config, Reference(LN10), paths).judge(9, 99, {"loss": 3.0})["not_learning"]["try"]
    assert found == {f"{section}.{key}": value for key, value in expected.items()}
    type(config)(**{key.partition(".")[2]: value for key, value in found.items()})  # valid values


def test_half_precision_may_be_at_fault():
    assert (
        learning(precision="mixed_float16").judge(0, 99, {"loss": 3})["not_learning"]["try"]["supernet.precision"]
        == "float32"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_with_advice(tmp_path, value):
    watched = learning(tmp_path, learning_rate=0.1, batch_size=128)
    watched.check_finite(0, {"loss": 3.0, "accuracy": math.nan, "held_out_loss": 2.0})
    for step, name in ((0, "loss"), (7, "held_out_loss")):
        with pytest.raises(NotFiniteError) as caught:
            watched.check_finite(step, {name: value})
        text = str(caught.value)
        assert f"the {name.replace('_', ' ')} became {value} at step {step + 1};" in text
        assert "try supernet.learning_rate: 0.033" in text and "last checkpoint is kept" in text
        assert ("no weight has moved yet" in text) == (step == 0)
    assert read_json(tmp_path / FILE) == {
        "text": text,
        "step": 8,
        "try": {"supernet.learning_rate": 0.033, "supernet.clip_norm": 1.0},
    }


@pytest.mark.parametrize("sampling", ["strict_fair", "uniform"])
def test_a_supernet_that_sees_nothing_says_so(tmp_path, caplog, sampling):
    config = {**SUPERNET, "sampling": sampling, "execution": "sequential", "warmup_epochs": 0}
    figures = train_supernet(Supernet(SPACE, num_classes=5), blank(), config, run_dir=tmp_path)
    assert figures["not_learning"]["constant"] == pytest.approx(math.log(5))
    assert figures["not_learning"] == figures["history"][-1]["not_learning"]
    assert figures == json.loads(json.dumps(figures))
    assert (SPACE.num_choices if sampling == "strict_fair" else None) == paths_named_in(caplog.text)
    assert (tmp_path / "supernet" / FILE).exists()


def paths_named_in(text):
    assert text.count("supernet: nothing is learned") == 1
    return int(text.partition("sums the gradients of ")[2].partition(" ")[0]) if "sums the gradients" in text else None


def test_a_network_that_sees_nothing_says_so_after_a_resumption_too(tmp_path, caplog):
    """The second process finds a finished training, whose figures say it as the first one's did."""
    architecture = Architecture([0] * SPACE.num_layers, SPACE)
    found = [retrain(architecture, blank(), blank(), RETRAIN, run_dir=tmp_path)[1] for _ in range(2)]
    assert "try retrain.learning_rate: 0.017" in caplog.text
    assert found[0]["not_learning"] == found[1]["not_learning"] and (tmp_path / "retrain" / FILE).exists()


def test_a_fine_tuning_names_its_own_keys(caplog):
    network, _ = retrain(
        Architecture([0] * SPACE.num_layers, SPACE), learnable(), learnable(), {**RETRAIN, "epochs": 1}
    )
    caplog.clear()
    with pytest.raises(
        NotFiniteError, match=r"finetune: the loss became \S+ at step \d+; try finetune.learning_rate: 0.1"
    ):
        finetune(network, learnable(), learnable(), {"batch_size": 10, "learning_rate": 1e30, "warmup_epochs": 0})


def learnable():
    return images_and_labels(np.random.default_rng(3), 40)


def test_what_learns_is_not_warned_of(tmp_path, caplog):
    figures = train_supernet(
        Supernet(SPACE, num_classes=5), learnable(), {**SUPERNET, "epochs": 6, "warmup_epochs": 3}, run_dir=tmp_path
    )
    assert "not_learning" not in figures and "nothing is learned" not in caplog.text
    assert not (tmp_path / "supernet" / FILE).exists()


def test_a_rate_that_breaks_the_weights_ends_the_training_and_keeps_the_checkpoint(tmp_path):
    config = {**SUPERNET, "learning_rate": 1e30, "checkpoint_seconds": 0}
    with pytest.raises(
        InputError, match=r"supernet: the loss became \S+ at step \d+; try supernet.learning_rate: 0.05 "
    ):
        train_supernet(Supernet(SPACE, num_classes=5), learnable(), config, run_dir=tmp_path)
    assert list((tmp_path / "supernet").glob("checkpoint-*.npz"))


def test_images_that_are_no_numbers_show_at_step_1():
    images, labels = learnable()
    with pytest.raises(
        InputError, match="became nan at step 1; no weight has moved yet: see whether all values of the images"
    ):
        train_supernet(Supernet(SPACE, num_classes=5), (images * np.nan, labels), SUPERNET)


def test_a_teachers_part_is_told_apart_in_the_figures(tmp_path):
    teacher = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)])
    teacher.save(tmp_path / "teacher.keras")
    config = {**RETRAIN, "teacher": str(tmp_path / "teacher.keras"), "teacher_weight": 1.0}
    _, figures = retrain(Architecture([0] * SPACE.num_layers, SPACE), blank(), blank(), config)
    row = figures["history"][-1]
    assert row["cross_entropy"] != row["loss"]
    assert row["not_learning"]["loss"] == row["cross_entropy"]


def test_only_the_last_epoch_decides_for_the_whole_training():
    rows = [{"epoch": 0, "not_learning": {"text": "so"}}, {"epoch": 1}]
    assert closing_figures(rows, 5) == {"steps": 10}
    assert closing_figures(rows[:1], 5) == {"steps": 5, "not_learning": {"text": "so"}}


def test_chance_is_the_most_frequent_class_and_two_standard_errors():
    """Half of 100 labels are 0: sqrt(0.5 * 0.5 / 100) = 0.05, so that more than 0.6 is above chance."""
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    for accuracy, above in ((0.5, False), (0.59, False), (0.61, True)):
        figures = {"accuracy": accuracy, "loss": 1.0, "num_examples": 100}
        assert beside_chance(figures, labels) == {**figures, "most_frequent": 0.5, "above_chance": above}
