"""The study of what races deliver: its comparison by hand, what it counts, and a whole row of a small task."""

import json
import sys
import types
from unittest import mock

import numpy as np
import pytest

import study_delivered as study
from measuring import Rows
from scarlet_tf.config import load_config


def test_gains_are_means_over_seeds_and_intervals_over_all_their_images(tmp_path):
    rows = []
    for seed, (ours, theirs) in enumerate([([1, 1, 1, 0], [1, 0, 0, 0]), ([1, 1, 0, 0], [1, 1, 0, 0])]):
        folder = tmp_path / f"digits-{seed}"
        folder.mkdir()
        for way, hits, spent in (("race", ours, 10.0), ("uniform", theirs, 5.0 * (seed + 1))):
            np.save(folder / f"{way}.npy", np.array(hits, bool))
            rows.append({"task": "digits", "seed": seed, "way": way, "top1": np.mean(hits), "spent": spent})
    [found] = study.compared(rows, tmp_path)
    assert found["task"] == "digits" and found["way"] == "uniform" and found["seeds"] == 2
    assert (found["race"], found["rival"], found["gain"]) == (62.5, 37.5, 25.0)
    assert found["deviation"] == pytest.approx(35.36) and found["spent"] == 0.75
    # 2 of 8 images by the race alone, none by the rival alone: half an image more in each cell (Agresti and Min).
    middle = 2 / 10
    half = 1.959964 * np.sqrt((3 / 10 - middle**2) / 10)
    assert found["paired"] == [round(100 * (middle - half), 2), round(100 * (middle + half), 2)]
    assert study.compared(rows[:1], tmp_path) == []


def test_tasks_are_recipes_with_changes(tmp_path):
    options = types.SimpleNamespace(out=str(tmp_path), data="", set=["retrain.epochs=3"])
    with mock.patch.object(study, "animals", lambda options: tmp_path):
        for task, (name, changes) in study.TASKS.items():
            found, plain = study.recipe(task, 7, options), load_config(study.CONFIGS / name, [])
            assert found.seed == 7 and found.retrain.epochs == 3 and found.races
            assert found.space.stages == plain.space.stages
            for key in changes:
                assert key.partition(".")[0] in ("data", "supernet", "search", "retrain"), key


@pytest.mark.slow
def test_all_ways_of_a_small_task(tmp_path, capsys, monkeypatch):
    """Compute is what was trained: a training of one network counts its steps, images and multiply-adds three times."""
    changes = ["supernet.epochs=1", "search.generations=2", "race.rungs=[0.5,1]", "race.finalists=1"]
    changes += ["race.rivals=[uniform]", "retrain.epochs=2", "retrain.warmup_epochs=0", "data.max_train_examples=320"]
    arguments = ["study", "--out", str(tmp_path), "--tasks", "digits", "--seeds", "0", "--ways", "pick", "uniform"]
    monkeypatch.setattr(study, "use_threads", lambda threads: None)
    with mock.patch.object(sys, "argv", [*arguments, "pick_longer", "--set", *changes]):
        study.main()
        first = capsys.readouterr().out.splitlines()[-1]
        study.main()  # nothing is computed again
        assert capsys.readouterr().out.splitlines()[-1] == first
    rows = {row["way"]: row for row in Rows(tmp_path / "results.jsonl")}
    assert set(rows) == {"race", "pick", "uniform", "pick_longer"} and rows["race"]["entrant"] in (
        "finalist_1",
        "uniform",
    )
    assert rows["race"]["top1"] == rows["pick" if rows["race"]["entrant"] == "finalist_1" else "uniform"]["top1"]
    assert rows["uniform"]["spent"] == 3 * 2 * 320 * rows["uniform"]["multiply_adds"]
    both = 3 * 2 * 320 * (rows["pick"]["multiply_adds"] + rows["uniform"]["multiply_adds"])
    searched = rows["race"]["spent"] - both
    assert searched > 0 and rows["pick"]["spent"] == pytest.approx(searched + both - rows["uniform"]["spent"])
    assert rows["pick_longer"]["epochs"] == round(both / (3 * 320 * rows["pick"]["multiply_adds"]))
    found = json.loads(first)
    assert [row["way"] for row in found["gains"]] == ["pick", "uniform", "pick_longer"]
    network = json.loads((tmp_path / "digits-0" / "race" / "result.json").read_text())["entrants"][0]
    assert network["multiply_adds"] == rows["pick"]["multiply_adds"]
