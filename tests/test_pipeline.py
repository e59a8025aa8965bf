"""The order, the resumption and the refusals of a run, with the long stages replaced; one short run of the real ones."""

import logging
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json, write_result
from scarlet_tf.config import claim_run_dir, parse_config
from scarlet_tf.config.run_time import in_words, stage_seconds
from scarlet_tf.export import saved_model
from scarlet_tf.results import NetworkResult, Score
from scarlet_tf.run import exporting, folder, integrity, methods, reporting, retraining
from scarlet_tf.run.folder import Run, alone_in
from scarlet_tf.search.journal import format_line
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import Cost, cost_table
from scarlet_tf.space.search_space import Architecture

SPACE = {
    "name": "tiny",
    "stages": [{"channels": 16, "depth": 2}, {"channels": 24, "depth": 1, "stride": 2}],
    "choices": "s1",
    "stem_stride": 1,
    "stem_channels": 8,
    "first_channels": 8,
    "tail_channels": 16,
}
VALUES = {
    "name": "test",
    "data": {"source": "digits", "image_size": 8},
    "space": SPACE,
    "supernet": {"epochs": 1, "batch_size": 32},
    "search": {"upper_bounds": {"multiply_adds": "200k"}, "population_size": 4, "generations": 2, "picks": 2},
    "race": {"finalists": 0},
    "retrain": {"epochs": 1, "batch_size": 32},
}
FRONT = {
    "picks": [
        {"name": "0", "architecture": "6,6,0", "accuracy": 0.5, "multiply_adds": 1, "params": 1},
        {"name": "1", "architecture": "0,6,3", "accuracy": 0.75, "multiply_adds": 2, "params": 2},
    ],
    "pareto": [
        {"architecture": "6,6,0", "accuracy": 0.5, "multiply_adds": 1, "params": 1},
        {"architecture": "1,6,0", "accuracy": 0.625, "multiply_adds": 2, "params": 2},
        {"architecture": "0,6,3", "accuracy": 0.75, "multiply_adds": 2, "params": 2},
    ],
    "hypervolume": [0.25, 0.5],
}

LATENCY = {"milliseconds": 0.25, "deviation": 0.01, "runs": 40, "ratio": 1.0}
CHECK = {"name": "top-1", "expected": "a drop of at most 2 points", "found": "0.00 points", "passed": True}
FIGURES = {"checks": [CHECK], "passed": True, "agreement": 1.0, "operations": {}, "inputs": [], "outputs": []}
VERIFIED = {"max_logit_difference": 1e-6, "top1": 0.9, "model_top1": 0.9, "num_images": 30, "partitions": 1}


def config(**changes):
    values = VALUES | {key: VALUES.get(key, {}) | value for key, value in changes.items()}
    return parse_config(values)


def network_result(choices=(0, 6, 3), **changes):
    """Of a network that was trained from scratch."""
    figures = {"test": Score(0.875, 359), "validation": Score(0.75, 10), "one_shot_accuracy": 0.5, **changes}
    return NetworkResult(Architecture(choices, config().space), "scratch", multiply_adds=1, params=2, **figures)


class FakeSplit:
    def __init__(self, num_examples):
        self.num_examples = num_examples
        self.labels = np.arange(num_examples) % 2

    def take(self, num_examples, seed=0):
        return FakeSplit(num_examples)

    def batches(self, batch_size):
        return []


def fake_data(fingerprint="abc"):
    return types.SimpleNamespace(
        name="fake",
        class_names=("a", "b"),
        num_classes=2,
        train=FakeSplit(100),
        validation=FakeSplit(20),
        test=FakeSplit(30),
        preprocessing=None,
        fingerprint=fingerprint,
        skipped=("broken.png",),
    )


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for everything that takes time; the list says which were called, in order."""
    called = []

    def record(module, name, answer):
        def stand_in(*args, **kwargs):
            called.append(name)
            return answer(*args, **kwargs)

        monkeypatch.setattr(module, name, stand_in)

    def search(supernet, validation, search_config, run_dir, **kwargs):
        lines = [
            {"version": 1},
            {"metrics": {"accuracy": 0.25}},
            {"message": "failed"},
            {"metrics": {"accuracy": 0.75}},
        ]
        (run_dir / "search").mkdir(exist_ok=True)
        (run_dir / "search" / "trials.jsonl").write_bytes(b"".join(map(format_line, lines)))
        write_result(run_dir / "pareto.json", FRONT)

    def retrain(network, *args, run_dir, **kwargs):
        model = types.SimpleNamespace(spec=network.lower((8, 8, 3), 2), weights=[np.ones(2)])
        (run_dir / "retrain").mkdir(exist_ok=True)
        (run_dir / "retrain" / "model.keras").write_bytes(b"weights")
        return model, {
            "history": [{"loss": float("nan")}],
            "validation": {"accuracy": 0.875, "num_examples": 20},
            "steps": 3,
        }

    def write(model, path, quantization="none", **kwargs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        path.with_suffix(".json").write_text("{}")
        (path.parent / "labels.txt").write_text("a\nb\n")

    record(folder, "load_dataset", lambda config: fake_data())
    record(methods, "train_supernet", lambda *args, **kwargs: {"history": [], "steps": np.int64(3)})
    monkeypatch.setattr(methods, "new_supernet", lambda *args: types.SimpleNamespace())
    record(methods, "search", search)
    record(retraining, "retrain", retrain)
    monkeypatch.setattr(folder, "evaluate", lambda *args: {"accuracy": 0.9375, "loss": 0.1, "num_examples": 30})
    model = types.SimpleNamespace(
        spec=Architecture((0, 6, 3), config().space).lower((8, 8, 3), 2), weights=[np.ones(2)]
    )
    monkeypatch.setattr(Run, "network", model)
    monkeypatch.setattr(exporting, "fold", lambda network, limit: (network, []))
    record(exporting, "export_tflite", write)
    record(exporting, "export_saved_model", write)
    record(exporting, "verify", lambda path, model, data, limits: {**FIGURES, **VERIFIED})
    monkeypatch.setattr(
        exporting, "benchmark", lambda files, threads: [LATENCY | {"file": str(file)} for file in files]
    )
    return called


EVERYTHING = [
    "load_dataset",
    "train_supernet",
    "search",
    "retrain",
    *["export_tflite"] * 4,
    "export_saved_model",
    *["verify"] * 5,
]


def test_stages_run_in_order_and_are_not_repeated(calls, tmp_path):
    summary = runs.run_all(config(), tmp_path)
    assert calls == EVERYTHING
    calls.clear()
    assert runs.run_all(config(), tmp_path) == summary == read_json(tmp_path / "summary.json")
    assert calls == ["load_dataset"]


def test_a_run_is_forecast_as_soon_as_its_supernets_steps_were_tried(calls, tmp_path, monkeypatch, caplog):
    """A training tells the callbacks that it is given; `rank`, which does not go through all stages, gives none."""

    def train(*args, callbacks, **kwargs):
        for callback in callbacks:
            callback.on_rehearsal(4.0, 0.5)
        return {"history": [], "steps": 3}

    monkeypatch.setattr(methods, "train_supernet", train)
    with caplog.at_level(logging.INFO, "scarlet_tf"):
        runs.run_all(config(), tmp_path)
    seconds = stage_seconds(config(), {"train": 100, "validation": 20}, 2, 4.0, 0.5)
    [line] = [record.getMessage() for record in caplog.records if "run forecast" in record.getMessage()]
    assert line.startswith(f"run forecast: {in_words(seconds)} (the supernet's steps were tried")
    assert Run(config(), tmp_path).callbacks == ()


def test_summary_states_what_the_stages_found(calls, tmp_path):
    summary = runs.run_all(config(), tmp_path)
    found = {"evaluated": 2, "mean_accuracy": 0.5, "best_accuracy": 0.75}
    assert summary["supernet"] == {"known_by": "one-shot", **found}
    assert summary["front"] == {"size": 3, "picks": 2, "hypervolume": 0.5}
    picked = {key: summary["pick"][key] for key in ("architecture", "pick", "one_shot_accuracy", "passed_over")}
    assert picked == {"architecture": "0,6,3", "pick": "best", "one_shot_accuracy": 0.75, "passed_over": []}
    assert summary["retrained"] == {"test_accuracy": 0.9375, "test_examples": 30, "validation_accuracy": 0.875}
    assert summary["dataset"]["skipped"] == 1
    assert [row["file"] for row in summary["files"]] == [
        "model_float32.tflite",
        "model_float16.tflite",
        "model_dynamic.tflite",
        "model_int8.tflite",
        "saved_model/1",
    ]
    assert summary["files"][0] == {
        "file": "model_float32.tflite",
        "bytes": 1000,
        **VERIFIED,
    }
    assert set(summary["seconds"]) == {"train-supernet", "search", "retrain", "export"}


def test_interrupted_run_continues_with_the_stage_it_was_in(calls, tmp_path, monkeypatch):
    retrain = retraining.retrain
    monkeypatch.setattr(retraining, "retrain", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        runs.run_all(config(), tmp_path)
    assert calls == ["load_dataset", "train_supernet", "search"]
    assert "retrain" in read_json(tmp_path / "timing.json")
    monkeypatch.setattr(retraining, "retrain", retrain)
    calls.clear()
    runs.run_all(config(), tmp_path)
    assert calls == ["load_dataset", *EVERYTHING[3:]]


def test_search_in_a_later_process_gets_the_supernet_from_its_checkpoint(calls, tmp_path):
    runs.run_stage("train-supernet", config(), tmp_path)
    calls.clear()
    runs.run_stage("search", config(), tmp_path)
    assert calls == ["load_dataset", "train_supernet", "search"]


def test_stage_without_its_predecessor_names_the_command(calls, tmp_path):
    runs.run_stage("train-supernet", config(), tmp_path)
    with pytest.raises(InputError) as caught:
        runs.run_stage("retrain", config(), tmp_path, "my.yaml")
    assert str(caught.value) == (
        f"{tmp_path}: retrain needs a searched front, which is not there yet; first run:"
        f" scarlet search my.yaml --run-dir {tmp_path}"
    )


def test_a_searchs_worker_shares_the_folder_and_writes_nothing(calls, tmp_path, monkeypatch):
    runs.run_stage("train-supernet", config(), tmp_path)
    monkeypatch.setattr(methods, "search", lambda *arguments, **options: calls.append("worked"))
    for name, value in (("TUNER_ID", "worker-0"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "4000")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with alone_in(tmp_path):  # as its chief is
        assert runs.run_stage("search", config(), tmp_path) == {}
        with pytest.raises(InputError, match="another process is at work"):
            runs.run_stage("train-supernet", config(), tmp_path)
    assert calls[-1] == "worked"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="KERASTUNER_ORACLE_IP: a chief and its workers share one stage"):
        runs.run_all(config(), tmp_path)


def test_stage_out_of_order_is_refused_before_the_dataset_is_loaded(calls, tmp_path):
    with pytest.raises(InputError, match="export needs a trained supernet"):
        runs.run_stage("export", config(), tmp_path)
    assert calls == []
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("torn", "again"),
    [
        ("supernet/result.json", ["train_supernet"]),
        ("retrain/result.json", EVERYTHING[3:]),
        ("export/certificate.json", EVERYTHING[4:]),
        ("summary.json", []),
        ("timing.json", []),
    ],
)
def test_torn_result_has_its_stage_done_again(calls, tmp_path, torn, again):
    summary = runs.run_all(config(), tmp_path)
    path = tmp_path / torn
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    calls.clear()
    repeated = runs.run_all(config(), tmp_path)
    assert calls == ["load_dataset", *again]
    assert repeated | {"seconds": 0} == summary | {"seconds": 0}
    read_json(tmp_path / "summary.json")


def test_torn_journal_costs_its_torn_lines_only(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    journal = tmp_path / "search" / "trials.jsonl"
    journal.write_bytes(journal.read_bytes()[:-3])
    summary = runs.run_all(config(), tmp_path)
    assert summary["supernet"]["best_accuracy"] == 0.25
    assert summary["warnings"] == [f"{journal}: torn or changed: line 4 of 4; restore it"]
    journal.unlink()
    assert runs.run_all(config(), tmp_path)["supernet"]["best_accuracy"] is None


@pytest.mark.parametrize("content", [None, b"PK", b""])
def test_torn_network_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "retrain" / "model.keras"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.keras: missing or torn; remove .*result\.json and start again"):
        _ = Run(config(), tmp_path).network


def test_second_process_in_the_folder_is_refused(calls, tmp_path):
    script = f"""
from scarlet_tf.run.folder import alone_in
with alone_in({str(tmp_path)!r}):
    print("locked", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="another process is at work in this run folder"):
            runs.run_all(config(), tmp_path)
        assert calls == []
        other.kill()
    runs.run_all(config(), tmp_path)


def test_second_claim_in_the_same_process_is_refused(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="another process is at work"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / "export" / "saved_model" / ".1.abcdefgh.tmp" / "new").mkdir(parents=True)
    network = tmp_path / "ranking" / "standalone-0123456789ab" / "0-1"
    (network / "retrain").mkdir(parents=True)
    (network / "retrain" / ".checkpoint-000000001.npz.01234567.tmp").touch()
    (network.parent / ".0-0.json.01234567.tmp").touch()
    (tmp_path / "supernet").mkdir()
    (tmp_path / "supernet" / ".checkpoint-000000001.npz.01234567.tmp").touch()
    (tmp_path / "supernet" / "checkpoint-000000001.npz").touch()
    (tmp_path / ".mine.tmp").touch()
    with alone_in(tmp_path):
        pass
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".lock", ".mine.tmp", "checkpoint-000000001.npz"]
    assert list((tmp_path / "export" / "saved_model").iterdir()) == []


def test_results_hold_plain_json_only(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    assert read_json(tmp_path / "supernet" / "result.json") == {"history": [], "steps": 3}
    assert read_json(tmp_path / "retrain" / "result.json")["history"] == [{"loss": None}]


def test_formats_and_saved_model_can_be_left_out(calls, tmp_path):
    chosen = config(export={"formats": ["float16"], "saved_model": False})
    summary = runs.run_all(chosen, tmp_path)
    assert [row["file"] for row in summary["files"]] == ["model_float16.tflite"]


# -- refusals, all before anything is trained ------------------------------------------------------------------


def refusal(calls, tmp_path, **changes) -> str:
    with pytest.raises(InputError) as caught:
        runs.run_all(config(**changes), tmp_path)
    assert calls == ["load_dataset"]
    assert not (tmp_path / "config.yaml").exists()
    return str(caught.value)


def test_impossible_budget_is_refused_with_the_reach_of_the_space(calls, tmp_path):
    message = refusal(calls, tmp_path, search={"upper_bounds": {"multiply_adds": "10k"}})
    assert message.startswith("search.upper_bounds.multiply_adds: no network of the space has less than 0.01 M")
    costs = cost_table(config().space, 8, 2)
    low, high = costs.bounds["multiply_adds"]
    assert f"multiply_adds from {low / 1e6:.2f} M to {high / 1e6:.2f} M" in message


def test_budget_that_excludes_nothing_is_told(calls, tmp_path, caplog):
    greatest = cost_table(config().space, 8, 2).bounds["multiply_adds"][1]
    runs.run_stage("train-supernet", config(search={"upper_bounds": {"multiply_adds": greatest}}), tmp_path / "a")
    assert "excludes nothing" not in caplog.text
    runs.run_stage("train-supernet", config(search={"upper_bounds": {"multiply_adds": greatest + 1}}), tmp_path / "b")
    assert "search.upper_bounds.multiply_adds" in caplog.text
    assert f"the greatest network of the space costs {greatest / 1e6:.2f} M" in caplog.text


def test_pick_beyond_the_picks_is_refused(calls, tmp_path):
    message = refusal(calls, tmp_path, retrain={"pick": 2})
    assert message == "retrain.pick: expected best or one of search.picks, 0, 1, got 2"


@pytest.mark.parametrize("section", ["supernet", "retrain"])
def test_batch_beyond_the_training_images_is_refused(calls, tmp_path, section):
    message = refusal(calls, tmp_path, **{section: {"batch_size": 101}})
    assert message == f"{section}.batch_size: expected at most the 100 training images, got 101"


def test_warm_up_without_its_package_is_refused(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model.importlib.util, "find_spec", lambda name: None)
    message = refusal(calls, tmp_path, export={"warm_up": True})
    assert message.startswith(
        "export.warm_up: needs the package tensorflow-serving-api; pip install 'scarlet_tf[serving]'"
    )


def test_dataset_error_comes_before_the_folder_is_claimed(tmp_path):
    with pytest.raises(InputError, match=r"data\.directory"):
        runs.run_all(config(data={"source": "folder", "directory": str(tmp_path / "none")}), tmp_path)
    assert not (tmp_path / "config.yaml").exists()


def test_run_folder_of_another_config_is_refused(calls, tmp_path):
    runs.run_stage("train-supernet", config(), tmp_path)
    with pytest.raises(InputError, match=r"supernet.epochs: 1 in the folder, 2 now"):
        runs.run_stage("train-supernet", config(supernet={"epochs": 2}), tmp_path)


def test_run_folder_of_another_space_is_refused(calls, tmp_path):
    runs.run_stage("train-supernet", config(), tmp_path)
    with pytest.raises(InputError, match=r"space.tail_channels: 16 in the folder, 24 now"):
        runs.run_stage("search", config(space={"tail_channels": 24}), tmp_path)


def test_changed_dataset_is_refused(calls, tmp_path, monkeypatch):
    runs.run_stage("train-supernet", config(), tmp_path)
    monkeypatch.setattr(folder, "load_dataset", lambda config: fake_data("xyz"))
    with pytest.raises(InputError, match="fingerprint abc then, xyz now"):
        runs.run_stage("search", config(), tmp_path)


# -- the pick --------------------------------------------------------------------------------------------------


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """A run whose front is known; returns a function from a changed retrain section to the start that is chosen."""
    monkeypatch.setattr(folder, "load_dataset", lambda config: fake_data())
    write_json(tmp_path / "pareto.json", FRONT)

    def choose(**retrain):
        opened = Run(config(retrain=retrain), tmp_path)
        return retraining.choose(opened, opened.get(SearchResult))

    return choose


def test_the_best_is_the_most_accurate_of_the_front_whether_or_not_it_is_a_pick(searched, tmp_path):
    start = searched()
    assert (start.architecture.to_string(), start.one_shot_accuracy, start.initial) == ("0,6,3", 0.75, None)
    better = [
        {"architecture": c, "accuracy": 0.875, "multiply_adds": m, "params": 1} for c, m in (("2,6,0", 3), ("3,6,0", 2))
    ]
    write_json(tmp_path / "pareto.json", FRONT | {"pareto": [*FRONT["pareto"], *better], "picks": FRONT["picks"][:1]})
    assert (searched().architecture.to_string(), searched().one_shot_accuracy) == ("3,6,0", 0.875)  # the cheaper one
    assert searched(pick=0).architecture.to_string() == "6,6,0"


def test_without_a_network_within_the_bounds_none_is_best(searched, tmp_path):
    """As where BetaNAS was given a pick by its choices, and that is out of bounds."""
    write_json(tmp_path / "pareto.json", FRONT | {"pareto": []})
    with pytest.raises(InputError, match=r"retrain\.pick: best is the network of .*expected one of .* picks, 0, 1$"):
        searched()
    assert searched(pick=1).architecture.to_string() == "0,6,3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pareto": None}, "pareto: expected networks with architecture, .*, got None"),
        ({"pareto": [{"architecture": "0,6,3", "accuracy": 0.5}]}, "pareto: expected networks .*, got {.*0.5}"),
        ({"picks": [{**FRONT["picks"][0], "accuracy": "high"}]}, "picks: expected networks .*, got {.*'high'"),
        ({"picks": ["0"]}, "picks: expected networks .*, got '0'"),
    ],
)
def test_a_front_without_what_picking_needs_is_refused(searched, tmp_path, change, message):
    write_json(tmp_path / "pareto.json", FRONT | change)
    with pytest.raises(InputError, match=f"pareto.json: {message}"):
        searched()


def test_pick_by_index(searched):
    assert searched(pick=0).architecture.to_string() == "6,6,0"


def test_start_from_the_supernet_takes_the_most_accurate_whose_folded_network_fits(searched, monkeypatch):
    folded_costs = {"0,6,3": 300_000, "1,6,0": 200_000, "6,6,0": 199_999}
    monkeypatch.setattr(
        retraining, "_folded_path", lambda run, path: (types.SimpleNamespace(spec=f"folded {path.to_string()}"), [])
    )
    monkeypatch.setattr(retraining, "rebase", lambda model, batches: None)
    monkeypatch.setattr(retraining, "_calibration_batches", lambda run: [])
    monkeypatch.setattr(retraining, "count_spec", lambda spec: Cost(folded_costs[spec.removeprefix("folded ")], 1))
    monkeypatch.setattr(retraining, "get_arrays", lambda model: {"weights": np.zeros(1)})
    start = searched(init="supernet")
    assert (start.architecture.to_string(), start.network) == ("6,6,0", "folded 6,6,0")
    assert start.passed_over == (
        {"architecture": "0,6,3", "folded_multiply_adds": 300_000},
        {"architecture": "1,6,0", "folded_multiply_adds": 200_000},
    )
    folded_costs["6,6,0"] = 250_000
    with pytest.raises(InputError, match=r"none of the 3 networks keeps multiply_adds < 0\.20 M once folded .*0\.20 M"):
        searched(init="supernet")


def test_rounding_is_limited_more_strictly_where_int8_is_exported():
    both = Run(config(), "x"), Run(config(export={"formats": ["float32"]}), "x")
    assert retraining.folding_limit(both[0]) < retraining.folding_limit(both[1])


# -- verification of files -------------------------------------------------------------------------------------


def test_verify_finds_the_run_of_a_file(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    rows = runs.verify_files([tmp_path / "export" / "model_int8.tflite"])
    assert [row["top1"] for row in rows] == [0.9]


def failed(folder, **options):
    result = runs.verify_run(folder, **options)
    names = [check["name"] for check in result["checks"] if not check["passed"]]
    assert result["passed"] is (not names)
    return names


def test_a_run_that_nobody_touched_keeps_its_certificate(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    assert failed(tmp_path) == [] and failed(tmp_path, digests_only=True) == []


@pytest.mark.parametrize(
    "file", ["export/model_int8.tflite", "export/labels.txt", "export/model_dynamic.json", "retrain/model.keras"]
)
def test_a_changed_or_missing_file_is_found_by_its_sha256(calls, tmp_path, file):
    runs.run_all(config(), tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stated = file.removeprefix("export/").replace("retrain", "../retrain")
    assert failed(tmp_path, digests_only=True) == [f"{stated} SHA-256"]
    (tmp_path / file).unlink()
    assert f"{stated} SHA-256" in failed(tmp_path)


@pytest.mark.parametrize(
    "key, value, name",
    [
        (("multiply_adds",), 1, "multiply-adds"),
        (("params",), 1, "params"),
        (("architecture", "string"), "0,0,0", "architecture"),
        (("dataset", "fingerprint"), "0", "data fingerprint"),
        (("files", 0, "verification", "top1"), 0.95, "model_float32.tflite top1"),
        (("files", 0, "verification", "partitions"), 2, "model_float32.tflite partitions"),
        (("files", 0, "verification", "operations"), {"ADD": 1}, "model_float32.tflite operations"),
    ],
)
def test_a_certificate_that_states_another_figure_is_found_out(calls, tmp_path, key, value, name):
    runs.run_all(config(), tmp_path)
    path = tmp_path / "export" / "certificate.json"
    certificate = read_json(path)
    inner = certificate
    for step in key[:-1]:
        inner = inner[step]
    inner[key[-1]] = value
    write_json(path, certificate)
    assert name in failed(tmp_path)


def test_the_certificate_for_people_is_compared_with_the_other(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    text = tmp_path / "export" / "certificate.md"
    text.write_text(text.read_text().replace("90.00 %", "99.00 %"))
    assert failed(tmp_path, digests_only=True) == ["certificate.md"]


def test_a_run_without_a_certificate_of_this_version_is_refused(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    path = tmp_path / "export" / "certificate.json"
    write_json(path, read_json(path) | {"certificate_version": 1})
    with pytest.raises(InputError, match="certificate_version: expected 2, got 1"):
        runs.verify_run(tmp_path)
    write_json(path, {"certificate_version": 2})
    with pytest.raises(InputError, match="expected a certificate"):
        runs.verify_run(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"certificate\.json"):
        runs.verify_run(tmp_path)


def test_verify_refuses_missing_files_and_folders_without_a_run(tmp_path):
    with pytest.raises(InputError, match=r"x.tflite: expected a .tflite file or a SavedModel folder, found nothing"):
        runs.verify_files([tmp_path / "x.tflite"])
    (tmp_path / "x.tflite").write_bytes(b"")
    with pytest.raises(InputError, match="it lies in no run folder; name the run it belongs to with --run-dir"):
        runs.verify_files([tmp_path / "x.tflite"])
    with pytest.raises(InputError, match=r"expected a run folder with config.yaml"):
        runs.verify_files([tmp_path / "x.tflite"], tmp_path)


@pytest.mark.parametrize("source", ["folder", "tfds"])
@pytest.mark.parametrize("data_dir", [True, False])
def test_verify_from_another_folder_says_what_a_relative_path_counts_from(source, data_dir, tmp_path, monkeypatch):
    """The run was started where `photos` is; its folder does not say where that was."""
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("SCARLET_DATA_DIR", raising=False)
    if data_dir:
        monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path / "all"))
    folder = tmp_path / "run"
    claim_run_dir(folder, config(data={"source": source, "directory": "photos"}))
    (folder / "x.tflite").write_bytes(b"")
    write_json(folder / "export" / "certificate.json", {"certificate_version": 2, "files": [], "other_files": []})
    monkeypatch.setattr(integrity, "check_digests", lambda *_: [])
    monkeypatch.setattr(integrity, "check_text", lambda *_: integrity.Check("x", "", "", True))
    for call in (lambda: runs.verify_run("../run"), lambda: runs.verify_files(["../run/x.tflite"])):
        with pytest.raises(InputError) as caught:
            call()
        said = str(caught.value)
        assert "run/config.yaml: data.directory: expected a" in said and "got 'photos'" in said
        assert (
            f"looked for {here}/photos, for a relative path counts from the folder where the command is started" in said
        )
        assert said.endswith(f"where it would be {tmp_path}/all/photos" if data_dir else "which is not set")
    for call in (lambda: runs.verify_run("run"), lambda: runs.verify_files(["y.tflite"])):
        with pytest.raises(
            InputError, match=rf"looked for {here}/(run|y.tflite), for the path counts from the current"
        ):
            call()


@pytest.mark.parametrize(
    "search, message",
    [
        (
            {"weights": {"accuracy": 1, "latency_ms": 1}},
            r"search: nothing gives latency_ms; expected some of accuracy, mul",
        ),
        ({"upper_bounds": {"latency": 4}}, r"search: nothing gives latency; "),
        ({"picks": {"small": {"energy": 1}}}, r"search\.picks\.small\.energy: unknown metric"),
        ({"picks": {"mine": "0,4"}}, r"search\.picks\.mine: "),
        ({"table": "absent.json"}, r"absent\.json"),
    ],
)
def test_what_the_search_would_trip_over_is_refused_before_training(calls, tmp_path, search, message):
    assert re.search(message, refusal(calls, tmp_path, search=search))


def test_a_stopped_search_goes_on_until_a_network_was_retrained(calls, tmp_path):
    folder = tmp_path / "run"
    runs.run_all(config(), folder)
    front = read_json(folder / "pareto.json")
    write_json(folder / "pareto.json", {**front, "stopped": True})
    (folder / "retrain").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="a network was trained from what search found"):
        runs.run_stage("search", config(), folder)
    calls.clear()
    runs.run_all(config(), folder)
    assert "search" not in calls


def test_an_error_in_reading_images_is_told_without_tensorflows_words(tmp_path):
    def lose(_):
        raise InputError("cat/1.png: the image could not be read")

    dataset = tf.data.Dataset.range(1).map(lambda number: tf.numpy_function(lose, [number], tf.int64))
    opened = Run(config(), tmp_path)
    with (
        pytest.raises(InputError, match=r"^cat/1\.png: the image could not be read$"),
        reporting.timed(opened, "retrain"),
    ):
        list(dataset)
    with pytest.raises(tf.errors.OutOfRangeError), reporting.timed(opened, "retrain"):
        raise tf.errors.OutOfRangeError(None, None, "another error")
