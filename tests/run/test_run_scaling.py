"""A run whose network is scaled after the search: what it trains, states and exports."""

import logging

import pytest
from test_pipeline import FRONT, config, fake_data

from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.models.network import load_network
from scarlet_tf.run import folder
from scarlet_tf.run.retraining import scaling_figures
from scarlet_tf.space.cost import count, count_spec
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture

SCALED = {"se_ratio": 0.0625, "width_multiplier": 1.4}
ALL = {**SCALED, "depth_multiplier": 1.0}


def test_a_run_trains_states_and_exports_the_scaled_network(tmp_path):
    write_json(tmp_path / "supernet" / "result.json", {})  # done, as is the search
    write_json(tmp_path / "pareto.json", FRONT)
    training = {"epochs": 1, "optimizer": "sgd", "warmup_epochs": 0, "recalibration_batches": 0, "pick": 0}
    wanted = config(
        data={"max_train_examples": 100},
        retrain={**training, **SCALED},
        export={"formats": ["float32"], "saved_model": False, "verification_examples": 50, "benchmark_threads": 0},
    )
    summary = runs.run_all(wanted, tmp_path)

    network = load_network(tmp_path / "retrain" / "model.keras")
    found = Architecture((6, 6, 0), wanted.space)  # two skips; 8 channels, 3 x 8 hidden ones, 24
    assert network.spec == Scaling(1.4, 0.0625).apply(found, (8, 8, 3), 10).replace(dropout=0.2)
    [block] = network.spec.blocks
    assert (block.in_channels, block.hidden_channels, block.se_channels, block.out_channels) == (16, 48, 3, 32)

    before, cost = count(found, 8, 10), count_spec(network.spec)
    assert before.multiply_adds < cost.multiply_adds
    stated = {"scaling": ALL, "searched_multiply_adds": before.multiply_adds, "searched_params": before.params}
    stated |= {"multiply_adds": cost.multiply_adds, "params": cost.params}
    result, certificate = (read_json(tmp_path / name) for name in ("retrain/result.json", "export/certificate.json"))
    for figures in (result, summary["pick"], {**certificate, **certificate["details"]}):
        assert {key: figures[key] for key in stated} == stated
    assert certificate["files"][0]["verification"]["max_logit_difference"] < 1e-4  # float32 rounding of one file
    assert read_json(tmp_path / "export" / "model_float32.json")["provenance"]["scaling"] == ALL
    assert "retrained with SE at 0.0625 and 1.4 x the width" in (tmp_path / "export" / "certificate.md").read_text()
    assert runs.verify_run(tmp_path)["passed"]

    with pytest.raises(InputError, match=r"retrain.se_ratio: 0.0625 in the folder, 0.0 now"):
        runs.run_stage("retrain", config(retrain={**training, "width_multiplier": 1.4}), tmp_path)


@pytest.fixture
def figures_of(tmp_path, monkeypatch, caplog):
    """A function from sections of the configuration to what is stated of 0,6,3, and what was logged."""
    monkeypatch.setattr(folder, "load_dataset", lambda data: fake_data())
    caplog.set_level(logging.INFO)

    def found(**changes):
        caplog.clear()
        wanted = config(**changes)
        figures = scaling_figures(folder.Run(wanted, tmp_path), Architecture((0, 6, 3), wanted.space))
        return figures, [(record.levelname, record.getMessage()) for record in caplog.records]

    return found


def test_both_costs_are_told_before_the_training(figures_of):
    figures, [(level, line)] = figures_of(retrain=SCALED, search={"upper_bounds": {"multiply_adds": "600k"}})
    # By hand: stem, blocks of 24 and 96 hidden channels, tail; then 48 and 144 of them, with SE 3 and 9 wide.
    before = 64 * 352 + 64 * 792 + (64 * 1536 + 16 * 3168) + (16 * 384 + 32)
    after = 64 * 832 + (64 * 2352 + 288) + (64 * 3456 + 16 * 5904 + 2592) + (16 * 768 + 48)
    assert (before, after) == (figures["searched_multiply_adds"], 534_640)
    assert level == "INFO"
    assert line.startswith("retrain: SE at 0.0625 and 1.4 x the width: 0.228 M -> 0.535 M multiply-adds, ")


def test_a_network_that_is_scaled_beyond_the_budget_is_trained_with_a_warning(figures_of):
    figures, [_, (level, line)] = figures_of(retrain=SCALED, search={"upper_bounds": {"multiply_adds": "500k"}})
    assert figures["searched_multiply_adds"] < 500_000
    assert level == "WARNING" and "does not keep multiply_adds < 0.50 M" in line


def test_without_scaling_nothing_is_stated_or_told(figures_of):
    assert figures_of() == ({}, [])
