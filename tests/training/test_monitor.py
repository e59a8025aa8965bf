"""The monitor's figures, its record over interruptions, and that training does not notice it."""

import numpy as np
import pytest
import tensorflow as tf
from test_train_supernet import CONFIG, SPACE, Interrupt, data, weights
from tiny import randomise_supernet, tiniest_space, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.data.inputs import as_split
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.scoring import evaluate
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training import monitor
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.monitor import Monitor, count_skips, histogram, skip_bias, stability, verdict
from scarlet_tf.training.sampling import panel_paths, uniform_paths, update_counts
from scarlet_tf.training.supernet import train_supernet

MONITORED = {**CONFIG, "monitor_paths": 3}


def train(supernet, config=MONITORED, **options):
    return train_supernet(supernet, data(), config, validation_data=data(20), **options)


SEQUENTIAL = {"execution": "sequential"}


@pytest.mark.parametrize(
    "options", [{}, pytest.param(SEQUENTIAL, marks=pytest.mark.slow), {**SEQUENTIAL, "sampling": "uniform"}]
)
def test_training_is_bit_identical_with_and_without_a_monitor(options):
    plain, watched = (Supernet(SPACE, num_classes=5) for _ in range(2))
    history = train(plain, {**CONFIG, **options})["history"]
    monitored = train(watched, {**MONITORED, **options})["history"]
    for one, other in zip(weights(plain), weights(watched), strict=True):
        np.testing.assert_array_equal(one, other)
    figures = ("epoch", "accuracy", "loss")
    for row, expected in zip(monitored, history, strict=True):
        assert {key: row[key] for key in figures} == {key: expected[key] for key in figures}


def test_the_record_holds_every_epoch_and_the_history_its_figures(tmp_path):
    figures = train(Supernet(SPACE, num_classes=5), run_dir=tmp_path)
    record = read_json(tmp_path / "supernet" / "monitor.json")
    assert np.shape(record["panel"]) == (3, SPACE.num_layers) and record["examples"] == 20
    assert [row["epoch"] for row in record["epochs"]] == [0, 1, 2]
    assert [row["steps"] for row in record["epochs"]] == [4, 8, 12]
    assert record["update_counts"] == [[12] * SPACE.num_choices] * SPACE.num_layers  # strictly fair
    for row, logged in zip(record["epochs"], figures["history"], strict=True):
        assert sum(row["histogram"]) == 3
        assert row["mean"] == pytest.approx(np.mean(row["accuracies"]))
        assert (logged["panel_accuracy"], logged["panel_deviation"]) == (row["mean"], row["deviation"])
        assert logged.get("stability") == row["stability"] and logged.get("skip_bias") == row["skip_bias"]
    assert figures["monitor"] == record["verdict"]
    assert train(Supernet(SPACE, num_classes=5), run_dir=tmp_path) == figures  # read back, not measured again


def test_an_interrupted_monitor_ends_with_the_same_record(tmp_path):
    """Interrupted in the second epoch; a row that an unsaved epoch left is replaced."""
    config = {**MONITORED, "sampling": "uniform", "execution": "sequential"}
    straight = train(Supernet(SPACE, num_classes=5), config, run_dir=tmp_path / "straight")
    stop = Interrupt(6, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(Supernet(SPACE, num_classes=5), config, run_dir=tmp_path / "resumed", callbacks=[stop])
    file = tmp_path / "resumed" / "supernet" / "monitor.json"
    torn = read_json(file)
    write_json(file, torn | {"epochs": [*torn["epochs"], torn["epochs"][0] | {"epoch": 1, "mean": 9.0}]})
    resumed = train(Supernet(SPACE, num_classes=5), config, run_dir=tmp_path / "resumed")
    assert resumed == straight
    assert read_json(file) == read_json(tmp_path / "straight" / "supernet" / "monitor.json")


@pytest.mark.parametrize("content", ["{", "[]", '{"panel": [[9]], "examples": 20, "epochs": []}'])
def test_a_record_that_cannot_be_used_begins_anew(tmp_path, content):
    file = tmp_path / "supernet" / "monitor.json"
    file.parent.mkdir()
    file.write_text(content)
    config = {**MONITORED, **SEQUENTIAL, "monitor_paths": 2}
    train(Supernet(tiniest_space(), num_classes=5), config, run_dir=tmp_path)
    assert len(read_json(file)["epochs"]) == 3


def test_a_run_goes_on_with_another_panel(tmp_path):
    """monitor_paths is not part of what a checkpoint must agree with."""
    with pytest.raises(KeyboardInterrupt):
        train(Supernet(SPACE, num_classes=5), run_dir=tmp_path, callbacks=[Interrupt(6, KeyboardInterrupt())])
    history = train(Supernet(SPACE, num_classes=5), {**CONFIG, "monitor_paths": 2}, run_dir=tmp_path)["history"]
    assert len(history) == 3
    record = read_json(tmp_path / "supernet" / "monitor.json")
    assert [row["epoch"] for row in record["epochs"]] == [1, 2] and len(record["panel"]) == 2


def noise(rng, count):
    """Images and labels that have nothing to do with each other: accuracies are as fine as the images are many."""
    images = 3 * rng.normal(size=(count, 1, 1, 3)) + rng.normal(size=(count, 8, 8, 3))
    return as_split((images, rng.integers(5, size=count)))


def test_paths_score_as_their_extracted_and_recalibrated_networks(rng, monkeypatch):
    supernet = Supernet(SPACE, num_classes=5)
    randomise_supernet(supernet, rng)
    before = weights(supernet)
    monkeypatch.setattr(monitor, "BATCH_SIZE", 10)
    monkeypatch.setattr(monitor, "RECALIBRATION_BATCHES", 3)
    train, validation = noise(rng, 40), noise(rng, 105)
    watched = Monitor(supernet, None, SupernetConfig(monitor_paths=4), train, validation)
    expected = []
    for path in watched.paths:
        network = extract(supernet, Architecture(tuple(path.tolist()), SPACE))
        batches = train.batches(10, training=True, seed=0, drop_remainder=False).take(3)
        recalibrate(lambda images, of=network: of(images, training=True), batches, moving_statistics(network))
        expected.append(evaluate(network, validation.batches(10))["accuracy"])
    assert [one["accuracy"] for one in watched.measure()] == expected and len(set(expected)) > 1
    for one, other in zip(before, weights(supernet), strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_measurement_is_of_the_weights_as_they_are(rng):
    supernet, images, config = Supernet(SPACE, num_classes=5), noise(rng, 60), SupernetConfig(monitor_paths=3)
    randomise_supernet(supernet, rng)
    watched = Monitor(supernet, None, config, images, images)
    before = watched.measure()
    randomise_supernet(supernet, rng)
    assert watched.measure() == Monitor(supernet, None, config, images, images).measure() != before


def test_a_large_validation_set_is_sampled_the_same_way_each_time(monkeypatch):
    monkeypatch.setattr(monitor, "EXAMPLES", 7)
    supernet = Supernet(SPACE, num_classes=5)
    for source in (data(20), tf.data.Dataset.from_tensor_slices(data(20)).batch(4)):
        watched, again = (
            Monitor(supernet, None, SupernetConfig(monitor_paths=2), as_split(data()), as_split(source)) for _ in "ab"
        )
        assert watched.num_examples == 7
        assert watched.measure() == watched.measure() == again.measure()
        assert all(float(7 * one["accuracy"]).is_integer() for one in watched.measure())


@pytest.mark.slow
def test_a_monitor_under_two_replicas(two_replicas, tmp_path):
    with two_replicas.scope():
        supernet = Supernet(SPACE, num_classes=5)
    history = train(supernet, strategy=two_replicas, run_dir=tmp_path)["history"]
    assert all(0 <= row["panel_accuracy"] <= 1 for row in history)


def test_a_monitor_without_images_is_refused():
    with pytest.raises(InputError, match=r"supernet\.monitor_paths: expected 0 without validation_data, got 3"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), MONITORED)


# -- figures, by hand ------------------------------------------------------------------------------------------


def test_panel_paths_are_distinct_within_a_small_space_and_a_function_of_the_seed():
    space = tiny_space()  # 4 ** 4 paths
    everything = panel_paths(space, 1000, seed=0)
    assert everything.shape == (256, 4) and len(np.unique(everything, axis=0)) == 256
    np.testing.assert_array_equal(panel_paths(space, 9, 3), panel_paths(space, 9, 3))
    assert not np.array_equal(panel_paths(space, 9, 3), panel_paths(space, 9, 4))
    large = tiny_space(stages=space.stages * 4)  # 4 ** 16
    drawn = panel_paths(large, 5, 0)
    assert drawn.shape == (5, 16) and drawn.min() >= 0 and drawn.max() <= 3


def test_skips_are_counted():
    assert count_skips(tiny_space(), np.array([[3, 3, 0, 1], [0, 1, 2, 0], [3, 3, 3, 3]])).tolist() == [2, 0, 4]


def test_histogram_has_ten_bins_and_keeps_the_ends():
    assert histogram([0.0, 0.05, 0.95, 1.0, 0.31]) == [2, 0, 0, 1, 0, 0, 0, 0, 0, 2]


def test_skip_bias_by_hand():
    assert skip_bias([0.2, 0.4, 0.6, 0.8], [3, 2, 1, 0]) == pytest.approx(0.3 - 0.7)
    assert skip_bias([0.2, 0.4], [1, 1]) is None


def test_stability_by_hand():
    """Of the six pairs of four paths one changes its order: tau = (5 - 1) / 6."""
    assert stability([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4]) == pytest.approx(4 / 6)
    assert stability([0.1, 0.2], [0.5, 0.5]) is None
    assert stability((), [0.5, 0.6]) is None


def test_update_counts_of_uniform_sampling_add_up_over_resumption():
    space = tiny_space()
    whole = update_counts("uniform", space, 7, 0, 20)
    np.testing.assert_array_equal(
        whole, update_counts("uniform", space, 7, 0, 9) + update_counts("uniform", space, 7, 9, 20)
    )
    assert whole.sum(axis=1).tolist() == [20] * 4
    first = [uniform_paths(space, 7, step)[0, 0] for step in range(20)]
    assert whole[0].tolist() == np.bincount(first, minlength=4).tolist()
    assert update_counts("strict_fair", space, 7, 5, 9).tolist() == [[4] * 4] * 4


GOOD = {"mean": 0.5, "deviation": 0.05, "skip_bias": -0.02, "stability": 0.8}


@pytest.mark.parametrize(
    ("change", "trusted", "text"),
    [
        ({}, True, "nothing speaks against the ranking"),
        ({"skip_bias": None}, True, "nothing speaks against"),
        ({"stability": None}, None, "two epochs have to be compared"),
        ({"stability": 0.3}, False, "Kendall's tau 0.30, 0.6 wanted"),
        ({"skip_bias": -0.08}, False, "their bias is 1.6 deviations"),
        ({"mean": 0.15}, False, "1.5 times chance"),
        # The sampling error of 1000 images at 50 % is sqrt(0.25 / 1000) = 0.0158.
        ({"deviation": 0.02}, False, "deviation 1.3 times the sampling error"),
    ],
)
def test_verdict_by_hand(change, trusted, text):
    found = verdict(GOOD | change, num_examples=1000, num_classes=10)
    assert found["trusted"] is trusted
    assert text in found["text"]


def test_verdict_without_an_epoch():
    assert verdict(None, 10, 10)["trusted"] is None
