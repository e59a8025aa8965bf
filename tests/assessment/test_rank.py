"""The whole measurement on real digits, small: its files, its resumption, its refusals."""

import csv
import json
import math
import signal
import subprocess
import sys

import pytest
import yaml

from scarlet_tf import cli
from scarlet_tf.base.files import read_json
from scarlet_tf.config import load_config
from scarlet_tf.run import run_ranking

CONFIG = {
    "data": {"source": "digits", "image_size": 8, "max_train_examples": 300},
    "space": {
        "name": "tiny",
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "stages": [{"channels": 8, "depth": 1, "stride": 2}, {"channels": 12, "depth": 1}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"skip": True}],
        "tail_channels": 16,
    },
    "supernet": {"epochs": 2, "batch_size": 50, "learning_rate": 0.05},
    "search": {"upper_bounds": {"multiply_adds": "100k"}},
    "retrain": {"batch_size": 100, "optimizer": "sgd", "learning_rate": 0.05, "ema": 0.0},
    "ranking": {
        "architectures": 3,
        "strata": 2,
        "epochs": 2,
        "batch_size": 50,
        "warmup_epochs": 0,
        "recalibration_batches": 2,
    },
}


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return str(path)


def command(config_file, folder):
    return ["rank", config_file, "--run-dir", str(folder), "--json"]


@pytest.fixture(scope="module")
def interrupted_then_ended(config_file, tmp_path_factory):
    """(folder, figures, results that were there when the first process was killed, in its second network)."""
    folder = tmp_path_factory.mktemp("run")
    process = subprocess.Popen(
        [sys.executable, "-m", "scarlet_tf", *command(config_file, folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    told = []
    for line in process.stderr:
        told.append(line)
        if "(2 of 3)" in line:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "".join(told)
    before = {path: path.stat().st_mtime_ns for path in (folder / "ranking").glob("standalone-*/*-*.json")}
    return folder, run_ranking(load_config(config_file), folder), before


def test_every_network_is_measured_three_times(interrupted_then_ended):
    folder, figures, _ = interrupted_then_ended
    assert len(figures["networks"]) == len({row["architecture"] for row in figures["networks"]}) == 3
    assert [row["stratum"] for row in figures["networks"]] == [0, 0, 1]
    for row in figures["networks"]:
        for key in ("stand_alone", "one_shot_recalibrated", "one_shot_running", "one_shot_score"):
            assert 0 <= row[key] <= 1
        skips = row["architecture"].split(",").count("1")
        assert (row["one_shot_score"] < math.exp(-row["one_shot_loss"]) * 0.999) == (skips > 0)  # depth counts
    assert set(figures["tau"]) == {"recalibrated", "running", "loss", "score", "predicted"}
    assert figures["settings"]["training"]["epochs"] == 2
    assert figures == read_json(folder / "ranking/result.json")


def test_table_and_plot_are_written(interrupted_then_ended):
    folder, figures, _ = interrupted_then_ended
    with (folder / "ranking/ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["architecture"] for row in rows] == [row["architecture"] for row in figures["networks"]]
    assert [float(row["stand_alone"]) for row in rows] == [row["stand_alone"] for row in figures["networks"]]
    assert (folder / "ranking/ranking.png").read_bytes().startswith(b"\x89PNG")


def test_killed_between_networks_it_goes_on_with_the_second(interrupted_then_ended):
    folder, _, before = interrupted_then_ended
    results = list((folder / "ranking").glob("standalone-*/*-*.json"))
    assert len(before) == 1 and len(results) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert not list((folder / "ranking").rglob("checkpoint-*"))


def test_again_with_more_networks_the_known_ones_are_kept(interrupted_then_ended, config_file, capsys):
    folder, figures, _ = interrupted_then_ended
    times = {path: path.stat().st_mtime_ns for path in (folder / "ranking").glob("standalone-*/*-*.json")}
    assert cli.main([*command(config_file, folder), "--set", "ranking.architectures=4"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert more == read_json(folder / "ranking/result.json")
    assert len(more["networks"]) == 4  # the whole space
    known = {row["architecture"]: row["stand_alone"] for row in more["networks"]}
    assert all(known[row["architecture"]] == row["stand_alone"] for row in figures["networks"])
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert cli.main([*command(config_file, folder)[:-1]]) == 0
    assert "tau.recalibrated.tau" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ranking.architectures=5", "ranking.architectures: expected at most 4 (the space has 4 networks), got 5"),
        ("ranking.batch_size=301", "ranking.batch_size: expected at most the 300 training images, got 301"),
        ("ranking.warmup_epochs=2", "ranking.warmup_epochs: expected less than the 2 epochs of each network, got 2"),
        ("ranking.architecture=3", "ranking.architecture: unknown key; did you mean ranking.architectures?"),
        ("ranking.epochs=many", 'ranking.epochs: expected an integer >= 1 or null, got "many"'),
    ],
)
def test_bad_settings_are_refused_before_anything_is_trained(config_file, tmp_path, capsys, change, message):
    assert cli.main([*command(config_file, tmp_path / "run"), "--set", change]) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
    assert not (tmp_path / "run/supernet").exists()


def test_several_workers_are_refused(config_file, tmp_path, capsys, monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert cli.main(command(config_file, tmp_path / "run")) == 2
    assert "TF_CONFIG: rank runs in one process; unset it" in capsys.readouterr().err
