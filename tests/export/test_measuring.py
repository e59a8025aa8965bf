import json

import pytest
from fake_runner import FakeRunner, content

from scarlet_tf.errors import InputError
from scarlet_tf.export.measuring import BATCH, Measurements
from scarlet_tf.export.runners import Measurement

FILES = {f"file {i}": lambda i=i: content(1.0 + i, 100 + i) for i in range(2 * BATCH + 3)}


def test_the_fastest_pass_counts(tmp_path):
    measurements = Measurements(tmp_path / "m.json", {"a": 1})
    measurements.measure(FILES, FakeRunner(slow=0.5), 3, "x")
    assert measurements.of("file 2") == Measurement(3.0, 0.01, 7)
    assert [row[0] for row in measurements.passes["file 2"]] == [3.5, 3.0, 3.5]
    assert measurements.bytes["file 2"] == 102


def test_every_pass_has_all_files_in_another_order(tmp_path):
    runner = FakeRunner()
    Measurements(tmp_path / "m.json", {}).measure(FILES, runner, 2, "x")
    first, second = runner.seen[: len(FILES)], runner.seen[len(FILES) :]
    assert sorted(first) == sorted(second) == sorted(make() for make in FILES.values()) and first != second


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path):
    path, made = tmp_path / "m.json", []
    files = {name: lambda name=name: made.append(name) or FILES[name]() for name in FILES}
    with pytest.raises(KeyboardInterrupt):
        Measurements(path, {"a": 1}).measure(files, FakeRunner(stop_after=len(FILES) + BATCH + 1), 2, "x")
    assert len(made) == len(FILES)  # the second pass reads what the first made
    rest = FakeRunner()
    measurements = Measurements(path, {"a": 1})
    measurements.measure(files, rest, 2, "x")
    assert len(rest.seen) == len(FILES) - BATCH and all(len(rows) == 2 for rows in measurements.passes.values())


def test_measurements_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "m.json"
    Measurements(path, {"threads": 1}).measure(FILES, FakeRunner(), 1, "x")
    with pytest.raises(InputError, match=r"m\.json: it was begun with another threads: expected 2, found 1; remove it"):
        Measurements(path, {"threads": 2})
    path.write_text(json.dumps([]))
    with pytest.raises(InputError, match=r"m\.json: expected measurements that were begun"):
        Measurements(path, {"threads": 1})


def test_no_passes_are_refused(tmp_path):
    with pytest.raises(InputError, match="passes: expected an integer >= 1, got 0"):
        Measurements(tmp_path / "m.json", {}).measure(FILES, FakeRunner(), 0, "x")
