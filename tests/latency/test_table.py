"""Tables: made from fake measurements, interrupted and continued; a part and a network by LiteRT itself."""

import json

import numpy as np
import pytest
from fake_adb import FakeAdb
from fake_runner import FakeRunner, content
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.latency import table as table_module
from scarlet_tf.latency.adb import AdbRunner
from scarlet_tf.latency.table import build_latency_table, choose_networks, table_runner
from scarlet_tf.latency.timing import HostRunner
from scarlet_tf.space.metric_table import MetricTable, parts

SPACE = tiny_space()


@pytest.fixture
def truth(monkeypatch):
    """Parts take what is drawn for them, whole networks a quarter more than their parts and 0.2 ms; nothing is converted."""
    rng = np.random.default_rng(0)
    times = {key: rng.uniform(0.5, 1.5) for key, _, _ in parts(SPACE, 32, 10)}
    table = MetricTable(SPACE, 32, 10, ["latency_ms"], {key: [value] for key, value in times.items()})
    keys = {repr((about, size)): key for key, about, size in parts(SPACE, 32, 10)}

    def of_network(one, *_):
        return content(0.01 + 1.25 * table.sums([one.choices])["latency_ms"][0] + 0.2)

    def of_part(space, about, size, *_):
        return content(0.01 + times[keys[repr((about, size))]], 1100)

    monkeypatch.setattr(table_module, "idle_content", lambda: content(0.01))
    monkeypatch.setattr(table_module, "part_content", of_part)
    monkeypatch.setattr(table_module, "network_content", of_network)
    return table


def test_without_networks_entries_are_the_parts_without_what_nothing_takes(truth, tmp_path):
    table = build_latency_table(SPACE, tmp_path / "t.json", 32, 10, runner=FakeRunner(), networks=0)
    for key, (milliseconds, size) in table.entries.items():
        assert milliseconds == pytest.approx(truth.entries[key][0], abs=1e-6) and size == 1000
    assert "calibration" not in table.details and table.details["measured"]["idle"] == [0.01, 0.01, 7]


def test_networks_measured_whole_correct_the_table(truth, tmp_path, rng):
    table = build_latency_table(SPACE, tmp_path / "t.json", 32, 10, runner=FakeRunner(), networks=8)
    choices = rng.integers(SPACE.num_choices, size=(50, SPACE.num_layers))
    expected = 1.25 * truth.sums(choices)["latency_ms"] + 0.21
    predicted = table.sums(choices)["latency_ms"]
    assert np.median(np.abs(predicted / expected - 1)) < 0.02
    report = table.details["calibration"]
    assert len(report["networks"]) == 8 and report["left_out"]["median_absolute_error"] < 0.03
    assert report["sum"]["median_absolute_error"] > 0.15
    assert MetricTable.load(tmp_path / "t.json", SPACE).to_dict() == table.to_dict()
    assert not (tmp_path / "t.json.partial").exists()


def test_a_table_that_was_interrupted_is_continued(truth, tmp_path):
    whole = build_latency_table(SPACE, tmp_path / "whole.json", 32, 10, runner=FakeRunner(), passes=2)
    with pytest.raises(KeyboardInterrupt):
        build_latency_table(SPACE, tmp_path / "t.json", 32, 10, runner=FakeRunner(stop_after=20), passes=2)
    with pytest.raises(
        InputError, match=r"t\.json\.partial: it was begun with another num_classes: expected 9, found 10"
    ):
        build_latency_table(SPACE, tmp_path / "t.json", 32, 9, runner=FakeRunner())
    rest = FakeRunner()
    found = build_latency_table(SPACE, tmp_path / "t.json", 32, 10, runner=rest, passes=2)
    assert found.to_dict() == whole.to_dict()
    assert len(rest.seen) == 2 * (len(whole.details["measured"]) + 10) - 16  # two batches of 8 were kept


def test_networks_reach_from_the_cheap_to_the_dear_and_differ():
    chosen = choose_networks(SPACE, 32, 10, 6)
    costs = [one.lower((32, 32, 3), 10) for one in chosen]
    assert len(set(chosen)) == 6 and len(costs[0].blocks) < len(costs[-1].blocks)
    assert chosen == choose_networks(SPACE, 32, 10, 6) and choose_networks(SPACE, 32, 10, 0) == []
    assert len(choose_networks(tiny_space(stages=SPACE.stages[:1]), 32, 10, 100)) == SPACE.num_choices**2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threads": 0}, "threads: expected an integer >= 1, got 0"),
        ({"quantization": "int4"}, "quantization: expected one of none, float16, dynamic, int8, full_int8, got 'int4'"),
        ({"networks": -1}, "networks: expected an integer >= 0, got -1"),
        ({"passes": 0}, "passes: expected an integer >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        build_latency_table(SPACE, tmp_path / "t.json", 32, 10, **options)


def test_litert_measures_a_space_of_one_layer(tmp_path):
    space = tiny_space(stages=(SPACE.stages[0].__class__(12, 1, 2),), choices=SPACE.choices[1:])
    table = build_latency_table(space, tmp_path / "t.json", 8, 5, passes=2, networks=2)
    assert table.bounds["latency_ms"][0] > 0 and table.device["threads"] == 1
    assert all(runs >= 3 for _, _, runs in table.details["measured"].values())
    # A skip's stride is taken over by the convolution behind it: it takes nothing and has no bytes.
    assert [values for key, values in table.entries.items() if key.startswith("identity")] == [[0.0, 0.0]]
    json.dumps(table.to_dict(), allow_nan=False)


def table_of(device):
    return MetricTable(SPACE, 32, 10, ["latency_ms"], {key: [1.0] for key, _, _ in parts(SPACE, 32, 10)}, device)


def test_a_table_of_this_host_is_measured_here_with_its_threads(caplog):
    runner = table_runner(table_of(HostRunner(2, "int8").device))
    assert isinstance(runner, HostRunner) and runner.threads == 2 and not caplog.records


def test_a_table_of_another_device_is_passed_over_with_one_warning(caplog):
    assert table_runner(table_of({"model": "Phone 9", "threads": 1})) is None
    assert len(caplog.records) == 1 and "another device" in caplog.text and "Phone 9" in caplog.text


def test_a_phones_table_is_measured_over_adb_on_that_phone_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(FakeAdb(tmp_path / "bin").folder))
    device, adb = AdbRunner(threads=4).device, {"serial": None, "benchmark_model": None}
    assert table_runner(table_of(device), adb).device == device
    with pytest.raises(InputError, match=r"--adb: expected the device of table, .*Phone 8.*, got .*Phone 9"):
        table_runner(table_of({**device, "model": "Phone 8"}), adb)
