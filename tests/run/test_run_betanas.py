"""A run whose algorithm is betanas, on real digits, from the configuration to the files."""

import logging

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.config import parse_config
from scarlet_tf.run import run_all, run_stage
from scarlet_tf.space.cost import count
from scarlet_tf.space.search_space import Architecture

VALUES = {
    "name": "betanas",
    "data": {"source": "digits", "image_size": 8},
    "space": {
        "name": "small",
        "stages": [{"channels": 8, "depth": 2, "stride": 2}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"expansion": 4, "kernel_size": 3}, {"skip": True}],
        "stem_stride": 1,
        "stem_channels": 8,
        "first_channels": 8,
        "tail_channels": 16,
    },
    "supernet": {"epochs": 3, "batch_size": 64},
    "search": {
        "algorithm": "betanas",
        "upper_bounds": {"multiply_adds": "70k"},
        "recalibration_batches": 2,
        "betanas": {"learning_rate": 0.05, "drop_margin": 0.02},
    },
    "race": "off",
    "retrain": {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05},
    "export": {"formats": ["float32"], "saved_model": False, "benchmark_threads": 0, "verification_examples": 50},
}


def config(**search):
    return parse_config({**VALUES, "search": {**VALUES["search"], **search}})


class Lines(logging.Handler):
    """Keeps what is logged; `caplog` lives no longer than a test."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record):
        self.text += record.getMessage() + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, logger, lines = tmp_path_factory.mktemp("betanas"), logging.getLogger("scarlet_tf"), Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        summary = run_all(config(), folder)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
    assert "supernet: dropped" in lines.text and "choices remain" in lines.text
    assert "weight steps of" in lines.text and "importance steps of" in lines.text  # the forecast timed both
    return summary, folder


def test_a_run_ends_with_verified_files_of_the_network_that_the_importances_say(run):
    summary, folder = run
    importances = read_json(folder / "supernet" / "result.json")["importances"]
    assert (np.array(importances["dropped_at"]) >= 0).any()
    pick = read_json(folder / "pareto.json")["picks"][0]
    architecture = Architecture.parse(pick["architecture"], config().space)
    assert pick["multiply_adds"] == count(architecture, 8, 10).multiply_adds < 70_000
    assert summary["pick"]["architecture"] == pick["architecture"]
    assert summary["supernet"]["evaluated"] == 1
    assert summary["files"][0]["max_logit_difference"] < 1e-4
    assert (folder / "export" / "certificate.json").exists()


def test_a_run_ends_with_its_page(run):
    summary, folder = run
    assert summary["report"] == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    for words in ("Importances at the end", "How the importances moved", "How often each choice was trained"):
        assert words in text


def test_a_later_process_derives_the_same_from_the_last_checkpoint(run):
    _, folder = run
    before = read_json(folder / "pareto.json")
    (folder / "pareto.json").unlink()
    run_stage("search", config(), folder)
    assert read_json(folder / "pareto.json") == before


def test_importances_of_other_settings_do_not_go_on_in_the_folder(run):
    _, folder = run
    with pytest.raises(InputError, match=r"search\.betanas\.cost_weight"):
        run_stage("search", config(betanas={"learning_rate": 0.05, "cost_weight": 0.7}), folder)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"lower_bounds": {"accuracy": 0.5}}, r"search\.lower_bounds\.accuracy: expected none with betanas"),
        ({"picks": {"good": {"accuracy": 0.5}}}, r"search\.picks\.good\.accuracy: expected none with betanas"),
        ({"betanas": {"cost": "latency_ms"}}, r"search\.betanas\.cost: expected one of multiply_adds, params"),
        (
            {"upper_bounds": {"multiply_adds": "1k"}},
            r"search\.upper_bounds\.multiply_adds: no network of the space has less",
        ),
    ],
)
def test_what_betanas_cannot_do_is_refused_before_training(search, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run_all(config(**search), tmp_path)
    assert not (tmp_path / "supernet").exists()


def test_a_pick_that_betanas_does_not_make_is_refused_before_training(tmp_path):
    values = {**VALUES, "retrain": {**VALUES["retrain"], "pick": "1"}}
    with pytest.raises(InputError, match=r"retrain\.pick: expected best or one of search\.picks, 0, got '1'"):
        run_all(parse_config(values), tmp_path)


def test_workers_of_a_search_have_nothing_to_do(run, monkeypatch):
    _, folder = run
    for name, value in (("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1"), ("TUNER_ID", "tuner0")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    before = (folder / "pareto.json").read_text()
    (folder / "pareto.json").unlink()
    with pytest.raises(InputError, match="KERASTUNER_ORACLE_IP: betanas has nothing to evaluate"):
        run_stage("search", config(), folder)
    (folder / "pareto.json").write_text(before)


def test_a_search_of_a_trained_supernet_cannot_be_by_betanas():
    from scarlet_tf.search.config import SearchConfig
    from scarlet_tf.search.run import new_algorithm
    from scarlet_tf.space.cost import CostTable

    with pytest.raises(InputError, match=r"search\.algorithm: expected one that searches a trained supernet"):
        new_algorithm(SearchConfig(algorithm="betanas"), CostTable(config().space, 8, 10))
