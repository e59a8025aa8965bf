"""The study on NAS-Bench-Macro: its statistics against SciPy and by hand, resumption, and bad input."""

import contextlib
import functools
import io
import itertools
import json
import sys
from unittest import mock

import numpy as np
import pytest
from scipy import stats
from test_nas_bench_macro import made_table

import nas_bench_macro
import scarlet_tf as st
import study_nas_bench_macro as study
from nas_bench_macro import Ranking, load_table
from scarlet_tf.assessment import ranking
from scarlet_tf.data import datasets
from scarlet_tf.data.inputs import as_split
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.search.objectives import CostModel
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.training import supernet as training


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "nas-bench-macro_cifar10.json"
    file.write_text(json.dumps(made_table(np.random.default_rng(0))))
    return file


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """A file is checked once, and TensorFlow keeps the threads that it has."""
    monkeypatch.setattr(study, "load_table", CACHED)
    monkeypatch.setattr(study, "use_threads", lambda threads: None)


CACHED = functools.cache(load_table)


def called(*arguments):
    """(what the tool prints, exit code, errors)."""
    with (
        mock.patch.object(sys, "argv", ["study_nas_bench_macro.py", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            study.main()
        except SystemExit as end:
            return output.getvalue(), end.code, errors.getvalue()
    return output.getvalue(), 0, errors.getvalue()


# -- statistics ----------------------------------------------------------------------------------------------------


def made_scores(rng):
    """(scores with ties, accuracies, multiply-adds in windows of 30, 20, 10 and 9 networks)."""
    truth = np.round(rng.random(69), 2)
    return np.round(truth + rng.normal(0, 0.5, 69), 1), truth, np.repeat([1, 5, 14, 16], [30, 20, 10, 9]) * 1_000_000


def test_figures_are_scipys_and_the_window_mean_is_weighted_by_pairs(rng):
    score, truth, costs = made_scores(rng)
    found = {name: curve[0] for name, curve in Ranking(truth, costs).curves(score).items()}
    assert found["tau"] == pytest.approx(stats.kendalltau(score, truth).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(score, truth).statistic)
    parts = [slice(0, 30), slice(30, 50), slice(50, 60)]
    taus = [stats.kendalltau(score[part], truth[part]).statistic for part in parts]
    assert found["tau_window"] == pytest.approx(np.dot(taus, [435, 190, 45]) / 670)


def test_resamples_are_those_of_networks_that_are_really_repeated(rng):
    score, truth, costs = made_scores(rng)
    ranking = Ranking(truth, costs, resamples=5)
    curves = ranking.curves(score)
    for number, counts in enumerate(ranking._counts.astype(int)):
        drawn, first = np.repeat(np.arange(69), counts), np.repeat(np.arange(30), counts[:30])
        assert curves["tau"][number] == pytest.approx(stats.kendalltau(score[drawn], truth[drawn]).statistic)
        assert curves["spearman"][number] == pytest.approx(stats.spearmanr(score[drawn], truth[drawn]).statistic)
        tau = ranking._tau(score, ranking.windows[0])[number]
        assert tau == pytest.approx(stats.kendalltau(score[first], truth[first]).statistic)


def test_regrets_by_hand():
    truth = np.array([0.90, 0.80, 0.85, 0.60, 0.70, 0.75, 0.50, 0.55, 0.58, 0.59])
    score = np.array([1, 5, 5, 4, 3, 3, 0, 0, 0, 0])
    found = Ranking(truth, np.full(10, 7_000_000)).curves(score)
    assert found["regret_top1"][0] == pytest.approx(7.5, abs=1.5)  # 0.80 or 0.85, in random order
    assert found["regret_top5"][0] == pytest.approx(5.0)
    assert Ranking(truth, np.full(10, 7_000_000)).curves(truth)["regret_top1"][0] == 0
    draws = [max(drawn) for drawn in itertools.combinations(truth, 5)]
    expected = Ranking(truth, np.full(10, 7_000_000)).random_curves()
    assert expected["regret_top5"][0] == pytest.approx(90 - 100 * np.mean(draws))
    assert expected["regret_top1"][0] == pytest.approx(90 - 100 * truth.mean())


def test_a_constant_score_orders_nothing_and_few_networks_have_no_windows(rng):
    _, truth, costs = made_scores(rng)
    found = Ranking(truth, costs, 3).curves(np.ones(69))
    assert [found[name].tolist() for name in ("tau", "tau_window", "spearman")] == [[0] * 4] * 3
    none = Ranking(truth[:9], costs[:9], 3).curves(truth[:9])
    assert nas_bench_macro.interval(none["tau"])[0] == 1
    assert nas_bench_macro.interval(none["tau_window"]) == nas_bench_macro.interval(none["regret_top1"]) == [None] * 3


def test_several_seeds_have_students_interval():
    curves = [{"tau": np.array([value, 9.0])} for value in (0.6, 0.7, 0.8)]
    half = 4.302653 * 0.1 / np.sqrt(3)  # t of two degrees of freedom
    np.testing.assert_allclose(nas_bench_macro.over_seeds(curves)["tau"], [0.7, 0.7 - half, 0.7 + half], atol=1e-4)
    assert nas_bench_macro.over_seeds(curves[:1])["tau"] == [0.6, 9.0, 9.0]


def test_networks_are_different_and_spread_over_all_costs(path):
    table = CACHED(path)
    found = table.spread(300, 0)
    assert len({tuple(network) for network in found.networks.tolist()}) == 300
    assert (table.spread(300, 0).networks == found.networks).all()
    assert (table.spread(300, 1).networks != found.networks).any()
    for part, cost in zip(np.array_split(np.sort(table.multiply_adds), 300), found.multiply_adds, strict=True):
        assert part[0] <= cost <= part[-1]
    row = next(i for i, network in enumerate(table.networks) if (network == found.networks[7]).all())
    assert (table.accuracies[row] == found.accuracies[7]).all()


def test_loss_and_depth_are_both_standardised(rng):
    losses, depths = rng.random(20), rng.integers(1, 9, 20)
    found = study.scores_of({"losses": losses, "accuracies": np.zeros(20)}, depths, 0.5)
    expected = 0.5 * stats.zscore(depths) - stats.zscore(losses)
    np.testing.assert_allclose(found["loss and depth"], expected)
    assert not nas_bench_macro.standardised(np.ones(3)).any()


# -- the whole -----------------------------------------------------------------------------------------------------

QUICK = ("--pixels", 8, "--width", 0.1, "--epochs", 2, "--images", 32, "--batch-size", 16, "--held-out", 20)
QUICK += ("--networks", 12, "--trainings", 3, "--draws", 2, "--resamples", 3, "--batches", 1)


def test_costs_of_a_table(path, tmp_path):
    output, code, _ = called("--costs", "--table", path)
    assert (json.loads(output), code) == ({"costs_equal": 6561, "costs": 6561}, 0)
    other = json.loads(path.read_text())
    other["00000000"]["params"] += 1
    (tmp_path / "other.json").write_text(json.dumps(other))
    output, code, _ = called("--costs", "--table", tmp_path / "other.json")
    assert (json.loads(output), code) == ({"costs_equal": 6560, "costs": 6561}, 1)


def test_costs_of_the_published_table():
    if not nas_bench_macro.default_path().exists():
        pytest.skip(f"{nas_bench_macro.default_path()} is not there")
    output, code, _ = called("--costs")
    assert (json.loads(output), code) == ({"costs_equal": 6561, "costs": 6561}, 0)


@pytest.fixture
def images(monkeypatch, rng):
    """Noise in place of CIFAR-10."""
    pixels, labels = rng.normal(size=(52, 8, 8, 3)).astype(np.float32), np.arange(52, dtype=np.int32) % 10
    made = mock.Mock(train=as_split((pixels[:32], labels[:32])), validation=as_split((pixels[32:], labels[32:])))
    made.num_classes = 10
    monkeypatch.setattr(datasets, "load_dataset", lambda config: made)


class MadeEvaluator:
    """Figures that follow from the path alone; the sixth request ends the process unless `asked` says otherwise."""

    asked: list
    dies = False

    def __init__(self, *data, **options):
        pass

    def begin_generation(self, architectures):
        self.announced = list(architectures)

    def evaluate(self, choices):
        assert choices in self.announced
        if self.dies and len(self.asked) == 5:
            raise KeyboardInterrupt
        self.asked.append(choices)
        return {"loss": 3 - sum(choices) / 16, "accuracy": max(choices[:3]) / 2}


@pytest.fixture
def stand_ins(images, monkeypatch):
    """The stand-in of a supernet's training; evaluation has one, too."""
    trained = mock.Mock()
    monkeypatch.setattr(st, "train_supernet", trained)
    monkeypatch.setattr(st, "Evaluator", MadeEvaluator)
    monkeypatch.setattr(training, "new_supernet", mock.Mock())
    monkeypatch.setattr(MadeEvaluator, "asked", [], raising=False)
    return trained


def test_what_is_done_is_kept_wherever_it_ends(path, stand_ins, tmp_path, monkeypatch):
    """Training and evaluation are stand-ins here."""
    arguments = ("--table", path, "--out", tmp_path / "out", *QUICK)
    trained = stand_ins
    monkeypatch.setattr(MadeEvaluator, "dies", True)
    output, code, errors = called(*arguments)
    assert (output, code) == ("", 130) and "the same command resumes" in errors
    monkeypatch.setattr(MadeEvaluator, "dies", False)
    output, code, _ = called(*arguments)
    assert code == 0 and len(MadeEvaluator.asked) == len(set(MadeEvaluator.asked)) == 12
    first, second = (call.kwargs["run_dir"] for call in trained.call_args_list)
    assert first == second and first.parent == tmp_path / "out"
    assert called(*arguments)[:2] == (output, 0) and trained.call_count == 2

    (row,) = (json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines())
    found, table = json.loads(output.splitlines()[-1]), CACHED(path).spread(12, 0)
    networks, truth = table.networks, table.accuracies.mean(axis=1)
    np.testing.assert_allclose(row["losses"], 3 - networks.sum(axis=1) / 16)
    for name, score in (("", networks.sum(axis=1)), ("accuracy_", networks[:, :3].max(axis=1))):
        assert found[f"{name}tau"] == pytest.approx(stats.kendalltau(score, truth).statistic, abs=1e-4)
        assert found[f"{name}spearman"] == pytest.approx(stats.spearmanr(score, truth).statistic, abs=1e-4)
    assert found["depth_tau"] == pytest.approx(stats.kendalltau(table.depths, truth).statistic, abs=1e-4)
    assert {"tau_window", "depth_tau_window", "cost_tau", "additive_tau", "ceiling_tau", "cpu_hours"} <= set(found)
    assert found["settings"]["epochs"] == 2 and found["settings"]["seeds"] == [0]
    assert output.count("| 8 | 0.1 | 640 | 2 | 32 | strict | 0.03 | let |") == 1


def test_several_seeds_are_several_rows_and_one_line(path, stand_ins, tmp_path):
    output, code, _ = called("--table", path, "--out", tmp_path, *QUICK, "--seeds", 0, 3)
    assert code == 0 and len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    found = json.loads(output.splitlines()[-1])
    assert found["figures"]["loss"]["tau"] == [found["tau"]] * 3  # the stand-in's scores have no seed
    assert output.count("| 8 | 0.1 |") == 1


def test_networks_trained_here_stand_in_for_the_tables(path, stand_ins, tmp_path, monkeypatch):
    """Their trainings are stand-ins: the accuracy says how many layers there are."""
    asked = []

    def trained(architecture, train, validation, settings, work, size):
        asked.append((architecture, settings.epochs, size["input_shape"]))
        return {"accuracy": 0.1 + sum(choice != 0 for choice in architecture.choices) / 20}

    monkeypatch.setattr(ranking, "_train", trained)
    output, code, _ = called("--table", path, "--out", tmp_path, *QUICK, "--own", 6, "--own-epochs", 1)
    found, table = json.loads(output.splitlines()[-1])["figures"], CACHED(path).spread(12, 0)
    assert code == 0 and len(asked) == 6
    assert {(epochs, tuple(shape)) for _, epochs, shape in asked} == {(1, (8, 8, 3))}
    assert asked[0][0].space.width_multiplier == 0.1
    networks, truth = table.networks, table.accuracies.mean(axis=1)
    known = [networks.tolist().index(list(one.choices)) for one, *_ in asked]
    others, losses = np.setdiff1d(np.arange(12), known), 3 - networks.sum(axis=1) / 16
    alone, model = 0.1 + table.depths[known] / 20, CostModel(nas_bench_macro.costs())
    for way, of_known, of_others in (("", None, None), (" and loss", -losses[known], -losses[others])):
        predicted = Predictor(model, networks[known], alone, of_known).predict(networks[others], of_others)
        tau = stats.kendalltau(predicted, truth[others]).statistic
        assert found[f"6 own trainings{way}"]["tau"][0] == pytest.approx(tau, abs=1e-4)
    assert called("--table", path, "--out", tmp_path, *QUICK, "--own", 6, "--own-epochs", 1)[1] == 0 and len(asked) == 6


@pytest.mark.slow
def test_a_real_training_is_scored_and_resumed(path, images, tmp_path):
    arguments = ("--table", path, "--out", tmp_path / "out", *QUICK)
    asked, evaluate = [], Evaluator.evaluate

    def dies_at_the_sixth(self, choices):
        if len(asked) == 5:
            raise KeyboardInterrupt
        asked.append(choices)
        return evaluate(self, choices)

    with mock.patch.object(Evaluator, "evaluate", dies_at_the_sixth):
        assert called(*arguments)[1] == 130
    with mock.patch.object(Evaluator, "evaluate", lambda *given: asked.append(given[1]) or evaluate(*given)):
        output, code, _ = called(*arguments)
    assert code == 0 and len(asked) == len(set(asked)) == 12
    found = json.loads(output.splitlines()[-1])
    assert -1 <= found["tau"] <= 1 and found["cpu_hours"] > 0


def test_bad_input_is_one_line(path, tmp_path):
    torn = tmp_path / "torn.json"
    torn.write_text(path.read_text()[:-100])
    (tmp_path / "other.json").write_text("{}")
    for folder in ("data", "torn"):
        (tmp_path / folder).mkdir()
    (tmp_path / "torn/dataset_info.json").write_text('{"name": ')
    ours = ("--table", path, "--out", tmp_path / "out")
    for arguments, message in (
        (("--table", tmp_path / "none.json"), "none.json: could not be read"),
        (("--costs", "--table", tmp_path / "none.json"), "none.json: could not be read"),
        (("--table", torn), "torn.json: expected JSON"),
        (("--table", tmp_path / "other.json"), "other.json: expected the 6561 networks of NAS-Bench-Macro"),
        ((*ours, "--tiny", "--full"), "--tiny: expected it without --full"),
        ((*ours, "--networks", 9), "--networks: expected from 10 to 3969, got 9"),
        ((*ours, "--own", 2), "--own: expected 0, or from 3 to 150, got 2"),
        ((*ours, "--trainings", 151), "--trainings: expected from 3 to 150, half of the networks, got [151]"),
        ((*ours, "--seeds", 1, 1), "--seeds: expected different integers >= 0, got [1, 1]"),
        ((*ours, "--draws", 0), "--draws: expected at least 1, got 0"),
        ((*ours, "--epochs", 0), "--epochs: expected at least 1, got 0"),
        ((*ours, "--learning-rate", -1), "supernet.learning_rate: expected"),
        ((*ours, "--distillation", 0.5), "supernet.distillation: expected 0 with sampling: strict_fair"),
        ((*ours, "--data", tmp_path / "data"), "data.directory: expected a prepared TFDS folder"),
        ((*ours, "--data", tmp_path / "torn"), "torn: expected a prepared TFDS folder, but it could not be read"),
    ):
        output, code, errors = called(*arguments)
        assert (output, code) == ("", 2), arguments
        assert len(errors.splitlines()) == 1 and message in errors, errors


def test_torn_results_are_named(path, tmp_path):
    (tmp_path / "results.jsonl").write_text('{"a": 1}\n{"a"')
    _, code, errors = called("--table", path, "--out", tmp_path, *QUICK)
    assert code == 2 and "results.jsonl: expected a row of JSON in each line" in errors
