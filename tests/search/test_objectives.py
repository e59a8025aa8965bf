import numpy as np
import pytest
from formula_search import state
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.front import Candidate, HypervolumeBox, front_of
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.search.objectives import BadMetrics, CostModel, Objectives, check_feasible, make_objectives
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()
COSTS = CostTable(SPACE, 32, 10)
ENTRIES = {
    key: [round(value, 6)]
    for (key, _, _), value in zip(parts(SPACE, 32, 10), np.random.default_rng(1).uniform(1, 2, 99), strict=False)
}
TABLE = MetricTable(SPACE, 32, 10, ["latency_ms"], ENTRIES)
FIGURES = CostModel(COSTS, TABLE)
LOW, HIGH = TABLE.bounds["latency_ms"]
WEIGHTS = {"accuracy": 0.5, "latency_ms": 0.5}


def finish(search, answer=lambda genome: {"accuracy": (sum(genome) % 5) / 5}):
    while not search.finished:
        search.tell([answer(genome) for genome in search.ask().tolist()])
    return search


def test_objectives_are_minimised_in_the_order_of_their_weights():
    objectives = Objectives({"latency_ms": 1, "accuracy": 2, "params": 0}, directions={"params": "min"})
    values = objectives.values([{"latency_ms": 3.0, "accuracy": 0.5, "params": 7, "loss": 9}])
    assert values.tolist() == [[3.0, -0.5, 7.0]]
    assert objectives.cost_column == 0
    assert Objectives().cost_column == 1


def test_a_score_stands_in_for_the_accuracy_as_objective_but_not_in_bounds():
    objectives = Objectives(lower_bounds={"accuracy": 0.4})
    found = {"accuracy": 0.5, "score": 0.2, "multiply_adds": 8, "params": 3}
    assert objectives.values([found]).tolist() == [[-0.2, 8.0, -3.0]]
    assert objectives.violation(found) == 0
    assert objectives.check({**found, "loss": 1.6}) == {"accuracy": 0.5, "score": 0.2, "multiply_adds": 8, "params": 3}
    for score in (-0.1, 1.2, float("nan"), "high"):
        with pytest.raises(BadMetrics, match=r"metrics\.score: expected a number from 0 to 1"):
            objectives.check({**found, "score": score})


def test_violation_is_zero_inside_all_bounds_and_grows_outside():
    objectives = make_objectives(WEIGHTS, None, 0.5, {"latency_ms": 10.0}, {"params": 100.0})
    good = {"accuracy": 0.6, "latency_ms": 9.0, "params": 101}
    assert objectives.violation(good) == 0
    # The relative excess e becomes e / (1 + e): 15 over 10 is a half over.
    assert objectives.violation({**good, "latency_ms": 15.0}) == pytest.approx(1 / 3)
    assert objectives.violation({**good, "params": 50}) == pytest.approx(1 / 3)
    at_all_bounds = objectives.violation({"accuracy": 0.5, "latency_ms": 10.0, "params": 100})
    assert 0 < at_all_bounds < 1e-300


def test_a_predicted_latency_is_an_objective_and_a_limit():
    limit = (LOW + HIGH) / 2
    search = finish(WeightedNSGA2(COSTS, 10, 6, WEIGHTS, None, table=TABLE, upper_bounds={"latency_ms": limit}))
    assert np.all(TABLE.sums(search.genomes)["latency_ms"] < limit)
    np.testing.assert_array_equal(search.scores[:, 1], TABLE.sums(search.genomes)["latency_ms"])
    assert search.hypervolume[-1] > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"upper_bounds": {"latency_ms": LOW + 0.05 * (HIGH - LOW)}},
        {"lower_bounds": {"latency_ms": HIGH - 0.05 * (HIGH - LOW)}},
        {"lower_bounds": {"params": COSTS.bounds["params"][1] * 0.95}, "upper_bounds": {"latency_ms": HIGH}},
    ],
)
def test_tight_bounds_are_kept_before_anything_is_evaluated(settings):
    search = WeightedNSGA2(COSTS, 6, 5, WEIGHTS, None, table=TABLE, **settings)
    objectives = search.objectives
    while not search.finished:
        genomes = search.ask()
        assert np.all(objectives.meets(FIGURES.of(genomes)))
        search.tell([{"accuracy": 0.5}] * len(genomes))


def test_an_evaluated_metric_is_an_objective_and_a_bound():
    settings = {"weights": {"accuracy": 1, "energy": 1}, "max_multiply_adds": None, "upper_bounds": {"energy": 10.0}}

    def answer(genome):
        return {"accuracy": 0.5, "energy": float(genome[0]) * 6}

    search = finish(WeightedNSGA2(COSTS, 6, 4, **settings), answer)
    assert set(search.genomes[search.front][:, 0].tolist()) <= {0, 1}
    with pytest.raises(BadMetrics, match=r"metrics\.energy: expected a finite number, got None"):
        WeightedNSGA2(COSTS, 2, 4, **settings).objectives.check({"accuracy": 0.5})
    with pytest.raises(InputError, match=r"search\.upper_bounds\.energy: expected a number, since hypervolume"):
        WeightedNSGA2(COSTS, 6, 4, **{**settings, "upper_bounds": {}})


def test_search_with_other_objectives_repeats_itself():
    settings = {"weights": WEIGHTS, "max_multiply_adds": None, "table": TABLE, "upper_bounds": {"latency_ms": HIGH}}
    whole = finish(WeightedNSGA2(COSTS, 6, 6, **settings))
    again = finish(WeightedNSGA2(COSTS, 6, 6, **settings))
    assert state(again) == state(whole)


@pytest.mark.parametrize(
    "objectives, message",
    [
        (
            make_objectives(WEIGHTS, None, None, {"latency_ms": LOW}),
            r"search\.upper_bounds\.latency_ms: no network .* less",
        ),
        (
            make_objectives(WEIGHTS, None, None, {}, {"latency_ms": HIGH}),
            r"search\.lower_bounds\.latency_ms: no .* more",
        ),
        (
            make_objectives(WEIGHTS, 1.0, None),
            r"search\.upper_bounds\.multiply_adds: no network .* reaches multiply_adds from",
        ),
        (
            make_objectives(WEIGHTS, None, None, {}, {"params": 1e12}),
            r"search\.lower_bounds\.params: .* reaches params from",
        ),
    ],
)
def test_a_bound_that_no_network_keeps_is_named_with_the_reach(objectives, message):
    with pytest.raises(InputError, match=message):
        check_feasible(FIGURES, objectives)


def test_bounds_that_exclude_one_another_are_named_with_the_reach_of_both():
    madds, params = COSTS.bounds["multiply_adds"], COSTS.bounds["params"]
    with pytest.raises(InputError, match=r"no network within all of them .*multiply_adds from .*params from"):
        WeightedNSGA2(COSTS, 4, 4, max_multiply_adds=madds[0] + 1, lower_bounds={"params": params[1] - 1}).ask()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"weights": {"params": 1, "latency_ms": 1}}, r"search\.weights: .*accuracy's among them"),
        ({"weights": {"accuracy": 1}}, r"search\.weights: expected at least two metrics"),
        ({"upper_bounds": {"latency_ms": "x"}}, r"search\.upper_bounds\.latency_ms: expected a finite number, got 'x'"),
        (
            {"upper_bounds": {"multiply_adds": 1e6}},
            r"^upper_bounds\.multiply_adds: expected none beside max_multiply_adds: 5e\+08, got 1e\+06",
        ),
        (
            {"lower_bounds": {"accuracy": 1.5}},
            r"search\.lower_bounds\.accuracy: expected a number from 0 to 1, got 1\.5",
        ),
        ({"directions": {"params": "up"}}, r"search\.directions\.params: expected min or max, got 'up'"),
        ({"directions": {"accuracy": "min"}}, r"search\.directions\.accuracy: expected max, got 'min'"),
        (
            {"upper_bounds": {"params": 1.0}, "lower_bounds": {"params": 2.0}},
            r"search\.lower_bounds\.params: expected less than its upper bound",
        ),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        WeightedNSGA2(COSTS, **settings)


def test_the_front_follows_the_objectives():
    def candidate(accuracy, multiply_adds, latency):
        return Candidate(
            Architecture((0,) * SPACE.num_layers, SPACE), accuracy, multiply_adds, 5, {"latency_ms": latency}
        )

    slow_but_small, quick_but_big = candidate(0.5, 1, 9.0), candidate(0.5, 2, 3.0)
    assert front_of([slow_but_small, quick_but_big]) == [slow_but_small]
    assert front_of([slow_but_small, quick_but_big], Objectives(WEIGHTS)) == [quick_but_big]


def test_hypervolume_of_two_objectives_is_the_hand_computed_share():
    limit = LOW + 0.8 * (HIGH - LOW)
    box = HypervolumeBox(FIGURES, make_objectives(WEIGHTS, None, None, {"latency_ms": limit}))
    middle = LOW + 0.4 * (HIGH - LOW)
    assert box.measure(np.array([[-0.6, middle]])) == pytest.approx(0.6 * 0.5)


def test_a_direction_without_effect_is_named():
    with pytest.raises(InputError, match=r"search\.directions\.energy: expected a metric with a weight"):
        WeightedNSGA2(COSTS, directions={"energy": "min"})


def test_fronts_are_walked_along_what_is_minimised():
    assert Objectives({"accuracy": 1, "params": 1, "latency_ms": 1}).cost_column == 2
