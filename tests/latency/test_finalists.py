"""Finalists: a front ranked again by hand-made latencies, measured by a fake runner, interrupted and continued."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest
from fake_runner import FakeRunner, content
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.betanas.derive import derive
from scarlet_tf.latency import finalists
from scarlet_tf.latency.finalists import choose_finalists, measure_finalists, rerank
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.front import Candidate, front_of, pick_models
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()
WEIGHTS = {"accuracy": 0.5, "latency_ms": 0.5}


def new_table(tmp_path, slow=1.0):
    """Every part takes 1 ms, blocks with 5x5 filters `slow` times that."""
    entries = {key: [slow if " k5 " in key else 1.0] for key, _, _ in parts(SPACE, 32, 10)}
    table = MetricTable(SPACE, 32, 10, ["latency_ms"], entries, {"runtime": "fake"})
    table.save(tmp_path / "t.json")
    return table


def latency(table, architecture):
    return table.sums(np.array([architecture.choices]))["latency_ms"][0].item()


def evaluated_by(table, accuracies):
    models = []
    for choices, accuracy in accuracies.items():
        architecture = Architecture(choices, SPACE)
        models.append(Candidate(architecture, accuracy, 1000, 100, {"latency_ms": latency(table, architecture)}))
    return models


def found_by(models, objectives, picks):
    front = front_of([model for model in models if objectives.violation(model.metrics) <= 0], objectives)
    picked = pick_models(front, models, objectives, picks)
    return SearchResult(front, list(picked.values()), list(picked), [0.5], len(models), evaluated=models)


# Latencies are 3 to 6 ms by the table. Choice 1 has 5x5 filters, choice 3 is a skip.
ACCURACIES = {
    (0, 3, 3, 3): 0.3,
    (1, 3, 3, 3): 0.4,
    (0, 0, 3, 3): 0.5,
    (1, 1, 3, 3): 0.6,
    (0, 0, 0, 3): 0.65,
    (1, 1, 1, 3): 0.7,
    (0, 0, 0, 0): 0.75,
    (1, 1, 1, 1): 0.8,
}


@pytest.fixture
def settings(tmp_path):
    new_table(tmp_path)
    return SearchConfig(
        weights=WEIGHTS,
        upper_bounds={"latency_ms": 6.5},
        table=str(tmp_path / "t.json"),
        picks={"fast": {"latency_ms": 4.5}},
        finalists=4,
    )


@pytest.fixture
def runner(monkeypatch, tmp_path):
    """On the device 5x5 filters take twice what the table says, and every part 2 % more."""
    truth = new_table(tmp_path / "truth", slow=2.0)
    monkeypatch.setattr(finalists, "network_content", lambda one, *_: content(1.02 * latency(truth, one)))
    return FakeRunner()


def table_of(settings):
    return MetricTable.load(settings.table, SPACE, 32, 10)


def search_result(settings):
    return found_by(evaluated_by(table_of(settings), ACCURACIES), settings.objectives(), settings.picks)


def measured(settings, runner, result=None, decide=None):
    """`measure_finalists` of a search by `settings`, whose measurements lie beside its table."""
    path = pathlib.Path(settings.table).with_name("finalists.json")
    return measure_finalists(result or search_result(settings), settings, table_of(settings), runner, path, decide)


def test_a_front_is_ranked_again_by_corrected_latencies(settings, tmp_path):
    before = search_result(settings)
    assert [m.architecture.choices[0] for m in before.pareto] == [1, 1, 1, 1]  # the 5x5 filters seem to be free
    assert before.picks[0].architecture.choices == (1, 1, 3, 3)
    corrected = new_table(tmp_path / "c", slow=2.0)
    after = rerank(before, corrected, settings.objectives(), settings.picks)
    # By hand: with 2 ms for a 5x5 filter (1, 1, 3, 3) takes 6 ms, as (0, 0, 0, 0), which is more accurate; those of three
    # and four such filters take 8 and 10 ms, above the limit of 6.5; (0, 0, 3, 3), 4 ms, beats (1, 3, 3, 3), 4 ms.
    assert {m.architecture.choices: m.others["latency_ms"] for m in after.pareto} == {
        (0, 3, 3, 3): 3.0,
        (0, 0, 3, 3): 4.0,
        (0, 0, 0, 3): 5.0,
        (0, 0, 0, 0): 6.0,
    }
    assert after.names == ["fast"] and after.picks[0].architecture.choices == (0, 0, 3, 3)
    assert after.hypervolume == before.hypervolume and len(after.evaluated) == len(ACCURACIES)


def test_finalists_are_the_picks_and_others_along_the_front(settings):
    result, objectives = search_result(settings), settings.objectives()
    chosen = choose_finalists(result.pareto, result.picks, objectives, 3)
    assert chosen[0] == result.picks[0].architecture and len(set(chosen)) == 3
    assert result.best.accuracy == max(c.accuracy for c in result.pareto)
    assert result.best.architecture in choose_finalists(
        result.pareto, result.picks, objectives, 1
    )  # whatever is wanted
    assert {result.pareto[0].architecture, result.pareto[-1].architecture} & set(chosen)
    assert choose_finalists(result.pareto, result.pareto, objectives, 1) == [m.architecture for m in result.pareto]
    assert len(choose_finalists(result.pareto, result.picks, objectives, 99)) == len(result.pareto)


def test_finalists_are_measured_and_the_picks_among_them(settings, runner):
    result = measured(settings, runner)
    assert result.picks[0].architecture.choices == (0, 0, 3, 3)
    assert all(m.others["latency_ms"] < 6.5 for m in result.pareto)
    report = result.details["measured"]
    rows = {row["architecture"]: row for row in report["networks"]}
    # The new pick was not on the first front; the next round measured it.
    assert rows["0,0,3,3"]["measured_ms"] == pytest.approx(4.08)
    row = rows["1,1,3,3"]
    assert (row["predicted_ms"], row["measured_ms"]) == (4.0, pytest.approx(6.12))
    assert row["error"] == pytest.approx(4 / 6.12 - 1, abs=1e-4) and abs(row["corrected_error"]) < 0.05
    assert report["predicted"]["median_absolute_error"] > report["corrected"]["median_absolute_error"]


def test_what_was_measured_before_a_kill_is_not_measured_again(settings, runner):
    whole = measured(settings, runner)
    count = len(runner.seen)
    assert measured(settings, runner).details == whole.details
    assert len(runner.seen) == count


def test_bounds_that_no_corrected_network_keeps_are_an_error(settings, tmp_path):
    corrected = new_table(tmp_path / "c", slow=2.0)
    everything_slow = corrected.with_metric("latency_ms", dict.fromkeys(corrected.entries, 9.0))
    with pytest.raises(
        InputError, match=r"search\.upper_bounds: expected some model that keeps latency_ms < 6\.5 ms .* is 27 ms"
    ):
        rerank(search_result(settings), everything_slow, settings.objectives(), settings.picks)


def test_betanas_decides_again_by_corrected_latencies(settings, runner, tmp_path):
    """Importances prefer the 5x5 filter everywhere; within the limit that holds by the table, but not on the device."""
    costs = CostTable(SPACE, 32, 10)
    importances = {"alpha": [[1.0, 2.0, 0.0, -1.0]] * 4, "dropped_at": [[-1, -1, 3, -1]] * 4}
    evaluator = types.SimpleNamespace(begin_generation=lambda _: None, evaluate=lambda _: {"accuracy": 0.5})
    settings = dataclasses.replace(settings, algorithm="betanas", picks=3)
    asked = []

    def finish(result, decide):
        asked.append(result.picks[0].architecture.choices)
        return measured(settings, runner, result, decide)

    supernet = types.SimpleNamespace(space=SPACE, image_shape=(32, 32, 3), num_classes=10)
    result = derive(supernet, importances, None, settings, tmp_path / "out", evaluator=evaluator, finish=finish)
    assert asked == [(1, 1, 1, 1)]
    chosen = result.picks[0]
    # On the device (1, 1, 1, 1) takes 10.2 ms and each 5x5 filter less saves 1.02; a skip saves 2.04, or 1.02 of a 3x3.
    assert chosen.others["latency_ms"] < 6.5 and chosen.architecture.choices.count(1) < 4
    assert costs.count_one(chosen.architecture.choices)[0] == chosen.multiply_adds
    assert {row["architecture"] for row in result.details["measured"]["networks"]} >= {
        "1,1,1,1",
        chosen.architecture.to_string(),
    }
