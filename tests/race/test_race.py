"""Races: the real one of two small networks; and, with a training that takes no time, who is dropped, resumed and delivered."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from tiny import images_and_labels, tiniest_space, tiny_space

import scarlet_tf as st
from local_cluster import variables
from scarlet_tf.base import cluster
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import load_network
from scarlet_tf.race import course
from scarlet_tf.race import race as module
from scarlet_tf.race.race import race

TRAINING = {
    "epochs": 4,
    "batch_size": 10,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "warmup_epochs": 0,
    "ema": 0.9,
    "recalibration_batches": 0,
}


def test_a_network_is_trained_as_if_it_had_been_alone(tmp_path, rng):
    """The first rung ends inside an epoch; the weights at the end are those of one training, bit by bit."""
    data, network = images_and_labels(rng, 40), st.Architecture((0,), tiniest_space())
    settings = {"race_config": {"rungs": [0.4, 1]}, "num_classes": 5}
    found = race([network], data, data, TRAINING, tmp_path, **settings)
    assert found.goals == (7, 16) and found.steps_per_epoch == 4
    [row] = found.entrants
    assert [rung["steps"] for rung in row["rungs"]] == [7, 16]
    assert [epoch["epoch"] for epoch in row["history"]] == [0, 1, 2, 3]
    alone, figures = st.retrain(network, data, data, TRAINING, num_classes=5)
    raced = load_network(tmp_path / "race" / "finalist_1" / "retrain" / "model.keras")
    for ours, theirs in zip(raced.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert row["rungs"][-1]["loss"] == figures["validation"]["loss"]
    assert race([network], data, data, TRAINING, tmp_path, **settings) == found  # nothing is trained again


# -- with a training that takes no time

SPACE = tiny_space()
NAMES = ("finalist_1", "finalist_2", "finalist_3", "finalist_4", "uniform", "deepest", "random")
# Accuracy after each rung; a network that was dropped would have had the last one.
ACCURACIES = {
    "finalist_1": (0.50, 0.60, 0.70),
    "finalist_2": (0.40, 0.50, 0.60),
    "finalist_3": (0.55, 0.65, 0.80),
    "finalist_4": (0.52, 0.70, 0.75),
    "uniform": (0.30, 0.20, 0.50),
    "deepest": (0.45, 0.40, 0.66),
    "random": (0.10, 0.10, 0.10),
}
GOALS = (5, 10, 20)


class Trainer:
    """Stands in for `retrain`: its accuracies are those of a table; `breaks`: the calls that a kill ends, and when."""

    def __init__(self, accuracies=ACCURACIES, breaks=(), loss=lambda accuracy: 1.0):
        self.accuracies, self.breaks, self.calls, self.loss = accuracies, dict(breaks), [], loss

    def __call__(self, network, train, validation, config, run_dir, part, **options):
        name, folder = run_dir.name, run_dir / "retrain"
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "step.json"
        step = json.loads(state.read_text()) if state.exists() else 0
        self.calls.append((name, step))
        kill = self.breaks.get(len(self.calls))
        while step < GOALS[-1] and not part.pause(step):
            step += 1
            if kill == "within":
                state.write_text(json.dumps(step))
                raise KeyboardInterrupt
        state.write_text(json.dumps(step))
        (folder / "checkpoint-000000001.npz").touch()
        if kill == "behind":
            raise KeyboardInterrupt
        rung = max([i for i, goal in enumerate(GOALS) if step >= goal], default=0)
        accuracy = self.accuracies[name][rung]
        found = {"accuracy": accuracy, "loss": self.loss(accuracy), "num_examples": 40}
        history = [{"epoch": i, "val_accuracy": 0.1 * i} for i in range(step // 5)]
        return None, {"history": history, "validation": found, "steps": step}


@pytest.fixture
def raced(tmp_path, monkeypatch, rng):
    """`raced(trainer, ...)` runs a race of the seven networks in one folder."""
    data = images_and_labels(rng, 50)
    hits = {name: np.arange(100) % 10 < 10 * accuracies[-1] for name, accuracies in ACCURACIES.items()}
    monkeypatch.setattr(module.gc, "collect", lambda: 0)  # a quarter of a second with the heap of all tests
    monkeypatch.setattr(course, "hits", lambda of, entrant, split: hits[entrant.name])
    networks = {name: st.Architecture((i // 4, i % 4, 0, 0), SPACE) for i, name in enumerate(NAMES)}

    def run(trainer, names=NAMES, **options):
        monkeypatch.setattr(module, "retrain", trainer)
        found = {name: networks[name] for name in names}
        kinds = [{n: a for n, a in found.items() if n.startswith("finalist") == wanted} for wanted in (True, False)]
        settings = {"num_classes": 5, "rivals": kinds[1], "test_data": data, **options}
        return race(kinds[0], data, data, {**TRAINING, "epochs": 4}, tmp_path, **settings)

    return run


def without_seconds(found):
    text = json.dumps(module.to_json(found))
    return [part for part in text.split(", ") if "seconds" not in part]


def test_the_worse_half_ends_and_the_best_of_each_kind_stays(raced, tmp_path, caplog):
    caplog.set_level("INFO")
    trainer = Trainer()
    found = raced(trainer)
    assert found.goals == GOALS
    dropped = {row["name"]: row["dropped"] for row in found.entrants}
    # 7: the better four are 3, 4, 1 and deepest. Then 4 and 3, and deepest, the best rival.
    assert dropped == {
        "finalist_1": 2,
        "finalist_2": 1,
        "finalist_3": None,
        "finalist_4": None,
        "uniform": 1,
        "deepest": None,
        "random": 1,
    }
    assert found.winner == "finalist_3" and not found.is_upset and found.stopped is None
    assert [name for name, step in trainer.calls if step == 10] == ["finalist_4", "finalist_3", "deepest"]
    assert [row["against"] for row in found.gains] == ["deepest"]
    assert found.gains[0]["gain"] == pytest.approx(0.8 - 0.7)
    assert found.verdict == ("better than the deepest network by 10.0 points (3.7 to 15.9)",)
    assert [row["name"] for row in found.table][:3] == ["finalist_3", "finalist_4", "deepest"]
    assert "race: dropped after rung 2 of 3: finalist 1 of the search" in caplog.messages
    kept = {path.parts[-3] for path in tmp_path.rglob("checkpoint-*.npz")}
    assert kept == {"finalist_3", "finalist_4", "deepest"}  # what was dropped is not continued
    assert any(
        "7 networks in 3 rungs, at least 15 epochs in all, 3.75 times the 4 of one" in m for m in caplog.messages
    )
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "50 validation images can hardly tell networks apart that differ by less than 8.8 points" in warning
    assert "for 2 points about 967 are needed" in warning and warning.split(" (data.")[0].endswith(found.notes[0])


def test_the_smallest_loss_decides_before_the_accuracy(raced):
    found = raced(Trainer(loss=lambda accuracy: accuracy))  # the least accurate ones have the smallest loss
    assert found.winner == "random" and {row["name"] for row in found.entrants if row["dropped"] == 1} == {
        "finalist_1",
        "finalist_3",
        "finalist_4",
    }
    assert [row["name"] for row in found.table][:2] == ["random", "uniform"]


def test_a_rival_that_wins_is_delivered_and_it_is_said(raced):
    accuracies = {**ACCURACIES, "uniform": (0.9, 0.9, 0.9)}
    found = raced(Trainer(accuracies))
    assert found.winner == "uniform" and found.is_upset
    assert found.verdict[0] == "a rival won the race, the uniform network, and is delivered"
    assert [row["against"] for row in found.gains] == ["finalist_4"]  # the best of the search in the last rung


def test_the_best_of_the_search_stays_behind_better_rivals(raced):
    accuracies = {**ACCURACIES, "uniform": (0.9, 0.9, 0.9), "deepest": (0.8, 0.8, 0.8)}
    found = raced(Trainer(accuracies))
    assert {row["name"] for row in found.entrants if row["dropped"] is None} == {"uniform", "deepest", "finalist_4"}
    assert [row["against"] for row in found.gains] == ["finalist_4", "deepest"]


def test_a_winner_that_is_still_learning_is_said_to_be(raced, tmp_path, monkeypatch):
    class Learner(Trainer):
        def __call__(self, *arguments, **options):
            model, found = super().__call__(*arguments, **options)
            found["history"][-1:] = [{**row, "accuracy": 0.75} for row in found["history"][-1:]]
            return model, found

    found = raced(Learner())
    assert found.winner == "finalist_3"
    assert found.verdict[-1].startswith(
        "the winner may have been still learning: it recognises 75.00 % of the training images"
    )
    assert len(found.verdict) == 2


def as_member(monkeypatch, tuner_id):
    for name, value in variables(tuner_id, 8300).items():
        monkeypatch.setenv(name, value)


def test_workers_train_and_their_chief_delivers(raced, monkeypatch, tmp_path):
    """A worker does what nobody else does, and writes no result; the chief trains nothing and finds it all done."""
    as_member(monkeypatch, "worker-0")
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"result\.json: expected from the chief"):
        raced(trainer := Trainer())
    assert [step for _, step in trainer.calls] == [0] * 7 + [5] * 4 + [10] * 3
    as_member(monkeypatch, "chief")
    found = raced(chief := Trainer())
    assert found.winner == "finalist_3" and not chief.calls and found.gains
    assert raced(Trainer()) == found
    as_member(monkeypatch, "worker-1")
    assert raced(late := Trainer()) == found and not late.calls


def test_a_limit_on_the_hours_is_refused_where_processes_share(raced, monkeypatch):
    as_member(monkeypatch, "worker-0")
    with pytest.raises(InputError, match="max_hours: expected none where a chief and its workers share"):
        raced(Trainer(), max_hours=1)
    with pytest.raises(InputError, match=r"race\.max_hours: expected none where a chief and its workers share"):
        raced(Trainer(), race_config={"max_hours": 2})


@pytest.mark.parametrize("moment", ["within", "behind"])
@pytest.mark.parametrize("call", [1, 7, 8, 13])
def test_a_race_that_is_killed_anywhere_goes_on_exactly(raced, call, moment, tmp_path):
    trainer = Trainer(breaks={call: moment})
    with pytest.raises(KeyboardInterrupt):
        raced(trainer)
    found = raced(later := Trainer())
    assert later.calls[0][0] == trainer.calls[-1][0]  # the network that was in training
    shutil.rmtree(tmp_path)
    assert without_seconds(found) == without_seconds(raced(Trainer()))


def test_the_time_limit_gives_the_best_so_far_and_can_be_lifted(raced, monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: clock["now"])

    class Slow(Trainer):
        def __call__(self, *arguments, part, **options):
            def pause(step):
                clock["now"] += 1  # a second a step
                return part.pause(step)

            return super().__call__(*arguments, part=module.Part(part.label, pause), **options)

    found = raced(Slow(), max_hours=60 / 3600)  # 7 x 6 steps and a part of the second rung
    assert (found.stopped, found.winner, found.gains) == ("max_hours", "finalist_3", ())
    assert found.verdict == (
        "the race was ended by its limit on hours before its last rung, so nothing is known about the rivals",
    )
    whole = raced(Trainer())
    assert whole.stopped is None and whole.winner == "finalist_3" and whole.gains
    assert raced(Trainer(), race_config={"max_hours": 1e-9}) == whole  # nothing was left to do


def test_before_any_rung_the_searchs_best_is_the_best_so_far(raced):
    found = raced(Trainer(), max_hours=1e-9)
    assert (found.winner, found.stopped) == ("finalist_1", "max_hours")
    assert found.table[0]["accuracy"] is None


def test_scores_and_the_races_own_trainings_give_tau(raced):
    """By hand: 1, 3 and 4 are ranked 3 > 4 > 1 by their trainings and 1 > 3 > 4 by their scores; 2 is last in both."""
    found = raced(Trainer(), scores=[0.9, 0.1, 0.8, 0.7])
    assert found.tau["networks"] == 4
    assert found.tau["tau"] == pytest.approx((4 - 2) / 6)


def test_one_network_alone_runs_all_rungs(raced):
    found = raced(Trainer(), names=("finalist_1",))
    assert (found.winner, found.gains, found.verdict, found.tau) == ("finalist_1", (), (), None)


def test_a_folder_of_another_race_is_refused(raced, tmp_path):
    raced(Trainer())
    with pytest.raises(InputError, match="it belongs to another race: networks: expected"):
        raced(Trainer(), names=NAMES[:-1])
    with pytest.raises(InputError, match="it belongs to another race: race: expected"):
        raced(Trainer(), race_config={"rungs": [0.5, 1]})
    with pytest.raises(InputError, match="it belongs to another race: context: expected other"):
        raced(Trainer(), context="other")
    path = tmp_path / "race" / "uniform" / "rungs.json"
    path.write_text(path.read_text().replace("0.3", "0.9"))  # damaged: measured again
    assert raced(Trainer()).row("uniform")["rungs"][0]["accuracy"] == 0.3


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ([], {}, "race: expected at least one network"),
        ({"a/b": None}, {}, "names of letters, digits and _, got \\['a/b'\\]"),
        ({"a": None}, {"rivals": {"a": None}}, "race: expected at least one network, and names"),
        ({"a": None}, {"scores": [0.1, 0.2]}, "scores: expected one for each of the 1 candidates, got 2"),
        ({"a": None}, {"race_config": {"rungs": []}}, "race.rungs"),
    ],
)
def test_bad_arguments_are_refused(candidates, options, message, tmp_path, rng):
    data = images_and_labels(rng, 20)
    with pytest.raises(InputError, match=message):
        race(candidates, data, data, TRAINING, tmp_path, **options)
    assert not pathlib.Path(tmp_path, "race").exists()
