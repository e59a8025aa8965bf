"""Finalists: a front ranked again by hand-made latencies, measured by a fake runner, interrupted and continued."""

import dataclasses
import types

import numpy as np
import pytest
from fake_runner import FakeRunner, content
from tiny import tiny_space

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.metric_table import MetricTable, parts
from scarlet_tf.pipeline import finalists
from scarlet_tf.pipeline.finalists import choose_finalists, measure_finalists, rerank
from scarlet_tf.search.betanas.derive import derive
from scarlet_tf.search.front import Candidate, front_of
from scarlet_tf.search.picks import pick_models
from scarlet_tf.search.run import SearchConfig, SearchResult
from scarlet_tf.space import Architecture

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


def found_by(models, goals, picks):
    front = front_of([model for model in models if goals.violation(model.metrics) <= 0], goals)
    picked = pick_models(front, models, goals, picks)
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
def run(tmp_path):
    new_table(tmp_path)
    search = SearchConfig(
        weights=WEIGHTS,
        max_multiply_adds=None,
        limits={"latency_ms": 6.5},
        table=str(tmp_path / "t.json"),
        picks={"fast": {"latency_ms": 4.5}},
        finalists=4,
    )
    config = types.SimpleNamespace(search=search, space=SPACE, data=types.SimpleNamespace(image_size=32))
    return types.SimpleNamespace(
        config=config, data=types.SimpleNamespace(num_classes=10), folder=tmp_path, adb=None, front=tmp_path / "p.json"
    )


@pytest.fixture
def runner(run, monkeypatch, tmp_path):
    """On the device 5x5 filters take twice what the table says, and every part 2 % more."""
    truth = new_table(tmp_path / "truth", slow=2.0)
    runner = FakeRunner()
    monkeypatch.setattr(finalists, "latency_runner", lambda run, table: runner)
    monkeypatch.setattr(finalists, "network_content", lambda one, *_: content(1.02 * latency(truth, one)))
    return runner


def search_result(run, table=None):
    table = table or MetricTable.load(run.config.search.table, SPACE, 32, 10)
    return found_by(evaluated_by(table, ACCURACIES), run.config.search.objectives(), run.config.search.picks)


def test_a_front_is_ranked_again_by_corrected_latencies(run, tmp_path):
    before = search_result(run)
    assert [m.architecture.choices[0] for m in before.pareto] == [1, 1, 1, 1]  # the 5x5 filters seem to be free
    assert before.picks[0].architecture.choices == (1, 1, 3, 3)
    corrected = new_table(tmp_path / "c", slow=2.0)
    after = rerank(before, corrected, run.config.search.objectives(), run.config.search.picks)
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


def test_finalists_are_the_picks_and_others_along_the_front(run):
    result, goals = search_result(run), run.config.search.objectives()
    chosen = choose_finalists(result.pareto, result.picks, goals, 3)
    assert chosen[0] == result.picks[0].architecture and len(set(chosen)) == 3
    assert result.best.accuracy == max(c.accuracy for c in result.pareto)
    assert result.best.architecture in choose_finalists(result.pareto, result.picks, goals, 1)  # whatever is wanted
    assert {result.pareto[0].architecture, result.pareto[-1].architecture} & set(chosen)
    assert choose_finalists(result.pareto, result.pareto, goals, 1) == [m.architecture for m in result.pareto]
    assert len(choose_finalists(result.pareto, result.picks, goals, 99)) == len(result.pareto)


def test_finalists_are_measured_and_the_picks_among_them(run, runner):
    result = measure_finalists(run, search_result(run))
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
    assert (run.folder / "finalists.json").exists()


def test_what_was_measured_before_a_kill_is_not_measured_again(run, runner):
    whole = measure_finalists(run, search_result(run))
    measured = len(runner.seen)
    assert measure_finalists(run, search_result(run)).details == whole.details
    assert len(runner.seen) == measured


def test_without_table_finalists_or_device_the_result_stays_as_it_is(run, runner, monkeypatch):
    result, search = search_result(run), run.config.search
    for change in ({"table": None, "limits": {}}, {"finalists": 0}):
        run.config.search = dataclasses.replace(search, **change)
        assert measure_finalists(run, result) is result
    run.config.search = search
    monkeypatch.setattr(finalists, "latency_runner", lambda run, table: None)
    assert measure_finalists(run, result) is result
    assert not runner.seen and not (run.folder / "finalists.json").exists()


def test_bounds_that_no_corrected_network_keeps_are_an_error(run, tmp_path):
    corrected = new_table(tmp_path / "c", slow=2.0)
    everything_slow = corrected.with_metric("latency_ms", dict.fromkeys(corrected.entries, 9.0))
    with pytest.raises(
        InputError, match=r"search\.limits: expected some model that keeps latency_ms < 6\.5 ms .* is 27 ms"
    ):
        rerank(search_result(run), everything_slow, run.config.search.objectives(), run.config.search.picks)


def test_betanas_decides_again_by_corrected_latencies(run, runner, tmp_path):
    """Importances prefer the 5x5 filter everywhere; within the limit that holds by the table, but not on the device."""
    costs = CostTable(SPACE, 32, 10)
    importances = {"alpha": [[1.0, 2.0, 0.0, -1.0]] * 4, "dropped_at": [[-1, -1, 3, -1]] * 4}
    evaluator = types.SimpleNamespace(begin_generation=lambda _: None, evaluate=lambda _: {"accuracy": 0.5})
    settings = dataclasses.replace(run.config.search, algorithm="betanas", picks=3)
    run.config.search = settings
    asked = []

    def finish(result, decide):
        asked.append(result.picks[0].architecture.choices)
        return measure_finalists(run, result, decide)

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
