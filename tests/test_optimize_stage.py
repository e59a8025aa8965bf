"""The optimize stage among the others, with what takes time replaced."""

import pytest
from test_pipeline import EVERYTHING, calls, config  # noqa: F401 - calls is a fixture

from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.run import exporting, folder, stages

SETTINGS = {"quantization_aware": {"batch_size": 50}, "pruning": {"sparsity": 0.75, "batch_size": 50, "int8": True}}
BOTH = {"optimization": SETTINGS}
WITH_BOTH = [*EVERYTHING[:4], "quantize_aware", "prune", *["export_tflite"] * 6, "export_saved_model", *["verify"] * 8]


@pytest.fixture
def optimizers(calls, monkeypatch):  # noqa: F811
    def quantize_aware(network, data, path, settings, **options):
        calls.append("quantize_aware")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(500))
        path.with_suffix(".json").write_text("{}")
        return {"bytes": 500, "partitions": 1, "history": [], "operations": {}}

    def prune(network, data, settings, **options):
        calls.append("prune")
        return network, {"history": [], "sparsity": settings.sparsity}

    monkeypatch.setattr(folder, "without_policy", lambda split: split)
    monkeypatch.setattr(exporting, "quantize_aware", quantize_aware)
    monkeypatch.setattr(exporting, "prune", prune)
    monkeypatch.setattr(exporting, "save_model", lambda model, path: path.write_bytes(b"x"))
    monkeypatch.setattr(folder.Run, "pruned_network", folder.Run.network)
    return calls


def test_optimised_files_are_exported_verified_and_certified(optimizers, tmp_path):
    summary = runs.run_all(config(**BOTH), tmp_path)
    assert optimizers == WITH_BOTH
    names = ["model_int8_qat.tflite", "model_pruned.tflite", "model_pruned_int8.tflite"]
    assert [row["file"] for row in summary["files"]][4:7] == names
    certificate = read_json(tmp_path / "export" / "certificate.json")
    assert "../optimize/model_pruned.keras" in [row["file"] for row in certificate["other_files"]]
    details = certificate["details"]["optimization"]
    assert details["pruning"]["sparsity"] == details["settings"]["pruning"]["sparsity"] == 0.75
    optimizers.clear()
    runs.run_all(config(**BOTH), tmp_path)
    assert optimizers == ["load_dataset"]


def test_a_finished_run_may_be_optimised_later_and_differently(optimizers, tmp_path):
    runs.run_all(config(), tmp_path)
    optimizers.clear()
    runs.run_all(config(optimization={"pruning": {"batch_size": 50}}), tmp_path)
    assert optimizers == ["load_dataset", "prune", *["export_tflite"] * 5, "export_saved_model", *["verify"] * 6]
    (tmp_path / "optimize" / "pruning").mkdir()
    (tmp_path / "optimize" / "pruning" / "checkpoint-000000001.npz").write_bytes(b"of other settings")
    optimizers.clear()
    runs.run_all(config(optimization={"pruning": {"batch_size": 50, "sparsity": 0.75}}), tmp_path)
    assert optimizers[:2] == ["load_dataset", "prune"] and "verify" in optimizers
    assert not (tmp_path / "optimize" / "pruning").exists()


def test_the_command_needs_something_to_do_and_a_retrained_network(optimizers, tmp_path):
    with pytest.raises(InputError, match="optimize needs a trained supernet"):
        runs.run_stage("optimize", config(**BOTH), tmp_path)
    runs.run_all(config(), tmp_path)
    with pytest.raises(InputError, match="optimize: nothing to do"):
        runs.run_stage("optimize", config(), tmp_path)
    figures = runs.run_all(config(**BOTH), tmp_path, until="optimize")
    assert figures["pruning"]["sparsity"] == 0.75
    assert runs.run_stage("optimize", config(**BOTH), tmp_path) == figures


def test_export_waits_for_the_optimisation_that_is_asked_for(optimizers, tmp_path):
    for name in ("train-supernet", "search", "retrain"):
        runs.run_stage(name, config(**BOTH), tmp_path)
    with pytest.raises(InputError, match=r"export needs an optimised network, .* scarlet run .* --until optimize"):
        runs.run_stage("export", config(**BOTH), tmp_path)


def test_what_is_missing_is_found_before_anything_is_trained(optimizers, tmp_path, monkeypatch):
    def missing():
        raise InputError("pip install scarlet_tf[optimization]")

    with pytest.raises(InputError, match=r"optimization.pruning.batch_size: expected at most the 100 .* got 101"):
        runs.run_all(config(optimization={"pruning": {"batch_size": 101}}), tmp_path)
    monkeypatch.setattr(stages, "check_extra", missing)
    with pytest.raises(InputError, match=r"pip install scarlet_tf\[optimization\]"):
        runs.run_all(config(**BOTH), tmp_path)
    assert optimizers == ["load_dataset"] * 2
