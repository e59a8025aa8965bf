"""adb: a stand-in for it notes what is called; no test here needs a device."""

import pathlib

import pytest
from fake_adb import FakeAdb
from fake_runner import content

from scarlet_tf.base.errors import InputError
from scarlet_tf.latency.adb import AdbRunner, parse_timings
from scarlet_tf.latency.measuring import Measurements
from scarlet_tf.latency.timing import Measurement


@pytest.fixture
def adb(tmp_path):
    return FakeAdb(tmp_path / "bin")


def test_files_are_pushed_together_run_one_by_one_and_removed(adb):
    runner = AdbRunner(threads=2, adb=str(adb.path))
    before = len(adb.calls)
    assert runner.measure([content(2.5), content(4.0)]) == [Measurement(2.5, 0.45, 50), Measurement(4.0, 0.45, 50)]
    push, first, second, remove = adb.calls[before:]
    assert push[2] == "push" and len(push) == 6 and push[-1] == "/data/local/tmp/scarlet/"
    assert first == [
        "-s",
        "PHONE1",
        "shell",
        "/data/local/tmp/benchmark_model --graph=/data/local/tmp/scarlet/0.tflite --num_threads=2 --warmup_runs=5"
        " --warmup_min_secs=0.05 --num_runs=20 --min_secs=0.1",
    ]
    assert "1.tflite" in second[-1]
    assert remove[-1] == "rm -f /data/local/tmp/scarlet/0.tflite /data/local/tmp/scarlet/1.tflite"
    assert all("pull" not in call for call in adb.calls)


def test_the_device_is_described_by_its_properties(adb):
    assert AdbRunner(quantization="int8", adb=str(adb.path)).device == {
        "manufacturer": "Example",
        "model": "Phone 9",
        "abi": "arm64-v8a",
        "android": "15",
        "threads": 1,
        "warm_up_runs": 5,
        "runtime": "benchmark_model at /data/local/tmp/benchmark_model",
        "quantization": "int8",
    }


def test_given_files_are_timed_though_they_share_a_name(adb, tmp_path):
    for name, milliseconds in (("a", 1.5), ("b", 3.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.tflite").write_bytes(content(milliseconds))
    runner = AdbRunner(adb=str(adb.path))
    found = runner.measure_files([tmp_path / "a" / "model.tflite", tmp_path / "b" / "model.tflite"])
    assert [one.milliseconds for one in found] == [1.5, 3.0] and runner.measure_files([]) == []
    with pytest.raises(InputError, match=r"c\.tflite: expected a \.tflite file, found none"):
        runner.measure_files([tmp_path / "c.tflite"])


def test_files_are_copied_where_links_are_not_allowed(adb, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(pathlib.Path, "symlink_to", refuse)
    (tmp_path / "model.tflite").write_bytes(content(1.5))
    assert [one.milliseconds for one in AdbRunner(adb=str(adb.path)).measure_files([tmp_path / "model.tflite"])] == [
        1.5
    ]


def test_a_local_program_is_pushed_and_known_by_its_contents(adb, tmp_path):
    adb.set(programs=[])
    program = tmp_path / "benchmark_model"
    program.write_bytes(b"\x7fELF")
    runner = AdbRunner(benchmark_model=program, adb=str(adb.path))
    assert (adb.folder / "pushed" / "benchmark_model").read_bytes() == b"\x7fELF"
    assert ["-s", "PHONE1", "shell", "chmod 755 /data/local/tmp/scarlet/benchmark_model"] in adb.calls
    assert runner.device["runtime"].startswith("benchmark_model ") and "at" not in runner.device["runtime"].split()
    runner.measure([content(1.0)])
    assert any(call[-1].startswith("/data/local/tmp/scarlet/benchmark_model --graph=") for call in adb.calls)


@pytest.mark.parametrize(
    "state, options, message",
    [
        ({"devices": {}}, {}, "adb: expected a device with USB debugging switched on, found none"),
        (
            {"devices": {"A": "device", "B": "device"}},
            {},
            "--adb: expected the serial of one of the devices A, B, got none",
        ),
        ({}, {"serial": "C"}, "--adb: expected the serial of one of the devices PHONE1, got 'C'"),
        (
            {"devices": {"PHONE1": "unauthorized"}},
            {},
            "device PHONE1 is unauthorized: allow this computer on its screen",
        ),
        ({"devices": {"PHONE1": "offline"}}, {}, "expected device PHONE1 to be ready, it is 'offline'"),
        (
            {"programs": []},
            {},
            "benchmark_model: expected TFLite's program .* found none at /data/local/tmp/benchmark_model",
        ),
        ({}, {"benchmark_model": "/data/b"}, "found none at /data/b; see --benchmark-model"),
        ({}, {"benchmark_model": "nowhere/b"}, "found none at nowhere/b"),
        ({}, {"threads": 0}, "threads: expected an integer >= 1, got 0"),
    ],
)
def test_what_is_missing_is_said(adb, state, options, message):
    adb.set(**state)
    with pytest.raises(InputError, match=message):
        AdbRunner(adb=str(adb.path), **options)


def test_adb_itself_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="adb: expected adb, of Android's platform-tools, on the PATH, found none"):
        AdbRunner()


@pytest.mark.parametrize(
    "state, message",
    [
        ({"fails": "CANNOT LINK EXECUTABLE"}, "benchmark_model .*failed: CANNOT LINK EXECUTABLE"),
        (
            {"output": "STARTING!\nFailed to load"},
            "benchmark_model on PHONE1: expected timings, .* got 'Failed to load'",
        ),
        ({"gone_after": 0}, "adb: the device has gone: .*'PHONE1' not found; what was measured is kept"),
    ],
)
def test_what_fails_is_said(adb, state, message):
    runner = AdbRunner(adb=str(adb.path))
    adb.set(**state)
    with pytest.raises(InputError, match=message):
        runner.measure([content(1.0)])


def test_what_was_measured_before_the_device_went_is_kept(adb, tmp_path):
    files = {f"{i}": lambda i=i: content(1.0 + i) for i in range(10)}
    runner = AdbRunner(adb=str(adb.path))
    adb.set(gone_after=9)
    with pytest.raises(InputError, match="the device has gone"):
        Measurements(tmp_path / "m.json", runner.device).measure(files, runner, 1, "x")
    adb.set(gone_after=None)
    calls = len(adb.calls)
    measurements = Measurements(tmp_path / "m.json", AdbRunner(adb=str(adb.path)).device)
    measurements.measure(files, runner, 1, "x")
    assert {name: measurements.of(name).milliseconds for name in files} == {f"{i}": 1.0 + i for i in range(10)}
    assert sum("--graph=" in call[-1] for call in adb.calls[calls:]) == 2  # a batch of 8 had been kept


@pytest.mark.parametrize(
    "output, expected",
    [
        (
            "count=12 first=9 curr=9 min=9 max=9 avg=9 std=9\n\n"
            "INFO: count=50 first=33228 curr=33130 min=32687 max=33239 avg=33071.8 std=129\n\n"
            "INFO: Inference timings in us: Init: 3501, First inference: 156677, Warmup (avg): 43268.1",
            (33.0718, 0.129, 50),
        ),
        (
            "count=3 first=1 curr=1 min=1 max=1 avg=1 std=0\n"
            "count=25 first=2 curr=1 min=1 max=2 avg=1.45528e+06 std=13583 p5=140545 median=141253 p95=187533",
            (141.253, 13.583, 25),
        ),
        ("count=1 curr=40000\n\ncount=1 curr=33000\n", (33.0, 0.0, 1)),
        ("count=20 first=1 curr=1 min=1 max=2 avg=1500 std=100", (1.5, 0.1, 20)),
    ],
)
def test_statistics_of_several_versions_are_read(output, expected):
    found = parse_timings(output)
    assert (found.milliseconds, found.deviation, found.num_runs) == pytest.approx(expected)


@pytest.mark.parametrize("output", ["", "STARTING!", "count=1 curr=40000\n", "count= avg=\ncount= avg="])
def test_output_without_timed_runs_is_refused(output):
    with pytest.raises(InputError, match="benchmark_model: expected timings"):
        parse_timings(output)
