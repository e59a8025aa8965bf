"""A run's latencies: whose table it is, and what the certificate says of the exported file."""

import types

import pytest
from fake_adb import FakeAdb
from fake_runner import FakeRunner, content
from tiny import tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.export.adb import AdbRunner
from scarlet_tf.export.runners import HostRunner
from scarlet_tf.files import write_json
from scarlet_tf.metric_table import MetricTable, parts
from scarlet_tf.pipeline import latency
from scarlet_tf.pipeline.latency import check_adb, latency_details, latency_runner, latency_table
from scarlet_tf.space import Architecture

SPACE = tiny_space()


def new_table(device, metric="latency_ms"):
    return MetricTable(SPACE, 32, 10, [metric], {key: [1.0] for key, _, _ in parts(SPACE, 32, 10)}, device)


@pytest.fixture
def run(tmp_path):
    new_table({"runtime": "fake", "quantization": "int8"}).save(tmp_path / "t.json")
    search = types.SimpleNamespace(table=str(tmp_path / "t.json"))
    (tmp_path / "export").mkdir()
    return types.SimpleNamespace(
        config=types.SimpleNamespace(search=search, space=SPACE, data=types.SimpleNamespace(image_size=32)),
        data=types.SimpleNamespace(num_classes=10),
        adb=None,
        front=tmp_path / "pareto.json",
        export_folder=tmp_path / "export",
    )


def test_a_table_of_this_host_is_measured_here_with_its_threads(run, caplog):
    runner = latency_runner(run, new_table(HostRunner(2, "int8").device))
    assert isinstance(runner, HostRunner) and runner.threads == 2 and not caplog.records


def test_a_table_of_another_device_is_passed_over_with_one_warning(run, caplog):
    assert latency_runner(run, new_table({"model": "Phone 9", "threads": 1})) is None
    assert len(caplog.records) == 1 and "another device" in caplog.text and "Phone 9" in caplog.text


def test_a_phones_table_is_measured_over_adb_on_that_phone_alone(run, tmp_path, monkeypatch):
    adb = FakeAdb(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(adb.folder))
    run.adb = {"serial": None, "benchmark_model": None}
    device = AdbRunner(threads=4).device
    assert latency_runner(run, new_table(device)).device == device
    with pytest.raises(InputError, match=r"--adb: expected the device of table, .*Phone 8.*, got .*Phone 9"):
        latency_runner(run, new_table({**device, "model": "Phone 8"}))


def test_a_missing_phone_or_table_is_found_before_anything_is_trained(run, tmp_path, monkeypatch):
    check_adb(run)  # without --adb nothing is asked for
    run.adb = {"serial": "PHONE2", "benchmark_model": None}
    monkeypatch.setenv("PATH", str(FakeAdb(tmp_path / "bin").folder))
    with pytest.raises(InputError, match=r"--adb: expected the serial of one of the devices PHONE1, got 'PHONE2'"):
        check_adb(run)
    run.config.search.table = None
    with pytest.raises(InputError, match=r"--adb: expected a table with latency_ms as search\.table, got None"):
        check_adb(run)


def test_only_a_table_with_latencies_counts(run, tmp_path):
    assert latency_table(run).device["runtime"] == "fake"
    new_table({}, "energy").save(run.config.search.table)
    assert latency_table(run) is None
    run.config.search.table = None
    assert latency_table(run) is None and latency_details(run, Architecture((0, 0, 0, 0), SPACE)) == {}


def test_the_certificate_has_predicted_corrected_and_measured(run, monkeypatch):
    architecture, runner = Architecture((0, 0, 3, 3), SPACE), FakeRunner(slow=1.0)
    monkeypatch.setattr(latency, "latency_runner", lambda run, table: runner)
    write_json(run.front, {"picks": [], "pareto": []})
    assert latency_details(run, architecture) == {}  # the table is of int8 files, and there is none
    (run.export_folder / "model_int8.tflite").write_bytes(content(5.0))
    assert latency_details(run, architecture)["latency"] == {
        "file": "model_int8.tflite",
        "device": {"runtime": "fake"},
        "table": latency_table(run).fingerprint,
        "predicted_ms": 4.0,
        "measured_ms": 5.0,  # the fastest pass
        "deviation_ms": 0.01,
        "runs": 7,
        "error": -0.2,
    }
    row = {"architecture": architecture.to_string(), "latency_ms": 5.5}
    write_json(run.front, {"measured": {}, "picks": [], "pareto": [row]})
    runner.seen.clear()
    found = latency_details(run, architecture)["latency"]
    assert (found["corrected_ms"], found["error"]) == (5.5, 0.1)


def test_a_network_that_was_scaled_is_measured_and_compared_with_no_prediction(run, monkeypatch):
    monkeypatch.setattr(latency, "latency_runner", lambda run, table: FakeRunner(slow=1.0))
    (run.export_folder / "model_int8.tflite").write_bytes(content(5.0))
    assert latency_details(run, None)["latency"] == {
        "file": "model_int8.tflite",
        "device": {"runtime": "fake"},
        "measured_ms": 5.0,
        "deviation_ms": 0.01,
        "runs": 7,
    }
