"""A run's latencies: whose table it is, when finalists are measured, and what the certificate says of the exported file."""

import types

import pytest
from fake_adb import FakeAdb
from fake_runner import FakeRunner, content
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.run import exporting, methods
from scarlet_tf.run.exporting import latency_details
from scarlet_tf.run.methods import check_adb, correct_latencies, latency_table
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture

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
        export_folder=tmp_path / "export",
    )


def network(*choices, scaling=None):
    return types.SimpleNamespace(architecture=Architecture(choices, SPACE), scaling=scaling, input_size=None)


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
    assert latency_table(run) is None and latency_details(run, network(0, 0, 0, 0), None) == {}


def test_the_certificate_has_predicted_corrected_and_measured(run, monkeypatch):
    exported, runner = network(0, 0, 3, 3), FakeRunner(slow=1.0)
    monkeypatch.setattr(exporting, "table_runner", lambda table, adb: runner)
    front = SearchResult([], [], [], [], 0)
    assert latency_details(run, exported, front) == {}  # the table is of int8 files, and there is none
    (run.export_folder / "model_int8.tflite").write_bytes(content(5.0))
    assert latency_details(run, exported, front)["latency"] == {
        "file": "model_int8.tflite",
        "device": {"runtime": "fake"},
        "table": latency_table(run).fingerprint,
        "predicted_ms": 4.0,
        "measured_ms": 5.0,  # the fastest pass
        "deviation_ms": 0.01,
        "runs": 7,
        "error": -0.2,
    }
    found = Candidate(exported.architecture, 0.5, 1, 1, {"latency_ms": 5.5})
    front = SearchResult([found], [], [], [], 0, details={"measured": {}})
    runner.seen.clear()
    found = latency_details(run, exported, front)["latency"]
    assert (found["corrected_ms"], found["error"]) == (5.5, 0.1)


def test_a_network_that_was_scaled_is_measured_and_compared_with_no_prediction(run, monkeypatch):
    monkeypatch.setattr(exporting, "table_runner", lambda table, adb: FakeRunner(slow=1.0))
    (run.export_folder / "model_int8.tflite").write_bytes(content(5.0))
    assert latency_details(run, network(0, 0, 3, 3, scaling=Scaling(1.4)), None)["latency"] == {
        "file": "model_int8.tflite",
        "device": {"runtime": "fake"},
        "measured_ms": 5.0,
        "deviation_ms": 0.01,
        "runs": 7,
    }


def test_without_table_finalists_or_device_the_result_stays_as_it_is(run, tmp_path, monkeypatch):
    run.folder, runner, result, measured = tmp_path, FakeRunner(), object(), []
    monkeypatch.setattr(methods, "table_runner", lambda table, adb: runner)
    monkeypatch.setattr(methods, "measure_finalists", lambda *arguments: measured.append(arguments) or "corrected")
    table, run.config.search.finalists = run.config.search.table, 0
    assert correct_latencies(run, result) is result
    run.config.search.finalists, run.config.search.table = 4, None
    assert correct_latencies(run, result) is result and not measured
    run.config.search.table = table
    assert correct_latencies(run, result) == "corrected"
    assert measured[0][3:] == (runner, tmp_path / "finalists.json", None)
    monkeypatch.setattr(methods, "table_runner", lambda table, adb: None)
    assert correct_latencies(run, result) is result and len(measured) == 1
