"""report.html out of a run folder, whatever of it is there, without any training."""

import html
import json
import logging

import pytest
from made_run import CONFIG, write_run

from scarlet_tf import cli
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json, write_result
from scarlet_tf.config import load_config
from scarlet_tf.results import Dataset
from scarlet_tf.run import reporting
from scarlet_tf.run.folder import Run
from scarlet_tf.run.stages import report_on, write_report
from scarlet_tf.search.engine import Engine
from scarlet_tf.search.journal import Journal
from scarlet_tf.search.run import new_algorithm
from scarlet_tf.space.cost import cost_table


def test_the_page_of_a_folder_lies_in_it_and_is_the_same_again(tmp_path):
    path = write_report(write_run(tmp_path / "run"))
    assert path == tmp_path / "run" / "report.html"
    text = path.read_text()
    for words in ("0.300 M multiply-adds", "tau 0.75", "✓ done", "1 h 2 min", "upper_bounds: {multiply_adds: 0.4M}"):
        assert words in text
    assert write_report(tmp_path / "run", tmp_path / "other.html").read_bytes() == path.read_bytes()


def test_a_folder_with_a_configuration_alone_has_a_page(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert "the next stage is train-supernet" in write_report(tmp_path).read_text()


def test_a_torn_file_is_named_on_the_page_and_its_stage_is_not_done(tmp_path):
    folder = write_run(tmp_path, without=("export/certificate.json",))
    (folder / "export").mkdir()
    (folder / "export" / "certificate.json").write_text('{"files": [')
    (folder / "timing.json").write_text("[")
    text = write_report(folder).read_text()
    assert f"{folder / 'export' / 'certificate.json'}: expected JSON" in text
    assert "the next stage is export" in text


def test_a_figure_that_was_changed_is_not_on_the_page(tmp_path):
    folder = write_run(tmp_path)
    path = folder / "retrain" / "result.json"
    write_result(path, read_json(path))
    path.write_text(path.read_text().replace('"accuracy": 0.875', '"accuracy": 0.9125'))
    text = write_report(folder).read_text()
    assert f"{path}: changed after it was written" in text and "91.25" not in text


def test_a_training_under_way_shows_the_epochs_of_its_log(tmp_path):
    folder = write_run(tmp_path, without=("supernet/result.json", "supernet/monitor.json"))
    (folder / "supernet").mkdir()
    (folder / "supernet" / "log.csv").write_text("epoch,accuracy,loss,stability\n0,0.125,2.5,NA\n1,0.25,1.5,0.5\n")
    assert "In training, paths reached 25.00 % of the training images in epoch 2." in write_report(folder).read_text()


def test_hypervolume_of_a_search_under_way_is_that_of_its_journal(tmp_path):
    """A search that never repeats a network, stopped within its fourth generation."""
    text = CONFIG.replace("population_size: 4, generations: 2", "algorithm: random, population_size: 4, generations: 9")
    folder = write_run(tmp_path, without=("pareto.json",), config=text)
    (folder / "search" / "trials.jsonl").unlink()
    config = load_config(folder / "config.yaml")
    algorithm = new_algorithm(config.search, cost_table(config.space, config.data.image_size, 2))
    engine = Engine(algorithm)
    engine.resume(Journal(folder / "search" / "trials.jsonl", {}))
    for _ in range(18):
        engine.settle()
        trial = engine.take()
        choices = list(map(int, engine.trials[trial].split(",")))
        engine.succeed(trial, {"accuracy": sum((i + 1) * gene for i, gene in enumerate(choices)) % 7 / 7})
    assert len(algorithm.hypervolume) == 3
    found = reporting._hypervolume(Run(config, folder), Run(config, folder).find(Dataset))
    assert found == algorithm.hypervolume and found[-1] > 0


def test_bounds_are_checked_with_the_costs_of_what_was_exported(tmp_path):
    assert '<p class="value">yes</p>' in write_report(write_run(tmp_path / "a")).read_text()
    tight = CONFIG.replace("0.4M", "0.3M")  # the network costs exactly that, and less was asked for
    assert '<p class="value">no</p>' in write_report(write_run(tmp_path / "b", config=tight)).read_text()


def test_a_folder_that_is_none_of_a_run_is_refused_and_a_file_of_another_kind_is_named(tmp_path):
    with pytest.raises(InputError, match="expected a run folder"):
        write_report(tmp_path)
    folder = write_run(tmp_path)
    (folder / "pareto.json").write_text('{"version": 1}')
    write_json(folder / "retrain" / "result.json", {"multiply_adds": 1})
    text = html.unescape(write_report(folder).read_text())
    assert f"{folder / 'pareto.json'}: pareto: expected networks with architecture" in text
    assert f"{folder / 'retrain' / 'result.json'}: architecture: it is missing; expected a file as this version" in text
    assert "the next stage is search" in text


def test_a_run_whose_page_fails_is_warned_of_and_not_failed(tmp_path, monkeypatch, caplog):
    folder = write_run(tmp_path)
    run = Run(load_config(folder / "config.yaml"), folder)
    assert report_on(run) == str(folder / "report.html")

    def fail(record):
        raise RuntimeError("no ink")

    monkeypatch.setattr("scarlet_tf.report.render.page", fail)
    with caplog.at_level(logging.WARNING, "scarlet_tf"):
        assert report_on(run) is None
    assert "report.html: not written: RuntimeError: no ink" in caplog.text


def test_the_command_prints_the_path_and_refuses_other_folders(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    assert cli.main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert cli.main(["report", str(folder), "--output", str(tmp_path / "x.html"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == {"report": str(tmp_path / "x.html"), "bytes": (tmp_path / "x.html").stat().st_size}
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "expected a run folder" in capsys.readouterr().err
