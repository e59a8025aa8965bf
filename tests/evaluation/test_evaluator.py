import itertools
import logging
import math

import keras
import numpy as np
import pytest
from tiny import images_and_labels, randomise_supernet, tiny_space

from scarlet_tf.base import progress
from scarlet_tf.base.errors import InputError
from scarlet_tf.data.inputs import ArraySplit
from scarlet_tf.evaluation import evaluator as evaluators
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.evaluation.population import Populations
from scarlet_tf.evaluation.scoring import evaluate
from scarlet_tf.models.least_squares import fitted_classifier
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.search.journal import read_lines
from scarlet_tf.search.oracle import WeightedNSGA2Oracle
from scarlet_tf.search.run import search
from scarlet_tf.search.tuner import SupernetTuner
from scarlet_tf.space.cost import count
from scarlet_tf.space.search_space import Architecture

pytestmark = pytest.mark.both_modes

ARCHITECTURE = Architecture((1, 0, 3, 2), tiny_space())
GENERATION = [(0, 1, 0, 0), (0, 1, 2, 0), (1, 0, 3, 2), (1, 0, 3, 3), (3, 3, 3, 3)]


@pytest.fixture(scope="module")
def images():
    images, labels = images_and_labels(np.random.default_rng(0), 60)
    return (images[:40], labels[:40]), (images[40:], labels[40:])


@pytest.fixture(scope="module")
def supernet():
    model = Supernet(tiny_space(), num_classes=5)
    randomise_supernet(model, np.random.default_rng(0))
    return model


@pytest.fixture
def groups(monkeypatch):
    """Stands in for measuring: the groups that were asked for; a path's accuracy is a function of its choices."""
    asked = []

    def measure(self, paths, recalibration, validation, advance, probe):
        asked.append(list(paths))
        return [{"accuracy": sum(path) / 100, "loss": 1.0} for path in paths]

    monkeypatch.setattr(Populations, "measure", measure)
    return asked


def test_figures_equal_those_of_the_extracted_and_recalibrated_network(supernet, images):
    training, validation = images
    figures = Evaluator(supernet, validation, training, 4, batch_size=10).evaluate(ARCHITECTURE)
    network = extract(supernet, ARCHITECTURE)
    batches = ArraySplit(*training).batches(10, training=True, seed=0)
    recalibrate(lambda x: network(x, training=True), batches.take(4), moving_statistics(network))
    expected = evaluate(network, ArraySplit(*validation).batches(10))
    assert figures["accuracy"] == expected["accuracy"] and figures["num_examples"] == 20
    assert figures["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_figures_depend_neither_on_the_group_nor_on_where_images_are_kept(supernet, images, monkeypatch):
    before = [np.array(v) for v in supernet.variables]

    def figures(announced, **options):
        evaluator = Evaluator(supernet, images[1], images[0], 3, batch_size=15, **options)
        evaluator.begin_generation(announced)
        return [evaluator.evaluate(choices) for choices in GENERATION]

    found = [figures(GENERATION), figures([]), figures(GENERATION[::-1], group_size=2)]
    monkeypatch.setattr(evaluators, "MAX_CACHED_BYTES", 0)
    found.append(figures(GENERATION, group_size=3))
    assert found == [found[0]] * 4
    for variable, value in zip(supernet.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_probe_fits_a_classifier_to_each_path(supernet, images):
    """As one of the extracted network's features of the same images does."""
    training, validation = images
    evaluator = Evaluator(supernet, validation, training, 0, batch_size=10, probe_batches=3)
    evaluator.begin_generation(GENERATION)
    found = [evaluator.evaluate(choices) for choices in GENERATION]
    assert found == [Evaluator(supernet, validation, training, 0, 10, probe_batches=3).evaluate(c) for c in GENERATION]
    network = extract(supernet, ARCHITECTURE)
    features = keras.Model(network.input, network.layers[-1].input)
    seen, labels = zip(*ArraySplit(*training).batches(10, training=True, seed=0).take(3), strict=True)
    kernel, bias = fitted_classifier(features(np.concatenate(seen)).numpy(), np.concatenate(labels), 5)
    network.layers[-1].set_weights([kernel, bias])
    expected = evaluate(network, ArraySplit(*validation).batches(10))
    figures = found[GENERATION.index(ARCHITECTURE.choices)]
    assert figures == pytest.approx({**expected, "score": math.exp(-expected["loss"])}, rel=1e-3)
    assert figures != pytest.approx(Evaluator(supernet, validation, batch_size=10).evaluate(ARCHITECTURE), rel=0.1)


def test_a_network_of_half_the_budget_is_expected_to_gain_less(supernet, images):
    plain = Evaluator(supernet, images[1], batch_size=10)
    budget = 2 * count(ARCHITECTURE, supernet.image_shape[0], 5).multiply_adds
    expected = plain.evaluate(ARCHITECTURE)
    for score, value in (("accuracy", expected["accuracy"]), ("loss", math.exp(-expected["loss"]))):
        adjusted = Evaluator(supernet, images[1], batch_size=10, score=score, halving_loss=0.04, budget=budget)
        assert adjusted.evaluate(ARCHITECTURE) == pytest.approx({**expected, "score": float(f"{value - 0.04:.4g}")})
    whole = Evaluator(supernet, images[1], batch_size=10, halving_loss=0.04, budget=budget / 2)
    assert whole.evaluate(ARCHITECTURE) == plain.evaluate(ARCHITECTURE)
    with pytest.raises(InputError, match="halving_loss: expected a budget of multiply-adds"):
        Evaluator(supernet, images[1], halving_loss=0.04)
    with pytest.raises(InputError, match="score: expected one of loss, accuracy, got 'auc'"):
        Evaluator(supernet, images[1], score="auc")


def test_a_skipped_layer_costs_its_share_of_the_spread_of_random_paths(supernet, images):
    plain = Evaluator(supernet, images[1], batch_size=10)
    deep = Evaluator(supernet, images[1], batch_size=10, depth_weight=0.5, group_size=5)
    drawn = np.random.default_rng(0).integers(4, size=(evaluators.REFERENCES, 4)).tolist()
    paths = sorted({tuple(path) for path in drawn})
    losses = [plain.evaluate(path)["loss"] for path in paths]
    share = 0.5 * np.std(losses) / np.std([path.count(3) for path in paths])
    for path in ((0, 1, 2, 0), (3, 1, 3, 0), (3, 3, 3, 3)):
        expected = plain.evaluate(path)
        score = math.exp(-expected["loss"] - share * path.count(3))
        assert deep.evaluate(path) == pytest.approx({**expected, "score": float(f"{score:.4g}")})
    with pytest.raises(InputError, match=r"depth_weight: expected 0 with the score accuracy, got 0\.5"):
        Evaluator(supernet, images[1], score="accuracy", depth_weight=0.5)


def test_a_probe_needs_training_images(supernet, images):
    with pytest.raises(InputError, match="probe_batches: expected training images to fit classifiers to, got none"):
        Evaluator(supernet, images[1], probe_batches=2)


def test_without_recalibration_the_running_statistics_serve(supernet, images):
    figures = Evaluator(supernet, images[1], batch_size=10).evaluate(ARCHITECTURE)
    expected = evaluate(extract(supernet, ARCHITECTURE), ArraySplit(*images[1]).batches(10))
    assert figures["accuracy"] == expected["accuracy"]


def test_groups_follow_the_announced_order_from_what_is_asked_for(supernet, images, groups):
    evaluator = Evaluator(supernet, images[1], group_size=2)
    evaluator.begin_generation([Architecture(GENERATION[0], supernet.space), *GENERATION, GENERATION[0]])
    assert evaluator.evaluate(GENERATION[1])["accuracy"] == 0.03
    assert evaluator.num_ready == 1
    assert evaluator.evaluate((0, 0, 0, 0))["accuracy"] == 0.0  # of which nothing was said
    for choices in GENERATION:
        evaluator.evaluate(choices)
    assert groups == [GENERATION[1:3], [(0, 0, 0, 0)], [GENERATION[0], GENERATION[3]], [GENERATION[4]]]
    assert evaluator.num_ready == 0


def test_an_architecture_that_comes_again_is_not_measured_again_until_forgotten(supernet, images, groups):
    evaluator = Evaluator(supernet, images[1])
    evaluator.evaluate(ARCHITECTURE)["accuracy"] = None  # what is kept is not the caller's
    assert evaluator.evaluate(list(ARCHITECTURE.choices))["accuracy"] == 0.06
    evaluator.begin_generation(GENERATION)
    evaluator.evaluate(GENERATION[0])
    assert groups == [[ARCHITECTURE.choices], [c for c in GENERATION if c != ARCHITECTURE.choices]]
    evaluator.forget()
    evaluator.evaluate(ARCHITECTURE)
    assert groups[2:] == [[ARCHITECTURE.choices]]


def test_the_oldest_figures_go_first(supernet, images, groups, monkeypatch):
    monkeypatch.setattr(evaluators, "MAX_RESULTS", 2)
    evaluator = Evaluator(supernet, images[1])
    for choices in (*GENERATION[:3], GENERATION[2], GENERATION[1], GENERATION[0]):
        evaluator.evaluate(choices)
    assert groups == [[c] for c in (*GENERATION[:3], GENERATION[0])]


def test_groups_fit_into_the_memory_or_are_of_one_path(supernet, images, groups, monkeypatch):
    sizes = {1: 5, 2: 6, 3: 7, 4: 9, 5: 11}
    monkeypatch.setattr(Populations, "bytes_needed", lambda self, paths, *sizes_of: sizes[len(paths)] * 2**20)
    for memory, expected in ((11, [5]), (8, [3, 2]), (7, [3, 2]), (1, [1] * 5)):
        evaluator = Evaluator(supernet, images[1], memory_mib=memory)
        evaluator.begin_generation(GENERATION)
        for choices in GENERATION:
            evaluator.evaluate(choices)
        assert [len(group) for group in groups] == expected
        groups.clear()


def test_progress_is_told_within_a_group(supernet, images, caplog, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level(logging.INFO, logger="scarlet_tf")
    evaluator = Evaluator(supernet, images[1], images[0], 2, batch_size=15)
    evaluator.begin_generation(GENERATION[:2])
    evaluator.evaluate(GENERATION[0])
    lines = [record.getMessage().split(",")[0] for record in caplog.records]
    assert lines == [f"evaluation {done}/8" for done in range(1, 9)]


def test_a_search_ends_alike_whatever_its_groups_and_goes_on_where_it_was_interrupted(
    images, supernet, tmp_path, monkeypatch
):
    config = {
        "population_size": 4,
        "generations": 3,
        "picks": 1,
        "recalibration_batches": 2,
        "validation_batch_size": 20,
    }

    def run(folder, **changes):
        search(supernet, images[1], {**config, **changes}, tmp_path / folder, images[0])
        return journal(folder), (tmp_path / folder / "pareto.json").read_bytes()

    def journal(folder):
        """Its lines without the seconds that trials took."""
        lines = read_lines(tmp_path / folder / "search" / "trials.jsonl")
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]

    whole = run("whole")
    measure, calls = Populations.measure, itertools.count()
    drawn = np.random.default_rng(0).integers(4, size=(evaluators.REFERENCES, 4)).tolist()
    references = math.ceil(len({tuple(path) for path in drawn}) / 3)  # groups of them, measured first

    def interrupted(*arguments):
        if next(calls) == references + 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(Populations, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("resumed", evaluation_group=3)
    assert journal("resumed") == whole[0][: 1 + 6]  # the heading and two groups of three
    assert run("resumed", evaluation_group=1) == whole


def test_a_misfit_is_named(supernet, images):
    evaluator = Evaluator(supernet, images[1])
    with pytest.raises(InputError, match="4 layers, got 2"):
        evaluator.evaluate((0, 1))
    with pytest.raises(InputError, match="choice from 0 to 3, got 4"):
        evaluator.begin_generation([GENERATION[0], (0, 1, 2, 4)])


@pytest.mark.parametrize("option", ["group_size", "memory_mib"])
@pytest.mark.parametrize("value", [0, 1.5, True, "8"])
def test_options_out_of_range_are_named(supernet, images, option, value):
    with pytest.raises(InputError, match=f"{option}: expected an integer >= 1, got {value!r}"):
        Evaluator(supernet, images[1], **{option: value})


def test_best_models_are_networks_that_answer_as_their_trials_scored(images, supernet, tmp_path):
    training, validation = images
    oracle = WeightedNSGA2Oracle(tiny_space(), 4, 2, max_multiply_adds=None, num_classes=5)
    tuner = SupernetTuner(oracle, supernet, tmp_path, recalibration_data=training)
    tuner.search(validation)
    trials, models = oracle.get_best_trials(3), tuner.get_best_models(3)
    assert len(models) == 3 and len(tuner.get_best_models(99)) == len(oracle.evaluated())
    for trial, model in zip(trials, models, strict=True):
        found = evaluate(model, ArraySplit(*validation).batches(10))
        # A path measured within a group, and on its own: sums in another order.
        assert found["loss"] == pytest.approx(trial.metrics.get_best_value("loss"), rel=1e-4)
        assert found["accuracy"] == trial.metrics.get_best_value("accuracy")
        assert math.exp(-found["loss"]) == pytest.approx(trial.score, abs=6e-5)
    # Before a search there is no recalibration: the supernet's own weights and statistics.
    fresh = SupernetTuner(
        WeightedNSGA2Oracle(tiny_space(), 4, 2, max_multiply_adds=None, num_classes=5), supernet, tmp_path / "other"
    )
    x = validation[0][:4]
    choices = tuple(trials[0].hyperparameters.values[f"layer_{i:02d}"] for i in range(4))
    np.testing.assert_allclose(fresh.load_model(trials[0])(x), supernet(x, choices), rtol=1e-4, atol=1e-5)
