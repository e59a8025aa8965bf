"""Input sizes as a part of the search: how one is chosen, and what follows it."""

import types

import numpy as np
import pytest
from test_pipeline import config

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_result, write_text
from scarlet_tf.results import InputSizes, RaceResult
from scarlet_tf.run import scoring
from scarlet_tf.run.folder import Run, open_existing
from scarlet_tf.run.integrity import check_results, verify_run
from scarlet_tf.run.methods import SupernetSearch, trained_supernet
from scarlet_tf.run.stages import run_all
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.journal import format_line
from scarlet_tf.space.search_space import Architecture

SMALL = {"max_train_examples": 100, "validation_examples": 40, "max_test_examples": 40}


def searched_at(*wanted, **bounds):
    upper = {"multiply_adds": 200_000, **bounds}
    return config(data=SMALL, search={"input_sizes": list(wanted), "upper_bounds": upper})


@pytest.fixture
def accuracies(monkeypatch):
    """{size: accuracy} that stand-ins for the searches find; the sizes that were searched are added to "asked"."""
    found = {"asked": []}

    def search(supernet, validation, settings, folder, **options):
        size = int(folder.name.removesuffix("px"))
        found["asked"].append(size)
        found["hours"] = options["max_hours"]
        assert settings.generations == 2 and settings.input_sizes == () and validation.batches(8)
        best = Candidate(Architecture((6, 6, 0), config().space), found[size], 1000, 10)
        return types.SimpleNamespace(best=best, evaluations=8)

    monkeypatch.setattr(scoring, "search", search)
    return found


def settled(wanted, folder, **options):
    run = Run(wanted, folder, **options)
    run.folder.joinpath("search", "sizes").mkdir(parents=True, exist_ok=True)
    scoring.settle_size(run, {}, lambda view: (None, None))
    return run


def test_the_size_with_the_most_accurate_network_is_taken_of_equals_the_smallest(accuracies, tmp_path, caplog):
    accuracies.update({8: 0.25, 10: 0.5, 12: 0.5})
    wanted = searched_at(12, 8, 10)
    run = settled(wanted, tmp_path)
    assert accuracies["asked"] == [8, 10, 12]
    assert (run.config.data.image_size, run.config.space.input_size, run.input_shape) == (10, 10, (10, 10, 3))
    assert run.stated is wanted and run.data.train.batches(4).element_spec[0].shape[1:3] == (10, 10)
    found = run.get(InputSizes)
    assert found.chosen == 10 and [row["accuracy"] for row in found.measured] == [0.25, 0.5, 0.5]
    again = settled(wanted, tmp_path)  # a later process asks nobody
    assert again.config == run.config and accuracies["asked"] == [8, 10, 12]


def test_sizes_share_half_of_a_run_s_hours(accuracies, tmp_path):
    accuracies.update({8: 0.25, 10: 0.5})
    settled(searched_at(8, 10), tmp_path, max_hours=2.0)
    assert accuracies["hours"] == 0.5
    settled(searched_at(8), tmp_path / "unlimited")
    assert accuracies["hours"] is None


def test_sizes_without_a_network_within_the_bounds_are_left_out(accuracies, tmp_path, caplog):
    accuracies.update({8: 0.25, 64: 0.5})
    assert settled(searched_at(8, 64), tmp_path).config.data.image_size == 8
    assert "64 pixels are left out: search.upper_bounds.multiply_adds: no network" in caplog.text
    with pytest.raises(
        InputError, match=r"input_sizes: expected a size at which a network keeps the bounds, got \[64\]"
    ):
        settled(searched_at(64), tmp_path / "other")


def test_a_trained_supernet_has_the_same_weights_at_every_size(tmp_path):
    wanted = searched_at(8, 12)
    run = Run(wanted, tmp_path)
    trained, result = trained_supernet(run)
    other = run.at_size(12)
    at_12, same_result = trained_supernet(other)
    assert at_12.image_shape == (12, 12, 3) and same_result.steps == result.steps > 0
    for variable, value in zip(at_12.variables, trained.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.slow
def test_a_whole_run_ends_with_a_network_for_the_size_that_was_found(tmp_path, monkeypatch):
    """At the other size than `data.image_size`, whichever the searches would have found."""
    monkeypatch.setattr(scoring, "max", lambda rows, key: max(rows, key=lambda row: row["input_size"]), raising=False)
    export = {"formats": ["float32"], "saved_model": False, "benchmark_threads": 0, "verification_examples": 20}
    wanted = config(
        data=SMALL,
        search={"input_sizes": [8, 12], "upper_bounds": {"multiply_adds": 400_000}, "recalibration_batches": 1},
        retrain={"optimizer": "sgd", "warmup_epochs": 0, "recalibration_batches": 0},
        race={"finalists": 3, "rivals": [], "rungs": [1.0]},
        export=export,
    )
    run_all(wanted, tmp_path / "run")
    run = open_existing(tmp_path / "run")
    assert run.stated.data.image_size == 8 and run.config.data.image_size == 12
    raced = {row["name"]: row["input_size"] for row in run.get(RaceResult).table}
    assert raced == {"finalist_1": None, "finalist_2": None, "finalist_3": 8}  # the best of the other size races, too
    side = raced[run.get(RaceResult).winner] or 12
    assert run.network.spec.input_shape == (side, side, 3)
    verified = verify_run(tmp_path / "run")
    assert verified["passed"] and "search/sizes/8px/search/trials.jsonl" in [row["name"] for row in verified["checks"]]
    assert "search/sizes/8px/search/trials.jsonl" in (tmp_path / "run/export/certificate.json").read_text()
    summary = run_all(wanted, tmp_path / "run")  # every stage is done
    assert summary["pick"]["multiply_adds"] < 400_000 and summary["input_sizes"]["chosen"] == 12
    assert [row["input_size"] for row in summary["input_sizes"]["measured"]] == [8, 12]
    assert "Input sizes" in (tmp_path / "run" / "report.html").read_text()


def test_journals_of_sizes_are_checked_as_the_main_one(tmp_path):
    """A changed digit and a cut line; the front beside them has a digest of its own."""
    folder = tmp_path / "search" / "sizes" / "8px"
    lines = [format_line({"version": 2}), format_line({"trial": "0", "metrics": {"accuracy": 0.5}})]
    write_text(folder / "search" / "trials.jsonl", b"".join(lines).decode())
    write_result(folder / "pareto.json", {"picks": [0.5]})

    def faults():
        return {check.name: check.found for check in check_results(tmp_path) if not check.passed}

    assert len(check_results(tmp_path)) == 2 and faults() == {}
    for name in ("search/trials.jsonl", "pareto.json"):
        path = folder / name
        path.write_text(path.read_text().replace("0.5", "0.9"))
    found = faults()
    assert found["search/sizes/8px/search/trials.jsonl"] == "torn or changed: line 2 of 2; restore it"
    assert found["search/sizes/8px/pareto.json"].endswith("; remove it")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"input_sizes": [8, 8]}, r"search\.input_sizes: expected different ones, got \[8, 8\]"),
        ({"input_sizes": [4]}, r"search\.input_sizes"),
        ({"input_sizes": [8], "table": "t.json"}, "expected none with search.table, which is for one size"),
        ({"input_sizes": [8], "algorithm": "betanas"}, "expected none with betanas"),
    ],
)
def test_sizes_that_cannot_be_searched_are_refused(search, message):
    with pytest.raises(InputError, match=message):
        config(search={**search, "picks": 1})


def test_several_processes_search_one_size(monkeypatch, tmp_path):
    monkeypatch.setattr("scarlet_tf.run.methods.search_role", lambda: "chief")
    with pytest.raises(InputError, match="expected none in a search of several processes"):
        SupernetSearch().choose(Run(searched_at(8, 12), tmp_path), None)
    SupernetSearch().examine(Run(searched_at(8, 12), tmp_path))  # they share the race
