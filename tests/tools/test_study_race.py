"""The simulated race: its statistics by hand, its ways on a made-up table, and bad input."""

import contextlib
import io
import json
import sys
from unittest import mock

import numpy as np
import pytest
from scipy import stats
from test_nas_bench_macro import made_table

import study_race
from nas_bench_macro import Table, load_table


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "nas-bench-macro_cifar10.json"
    file.write_text(json.dumps(made_table(np.random.default_rng(0))))
    return file


def called(*arguments):
    """(what the tool prints, exit code, errors)."""
    with (
        mock.patch.object(sys, "argv", ["study_race.py", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            study_race.main()
        except SystemExit as end:
            return output.getvalue(), end.code, errors.getvalue()
    return output.getvalue(), 0, errors.getvalue()


def test_taus_within_windows_are_a_weighted_mean(rng):
    predicted, truth = rng.normal(size=(2, 90))
    costs = np.repeat([1_000_000, 6_000_000, 11_000_000], [25, 55, 10])  # the last window has too few
    parts = [slice(0, 25), slice(25, 80)]
    within = [stats.kendalltau(predicted[part], truth[part]).statistic for part in parts]
    found = study_race.taus(predicted, truth, costs)
    expected = stats.kendalltau(predicted, truth).statistic, (25 * within[0] + 55 * within[1]) / 80
    np.testing.assert_allclose(found, expected)


def test_truth_is_the_mean_of_the_other_trainings(rng):
    table = Table(np.zeros((50, 8), int), rng.random((50, 3)), np.ones(50))
    trained, truth = study_race.draw(table, rng)
    np.testing.assert_allclose(trained + 2 * truth, table.accuracies.sum(axis=1))
    assert {int(column) for column in np.argwhere(table.accuracies == trained[:, None])[:, 1]} == {0, 1, 2}


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.6])
def test_a_score_has_the_tau_that_is_asked_for(tau, rng):
    truth = rng.exponential(size=400)
    found = [stats.kendalltau(study_race.score_of(truth, tau, rng), truth).statistic for _ in range(60)]
    np.testing.assert_allclose(np.mean(found), tau, atol=4 * np.std(found) / np.sqrt(60) + 0.005)


def test_plain_networks_and_the_window_by_hand(path):
    race = study_race.Race(load_table(path), 60e6, 2, 1)
    networks, costs = race.table.networks, race.table.multiply_adds
    assert networks[race.uniform].tolist() == [[1] * 8]
    deep = costs[(race.table.depths == 8) & (costs < 60e6)]
    assert costs[race.deepest[0]] == deep.max() and race.table.depths[race.deepest[0]] == 8
    assert costs[race.inside].min() >= 55e6 and costs[race.inside].max() < 60e6
    assert study_race.Race(race.table, 40e6, 2, 1).uniform == []  # only the network without blocks is uniform there


def test_all_rows_are_there_and_ordered_as_a_table_without_noise_has_to_be(path):
    arguments = ("--seeds", 20, "--draws", 3, "--predictor-seeds", 3, "--trainings", 12, 40, "--budgets", 60)
    output, code, _ = called("--data", path, *arguments, "--taus", 0, 0.9)
    found = json.loads(output.splitlines()[-1])
    assert code == 0 and found["networks"] == 3969
    predictors = {(row["way"], row["trainings"]): row["all"][0] for row in found["predictors"]}
    assert predictors["predictor", 40] > predictors["predictor", 12] > 0.6
    regret = {(row["tau"], row["way"]): row["regret"][0] for row in found["races"]}
    assert regret[0.9, "single pick by score"] < regret[0, "single pick by score"]
    assert regret[0, "4 finalists"] < regret[0, "single pick by score"]
    assert regret[0, "race: finalists and plain networks"] < regret[0, "4 finalists"]
    assert regret[0, "uniform"] == regret[0.9, "uniform"]
    assert regret[0, "race, then 5 by predictor"] < regret[0, "best of 7 random"]
    assert output.count("| uniform | - | 1 |") == 1 and output.count("| 4 finalists |") == 2
    assert called("--data", path, *arguments, "--taus", 0, 0.9)[0] == output


def test_bad_input_is_one_line(path, tmp_path):
    for arguments, message in (
        (("--data", tmp_path / "none.json"), "none.json: could not be read"),
        (("--data", path, "--trainings", 2), "--trainings: expected from 3 to 1984, got [2]"),
        (("--data", path, "--seeds", 0), "--seeds: expected at least 1, got 0"),
        (("--data", path, "--taus", 1), "--taus: expected numbers from 0 to below 1, got [1.0]"),
        (("--data", path, "--budgets", 15), "--budgets: expected at least 24 networks within 5 M below each, got 6"),
    ):
        output, code, errors = called(*arguments)
        assert (output, code) == ("", 2)
        assert len(errors.splitlines()) == 1 and message in errors
