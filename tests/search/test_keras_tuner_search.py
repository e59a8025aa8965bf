import types

import keras_tuner
import numpy as np
import pytest
from formula_search import BIG, TINY, accuracy

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.keras_tuner_search import KerasTunerSearch
from scarlet_tf.search.run import new_algorithm, search
from scarlet_tf.search.trials import TrialMaker
from scarlet_tf.search.tuner import SupernetTuner
from scarlet_tf.space.cost import cost_table

COSTS, TINY_COSTS = (cost_table(space, 32, 10) for space in (BIG, TINY))
BUDGET = 1.25e6  # about half of the networks are above it
ACCURACY = keras_tuner.Objective("accuracy", "max")
SUPERNET = types.SimpleNamespace(space=BIG, image_shape=(32, 32, 3), num_classes=10)


def oracle(space=BIG, kind=keras_tuner.oracles.RandomSearchOracle, **changes):
    settings = {"objective": ACCURACY, "max_trials": None, "seed": 1, **changes}
    return kind(hyperparameters=TrialMaker(space).hyperparameters, **settings)


def finish(algorithm):
    """Runs to the end; returns the architectures in order."""
    asked = []
    while not algorithm.finished:
        genomes = algorithm.ask().tolist()
        asked += [tuple(genome) for genome in genomes]
        algorithm.tell([{"accuracy": accuracy(genome)} for genome in genomes])
    return asked


def test_over_budget_is_answered_without_evaluation_and_not_counted():
    inner = oracle()
    algorithm = KerasTunerSearch(COSTS, inner, 20, BUDGET)
    asked = finish(algorithm)
    assert len(set(asked)) == 20 == algorithm.evaluations and np.all(COSTS.count(np.array(asked))[0] < BUDGET)
    assert algorithm.over_budget > 0 and algorithm.repeats == 0
    assert len(inner.trials) == 20 + algorithm.over_budget
    scores = [trial.score for trial in inner.trials.values()]
    assert scores.count(0.0) >= algorithm.over_budget
    assert sum(accuracy(genome) for genome in asked) == pytest.approx(sum(scores))


def test_a_network_that_comes_again_is_answered_with_what_is_known():
    """The Gaussian process proposes its optimum, a flat accuracy's again and again."""
    inner = oracle(TINY, keras_tuner.oracles.BayesianOptimizationOracle, num_initial_points=2)
    inner.populate_space = lambda trial_id: {
        "status": "RUNNING",
        "values": dict.fromkeys(("layer_00", "layer_01", "layer_02", "layer_03"), len(inner.trials) // 3 % 3),
    }
    algorithm = KerasTunerSearch(TINY_COSTS, inner, 5)
    assert finish(algorithm) == [(0,) * 4, (1,) * 4, (2,) * 4]
    assert len(inner.trials) == 50 and algorithm.repeats == 47  # bounded, though two networks are still wanted
    for trial in inner.trials.values():
        assert trial.score == accuracy(trial.hyperparameters.values.values())


def test_an_oracle_that_stops_ends_the_search(caplog):
    algorithm = KerasTunerSearch(COSTS, oracle(max_trials=6), 20)
    assert len(finish(algorithm)) == 6
    assert algorithm.finished and algorithm.evaluations == 6
    assert "has nothing new after 6 trials" in caplog.text


@pytest.mark.parametrize(
    ("kind", "evaluations", "interruptions"),
    # The Gaussian process takes a second and more for each trial after the third.
    [
        ("RandomSearchOracle", 12, range(12)),
        pytest.param("BayesianOptimizationOracle", 5, [4], marks=pytest.mark.slow),
    ],
)
def test_resumed_search_equals_an_uninterrupted_one(kind, evaluations, interruptions):
    options = {"num_initial_points": 3} if kind.startswith("Bayes") else {}

    def new():
        inner = oracle(TINY, getattr(keras_tuner.oracles, kind), **options)
        return KerasTunerSearch(TINY_COSTS, inner, evaluations, 2.2e6)

    whole = new()
    expected = finish(whole)
    for told in interruptions:
        resumed = new()
        for genome in expected[:told]:
            assert resumed.ask().tolist() == [list(genome)]
            resumed.tell([{"accuracy": accuracy(genome)}])
        assert finish(resumed) == expected[told:]
        assert (resumed.over_budget, resumed.repeats) == (whole.over_budget, whole.repeats)


def test_a_restart_with_another_oracle_is_noticed(tmp_path):
    from test_search_run import Evaluator

    SupernetTuner(oracle(max_trials=4), SUPERNET, tmp_path, "search", evaluator=Evaluator()).search()
    with pytest.raises(InputError, match="it belongs to another search: oracle_seed: expected 2, found 1"):
        SupernetTuner(oracle(max_trials=4, seed=2), SUPERNET, tmp_path, "search", evaluator=Evaluator())
    other = oracle(max_trials=4, tune_new_entries=False)
    other.populate_space = lambda trial_id: {"status": "RUNNING", "values": dict.fromkeys(TrialMaker(BIG)._names, 0)}
    with pytest.raises(InputError, match=r"trial 000000: expected architecture 0,0,0,0,0,0,0,0, found"):
        SupernetTuner(other, SUPERNET, tmp_path, "search", evaluator=Evaluator())


def test_a_failed_evaluation_is_told_as_one():
    inner = oracle()
    algorithm = KerasTunerSearch(COSTS, inner, 3)
    algorithm.ask()
    algorithm.tell([None])
    assert [trial.status for trial in inner.trials.values()] == ["FAILED"]
    assert algorithm.hypervolume == [0.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: "random", "oracle: expected an Oracle of KerasTuner, got str"),
        (lambda: oracle(objective=keras_tuner.Objective("loss", "min")), r"oracle\.objective: expected"),
        (lambda: oracle(TINY), r"oracle\.hyperparameters: expected Choices layer_00, .*layer_07 of the choice indices"),
    ],
)
def test_oracles_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        KerasTunerSearch(COSTS, wrong(), 5)


def test_it_is_chosen_by_name_and_resumes(tmp_path):
    from test_search_run import Evaluator

    config = {"algorithm": "keras_tuner_random", "population_size": 3, "generations": 3}
    config |= {"upper_bounds": {"multiply_adds": BUDGET}}
    evaluator = Evaluator()
    result = search(SUPERNET, None, config, tmp_path, evaluator=evaluator)
    assert result.evaluations == evaluator.calls == 9
    assert all(candidate.multiply_adds < BUDGET for candidate in result.pareto)
    evaluator = Evaluator()
    assert search(SUPERNET, None, config, tmp_path, evaluator=evaluator) == result and evaluator.calls == 0
    longer = search(SUPERNET, None, config | {"generations": 4}, tmp_path, evaluator=evaluator)
    assert longer.evaluations == 12 and evaluator.calls == 3
    assert new_algorithm(SearchConfig(**config), COSTS).get_config()["algorithm"] == "RandomSearchOracle"


def test_a_tuner_takes_any_oracle_of_keras_tuner(tmp_path):
    from test_search_run import Evaluator

    inner = oracle(max_trials=12)
    tuner = SupernetTuner(inner, SUPERNET, tmp_path, "search", evaluator=Evaluator(), max_multiply_adds=BUDGET)
    tuner.search()
    front = tuner.oracle.pareto_front()
    assert front and all(candidate.multiply_adds < BUDGET for candidate in front)
    assert len(inner.trials) == 12 and len(tuner.oracle.trials) == 12 - tuner.oracle.algorithm.over_budget
    assert max(c.accuracy for c in tuner.oracle.evaluated()) == inner.get_best_trials()[0].score
    for arguments, message in (
        ((oracle(max_trials=3), None), "supernet: expected one, whose space the oracle searches"),
        ((oracle(), SUPERNET), r"oracle\.max_trials: expected an integer >= 1, got None"),
    ):
        with pytest.raises(InputError, match=message):
            SupernetTuner(*arguments, tmp_path, "other", evaluator=Evaluator())
