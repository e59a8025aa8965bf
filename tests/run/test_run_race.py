"""Whole runs with a race: the winner is what every later stage delivers."""

import json
import os
import shutil
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import yaml

from local_cluster import variables
from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.config import parse_config
from scarlet_tf.models.network import load_network
from scarlet_tf.results import RaceResult
from scarlet_tf.run import racing, scoring, stages
from scarlet_tf.run.folder import Run
from scarlet_tf.run.stages import stages_of
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import Architecture

VALUES = {
    "data": {"source": "digits", "image_size": 8, "max_train_examples": 120, "max_test_examples": 100},
    "space": {
        "name": "tiniest",
        "stages": [{"channels": 8, "depth": 2, "stride": 2}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"expansion": 3, "kernel_size": 3}, {"skip": True}],
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "tail_channels": 16,
    },
    "supernet": {"epochs": 1, "batch_size": 40, "learning_rate": 0.05},
    "search": {"population_size": 2, "generations": 2, "picks": 1, "recalibration_batches": 1},
    "race": {"finalists": 1, "rivals": ["uniform"], "rungs": [1]},
    "retrain": {
        "epochs": 2,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "warmup_epochs": 0,
        "ema": 0,
        "recalibration_batches": 0,
    },
    "export": {"formats": ["float32"], "saved_model": False, "verification_examples": 50, "benchmark_threads": 0},
}


def config(**changes):
    return parse_config(VALUES | {key: VALUES.get(key, {}) | value for key, value in changes.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race") / "run"
    return folder, runs.run_all(config(), folder)


def test_the_winner_is_what_the_run_delivers(finished):
    folder, summary = finished
    raced = RaceResult.read(folder, config().space)
    winner = raced.row(raced.winner)
    result, certificate = (read_json(folder / name) for name in ("retrain/result.json", "export/certificate.json"))
    assert summary["pick"]["architecture"] == winner["architecture"]
    front = read_json(folder / "pareto.json")
    known = {row["architecture"]: row["accuracy"] for row in (*front["pareto"], *front["picks"])}
    assert result.get("one_shot_accuracy") == known.get(winner["architecture"])
    assert result["steps"] == raced.goals[-1] and result["validation"]["accuracy"] == winner["rungs"][-1]["accuracy"]
    assert result["race"]["winner"] == raced.winner == summary["race"]["winner"]
    assert certificate["details"]["race"]["verdict"] == list(raced.verdict) and raced.verdict
    assert "race/result.json" in str(certificate["other_files"])
    assert runs.verify_run(folder)["passed"]
    networks = [load_network(folder / part / "model.keras") for part in (f"race/{raced.winner}/retrain", "retrain")]
    for ours, theirs in zip(*(network.get_weights() for network in networks), strict=True):
        assert (ours == theirs).all()
    page, text = ((folder / name).read_text() for name in ("report.html", "export/certificate.md"))
    assert raced.verdict[0].capitalize()[:20] in page and "## Race" in text
    assert (
        json.loads((folder / "export/model_float32.json").read_text())["provenance"]["race"]["winner"] == raced.winner
    )


def test_gains_are_those_of_the_networks_in_the_folder(finished):
    folder, _ = finished
    raced, test = RaceResult.read(folder, SPACE), Run(config(), folder).data.test
    images, labels = next(iter(test.batches(100)))
    hits = {}
    for row in raced.entrants:
        network = load_network(folder / "race" / row["name"] / "retrain" / "model.keras")
        hits[row["name"]] = np.argmax(network(images, training=False), -1) == labels
    [gain] = raced.gains
    assert gain["images"] == 100 and {gain["against"], raced.winner} == set(hits)
    assert gain["gain"] == pytest.approx(np.mean(hits[raced.winner]) - np.mean(hits[gain["against"]]))


def test_a_race_alone_and_the_stage_after_it(finished):
    folder, _ = finished
    assert runs.run_stage("race", config(), folder)["winner"]
    with pytest.raises(InputError, match=r"race\.rungs"):
        runs.run_stage("race", config(race={"rungs": [0.25, 1]}), folder)


def test_which_runs_race():
    def names(**changes):
        return [stage.name for stage in stages_of(config(**changes))]

    assert names() == ["train-supernet", "search", "race", "retrain", "export"]
    assert "race" not in names(race={"finalists": 0})
    assert "race" not in names(retrain={"pick": 0})
    bounds = {"picks": {"small": {"multiply_adds": 1e5}, "good": {"accuracy": 0.5}, "mine": "0,1"}}
    assert "race" in names(search=bounds, retrain={"pick": "small"})
    assert "race" not in names(search=bounds, retrain={"pick": "good"})
    assert "race" not in names(search=bounds, retrain={"pick": "mine"})


def test_int8_can_only_judge_what_is_exported(tmp_path):
    with pytest.raises(InputError, match=r"race\.judge: expected float32, since export.formats has no int8"):
        runs.run_all(config(race={"judge": "int8"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_race_and_a_ranking_of_processes_of_which_one_is_killed(tmp_path):
    """A chief and workers, one of which is killed in a training: the same figures as in one process, bit by bit."""
    values = config(
        race={"rivals": ["uniform", "random"], "rungs": [0.5, 1]},
        retrain={"epochs": 10},
        ranking={"architectures": 3, "strata": 1, "epochs": 2},
    )
    alone, shared, file = tmp_path / "alone", tmp_path / "shared", tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**values.to_dict(), "checkpoint_seconds": 0.05}))
    scarlet("run", file, alone, "--until", "race")
    shutil.copytree(alone, shared, ignore=shutil.ignore_patterns("race", "run.log"))
    chief, lost = (start("race", file, shared, name) for name in ("chief", "worker-0"))
    wait_until(lambda: list(shared.rglob("race/*/retrain/checkpoint-*.npz")), chief)
    lost.kill()
    other = start("race", file, shared, "worker-1")
    assert [member.wait(200) for member in (chief, lost, other)] == [0, -9, 0]
    races = [read_json(folder / "race" / "result.json") for folder in (alone, shared)]
    assert figures_of(races[0]) == figures_of(races[1])
    scarlet("rank", file, alone)
    members = [start("rank", file, shared, name) for name in ("chief", "worker-0")]
    assert [member.wait(200) for member in members] == [0, 0]
    ranks = [read_json(folder / "ranking" / "result.json") for folder in (alone, shared)]
    assert ranks[0] == ranks[1]
    log = (shared / "run.log").read_text()  # the chief's
    assert "waiting for other processes" in log and "race: rung" not in log and "stand-alone network" not in log


def wait_until(condition, process):
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


def figures_of(found):
    """A race's result without what a clock says."""
    rungs = [[{**rung, "seconds": 0} for rung in row["rungs"]] for row in found["entrants"]]
    history = [[{"loss": e["loss"], "val_loss": e["val_loss"]} for e in row["history"]] for row in found["entrants"]]
    return rungs, history, found["gains"], found["verdict"], found["tau"]


def start(command, file, folder, tuner_id=None, *arguments):
    """A process of one thread that runs a command, alone or as a member of several."""
    role = {} if tuner_id is None else variables(tuner_id, 8300)
    own = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1", **role}
    line = [sys.executable, "-m", "scarlet_tf", command, str(file), "--run-dir", str(folder), *arguments]
    return subprocess.Popen(line, env=os.environ | own, stdout=subprocess.DEVNULL)


def scarlet(command, file, folder, *arguments):
    assert start(command, file, folder, None, *arguments).wait() == 0


# -- entrants and refusals, without trainings


SPACE = config().space  # choices: E2K3, E3K3, skip; two layers, the second with a shortcut


def cost(choices):
    return cost_table(SPACE, 8, 10).count_one(choices)[0]


def front(*choices):
    found = [
        Candidate(Architecture(one, SPACE), 0.9 - i / 10, *cost_table(SPACE, 8, 10).count_one(one))
        for i, one in enumerate(choices)
    ]
    return SearchResult(found, found[:1], ["0"], [0.5], len(found))


@pytest.fixture
def raced(tmp_path, monkeypatch):
    """`raced(found, **changes)` gives what `race_networks` hands to the race: names with choices and scores, and notes."""
    called = []
    monkeypatch.setattr(racing, "run_race", lambda course, *arguments: called.append((course, *arguments)))
    monkeypatch.setattr(racing, "trained_supernet", lambda run: (None, None))
    monkeypatch.setattr(
        scoring, "Evaluator", lambda *arguments, **options: types.SimpleNamespace(evaluate=lambda a: {"accuracy": 0.25})
    )

    def run(found, **changes):
        racing.race_networks(Run(config(**changes), tmp_path), found)
        run.course, entrants, _, notes = called.pop()
        return {one.name: (one.choices, one.score) for one in entrants}, notes

    return run


def test_finalists_and_rivals_of_a_front(raced):
    entrants, notes = raced(
        front((1, 0), (0, 0), (0, 1), (2, 0)), race={"finalists": 2, "rivals": ["uniform", "random"]}
    )
    assert entrants["uniform"] == ("1,1", 0.25)  # scored as the search scores
    assert (entrants["finalist_1"], entrants["finalist_2"]) == (("1,0", 0.9), ("0,0", 0.8))
    assert set(entrants) == {"finalist_1", "finalist_2", "uniform", "random"} and notes == []


def test_a_rival_that_the_search_found_races_as_a_rival(raced):
    entrants, _ = raced(front((1, 1), (0, 0)), race={"finalists": 1, "rivals": ["uniform"]})
    assert entrants == {"finalist_1": ("0,0", 0.8), "uniform": ("1,1", 0.9)}


def test_more_finalists_than_networks_are_said(raced, caplog):
    entrants, notes = raced(front((1, 0), (0, 0)), race={"finalists": 9, "rivals": ["uniform"]})
    assert set(entrants) == {"finalist_1", "finalist_2", "uniform"}
    assert notes == [
        "race.finalists: 9 were asked for, 2 race: the search found no more within the bounds that are no rivals"
    ]
    assert f"race: {notes[0]}" in caplog.messages


def test_a_budget_that_only_the_network_of_skips_meets(raced):
    limit = {"multiply_adds": cost((2, 2)) + 1}
    entrants, notes = raced(
        front((2, 2)), search={"upper_bounds": limit}, race={"finalists": 2, "rivals": ["uniform", "deepest", "random"]}
    )
    assert entrants == {"finalist_1": ("2,2", 0.9)}
    assert notes[-1] == "there is no rival: the bounds leave no other network"


def test_finalists_keep_the_bounds_of_a_named_pick(raced):
    picks = {"small": {"multiply_adds": cost((0, 1))}}
    entrants, _ = raced(
        front((1, 0), (0, 0), (0, 2)),
        search={"picks": picks},
        retrain={"pick": "small"},
        race={"finalists": 2, "rivals": ["uniform"]},
    )
    assert entrants == {"finalist_1": ("0,2", 0.7), "uniform": ("0,0", 0.8)}


def test_networks_that_the_race_may_propose_keep_every_bound(raced):
    """The first bound leaves eight of the nine networks, of which three were trained; the second one those that were."""
    upper = {"multiply_adds": cost((1, 0)) + 1}
    raced(front((0, 0), (0, 2)), search={"upper_bounds": upper}, race={"finalists": 1, "rivals": ["uniform"]})
    known = {Architecture(one, SPACE): accuracy for one, accuracy in (((0, 0), 0.6), ((0, 2), 0.4), ((0, 1), 0.9))}
    found = raced.course.propose(known)
    assert found not in known and cost(found.choices) < upper["multiply_adds"]
    tight = {"multiply_adds": cost((0, 1)) + 1}
    raced(front((0, 0), (0, 2)), search={"upper_bounds": tight}, race={"finalists": 1, "rivals": ["uniform"]})
    met = [g for g in np.ndindex(3, 3) if cost(g) < tight["multiply_adds"]]
    assert raced.course.propose(dict.fromkeys([Architecture(g, SPACE) for g in met], 0.5)) is None


def test_a_front_without_rivals_says_what_is_missing(raced):
    _, notes = raced(front((1, 0), (0, 0)), race={"finalists": 2, "rivals": []})
    assert notes == ["there is no rival, so the race does not say what the search was worth"]


def test_the_race_of_another_search_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(racing, "_scored", lambda run, opposed, scores: opposed)
    folder, _ = finished
    shutil.copytree(folder / "race", tmp_path / "race")
    (tmp_path / "race" / "result.json").unlink()
    other = front((1, 0), (0, 0))
    with pytest.raises(InputError, match=r"race: it belongs to another race: (networks|context): expected"):
        racing.race_networks(Run(config(), tmp_path), other)


def test_a_run_of_an_earlier_version_does_not_race_again(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "race")
    run = Run(config(), tmp_path / "run")
    assert stages.is_done(run, stages.STAGES["race"])
    assert runs.run_all(config(), tmp_path / "run")["retrained"]
    assert not (tmp_path / "run" / "race").exists()
    assert "Unfinished" not in (tmp_path / "run" / "report.html").read_text()


def test_a_race_that_was_stopped_goes_on_until_a_network_was_retrained(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "race" / "result.json"
    write_result(path, {**read_json(path), "stopped": "max_hours"})
    with pytest.raises(InputError, match=r"continue the race in a copy of the folder without retrain/ and export/"):
        runs.run_stage("race", config(), tmp_path / "run")
    for name in ("retrain", "export"):
        shutil.rmtree(tmp_path / "run" / name)
    assert "stopped" not in runs.run_stage("race", config(), tmp_path / "run")
