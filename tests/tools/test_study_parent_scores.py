"""The study of scores: each score against another way to compute it, on a toy parent; what is kept is not computed again."""

import dataclasses
import types

import numpy as np
import pytest
from toy_parent import CLASSES, SIZE, toy_images, toy_parent

import scarlet_tf as st
import study_parent_scores as study
from scarlet_tf.data.inputs import as_split
from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.parents.warm_start import warm_start

OWN, SHORT = (0, 0, 1, 1, 0), (0, 4, 1, 2, 0)


@pytest.fixture(scope="module")
def parent():
    return toy_parent()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    train, validation, test = (
        as_split((toy_images(rng, n), rng.integers(CLASSES, size=n).astype(np.int32))) for n in (40, 24, 24)
    )
    return types.SimpleNamespace(train=train, validation=validation, test=test, num_classes=CLASSES)


@pytest.fixture(scope="module")
def batches(data):
    return list(data.train.batches(20, training=True, drop_remainder=False))


@pytest.fixture(scope="module")
def started(parent, batches):
    supernet = Supernet(space_around(parent), (SIZE, SIZE, 3), CLASSES, skip="shortcut")
    warm_start(supernet, parent, batches)
    assert parent_path(parent, supernet.space).choices == OWN
    return supernet, supernet.get_weights()


@pytest.fixture
def supernet(started):
    """With the weights of the warm start."""
    supernet, weights = started
    supernet.set_weights(weights)
    return supernet


def test_errors_of_features_by_hand(supernet, batches):
    found = study.feature_errors(supernet, OWN, batches)
    x = supernet.stem(np.concatenate([images for images, _ in batches]))
    for layer, (block, mine) in enumerate(zip(supernet.choice_blocks, OWN, strict=True)):
        y = np.asarray(block.run(mine, x))
        for choice in range(5):
            error = np.sum((np.asarray(block.run(choice, x)) - y) ** 2)
            # The variance is taken batch by batch, of which the means differ a little.
            assert found[layer, choice] == pytest.approx(error / np.sum((y - y.mean((0, 1, 2))) ** 2), rel=0.05)
        x = y
    assert not found[range(5), OWN].any()
    assert study.summed(found, [OWN, SHORT]) == pytest.approx([0, -found[1, 4] - found[3, 2]])


@pytest.mark.slow
def test_blocks_that_are_trained_alone_come_nearer_to_the_parent(supernet, batches):
    before, kept = study.feature_errors(supernet, OWN, batches), supernet(batches[0][0], OWN)
    study.distil(supernet, OWN, 4 * batches, 3e-5)
    after = study.feature_errors(supernet, OWN, batches)
    np.testing.assert_array_equal(supernet(batches[0][0], OWN), kept)
    assert after[3, 2] < before[3, 2] and after.sum() < before.sum()
    assert after[1, 4] == before[1, 4] > 0  # an identity has nothing to train


def test_scores_of_paths_and_of_single_layers_are_those_of_networks(supernet, data):
    x, labels = next(iter(data.validation.batches(24)))

    def figures(path):
        logits = np.asarray(path_network(supernet, st.Architecture(path, supernet.space), None)(x), float)
        right = logits[np.arange(24), labels]
        return np.mean(logits.argmax(1) == labels), np.mean(np.log(np.exp(logits).sum(1)) - right)

    whole = study.whole_paths(supernet, [SHORT], data)
    assert (whole["accuracy"][0], -whole["loss"][0]) == pytest.approx(figures(SHORT), rel=1e-4)
    tables = study.one_by_one(supernet, OWN, data)
    changed, own = figures((0, 4, 1, 1, 0)), figures(OWN)
    assert (-tables["accuracy"][1, 4], tables["loss"][1, 4]) == pytest.approx(
        (changed[0] - own[0], changed[1] - own[1]), abs=1e-5
    )


def test_partial_tau_by_hand():
    """Of six pairs five are ordered alike by score and truth, five by score and cost, four by truth and cost."""
    found = study.partial_tau([1, 2, 3, 4], [1, 2, 4, 3], [2, 1, 3, 4])
    assert found == pytest.approx((4 / 6 - 4 / 6 * 2 / 6) / ((1 - 16 / 36) * (1 - 4 / 36)) ** 0.5)
    assert study.partial_tau([1, 2, 3], [1, 3, 2], [1, 2, 3]) is None


def test_networks_of_similar_cost_and_the_rival():
    """Two of the five cost half of the parent; the score orders all as the truth does, the rival none."""
    truth = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = study.figures_of([2, 1, 3, 4, 5], truth, [0.55, 0.6, 0.7, 0.8, 1.0], [5, 4, 3, 2, 1], resamples=50)
    assert found["tau_similar_cost"]["tau"] == -1 and found["tau"]["tau"] == pytest.approx(0.8)
    assert found["tau_beyond_accuracy"][0] > 0 and found["tau_beyond_accuracy"][1] <= 2
    assert study.figures_of(truth, truth, [1] * 5, truth, 5)["tau_similar_cost"] is None


OPTIONS = {"draw": 0, "epochs": 1, "images": 40, "held_out": 24, "pixels": SIZE, "passes": 1, "rate": 1e-3}


def options(**changes):
    return types.SimpleNamespace(**OPTIONS | {"networks": 8, "seeds": [0, 1], "resamples": 20} | changes)


@pytest.mark.slow
def test_what_is_kept_is_not_computed_again(parent, data, tmp_path, monkeypatch):
    calls = []

    def trained(supernet, path, data, settings):
        calls.append((path, settings.seed))
        cost = study.sizes(supernet, [path])["multiply_adds"][0]
        return {"top1": cost / 1e8 + settings.seed / 100, "multiply_adds": cost}

    monkeypatch.setattr(study, "trained", trained)
    monkeypatch.setattr(study, "distil", lambda *args: None)
    file, settings = tmp_path / "results.jsonl", st.RetrainConfig()
    first = study.study(parent, data, settings, options(), file)
    trainings = 2 * len({network["network"] for network in first["networks"]})  # some are drawn twice
    assert len(calls) == trainings >= 8
    top1 = [network["top1"] - network["multiply_adds"] / 1e8 for network in first["networks"]]
    assert top1 == pytest.approx([0.005] * len(top1))
    assert first["scores"]["multiply_adds"]["tau"]["tau"] == pytest.approx(1)
    assert {"accuracy", "probe_loss", "loss + multiply_adds", "one_by_one_loss", "distilled_features"} <= first[
        "scores"
    ].keys()
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:3] + lines[4:]) + "\n")
    again = study.study(parent, data, settings, options(), file)
    assert again["scores"] == first["scores"] and len(calls) == trainings + 1
    assert len(file.read_text().splitlines()) == len(lines)


@pytest.mark.slow
def test_the_truth_is_of_a_network_that_is_trained(supernet, data):
    settings = st.RetrainConfig(epochs=1, batch_size=20, warmup_epochs=0.0, freeze_bn=True, recalibration_batches=0)
    found = study.trained(supernet, SHORT, data, dataclasses.replace(settings, optimizer="adamw", learning_rate=1e-3))
    network = st.Architecture(SHORT, supernet.space)
    assert found["multiply_adds"] <= st.count(network, SIZE, CLASSES).multiply_adds
    assert 0 <= found["top1"] <= 1 and found["loss"] > 0
