"""The studies of BetaNAS on real digits at the smallest size, their settings, and the arithmetic of their tables."""

import itertools
import json
import pathlib
import types

import numpy as np
import pytest
import yaml
from tiny import tiny_space

import run_study
from scarlet_tf.betanas.importances import Importances, Phases
from scarlet_tf.search.config import BetaNASConfig, SearchConfig
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import Architecture
from studies import betanas, workshop
from studies.settings import load_study

FOLDER = pathlib.Path(__file__).parents[2] / "configs/studies"
SEARCH = {
    "population_size": 2,
    "upper_bounds": {"multiply_adds": 50e3},
    "betanas": {"warmup": 0.3, "learning_rate": 0.2, "drop_margin": 0.1},
    "recalibration_batches": 1,
    "validation_batch_size": 100,
}
COMMON = {
    "seeds": [0],
    "data": {"source": "digits", "image_size": 8, "max_train_examples": 200},
    "space": {
        "name": "tiny",
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "stages": [{"channels": 8, "depth": 1, "stride": 2}, {"channels": 12, "depth": 1}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"expansion": 3, "kernel_size": 3}, {"skip": True}],
        "tail_channels": 16,
    },
    "supernet": {"epochs": 3, "batch_size": 50, "learning_rate": 0.05, "checkpoint_seconds": 0},
    "search": SEARCH,
}
STUDIES = {
    "matthew": {
        "study": "importances",
        "supernets": {"betanas": {}},
        "importances": {
            "variants": {"balanced": {}, "gradient_driven": {"sampling": "importances", "drop": False}},
            "layer": 1,
        },
    },
    "found": {
        "study": "finding",
        "supernets": {"betanas": {}, "scarlet": {"epochs": 1}},
        "finding": {"reference": "0,0", "evaluations": 3, "random": 2, "floor": 0.6, "test_images": 100},
        "retrain": {
            "epochs": 1,
            "batch_size": 50,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "warmup_epochs": 0,
            "ema": 0.0,
        },
    },
}


@pytest.fixture
def files(tmp_path):
    """The studies' files by name."""
    (tmp_path / "common.yaml").write_text(yaml.safe_dump(COMMON))
    for name, values in STUDIES.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"base": "common.yaml", **values}, sort_keys=False))
    return {name: str(tmp_path / f"{name}.yaml") for name in STUDIES}


def _run(capsys, files, out) -> dict:
    assert run_study.main([*files.values(), "--out", str(out)]) == 0
    return {table["study"]: table for table in map(json.loads, capsys.readouterr().out.splitlines())}


def _kept(out) -> dict:
    return {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_both_studies_run_share_the_balanced_training_and_go_on_after_an_interruption(
    files, tmp_path, capsys, monkeypatch
):
    whole = _run(capsys, files, tmp_path / "whole")
    assert [table["complete"] for table in whole.values()] == [True, True]
    balanced, driven = whole["matthew"]["rows"]
    assert [balanced["variant"], driven["variant"]] == ["balanced", "gradient_driven"]
    assert balanced["dropped"] > 0 == driven["dropped"] and balanced["cpu_seconds"] > 0
    rows = whole["found"]["rows"]
    assert [row["method"] for row in rows] == ["betanas", "scarlet", "mobilenet_v2", "random", "random"]
    assert rows[0]["architecture"] == balanced["architecture"] and rows[0]["one_shot"] == balanced["one_shot"]
    assert (rows[0]["weight_passes"], rows[0]["gate_passes"], rows[1]["weight_passes"]) == (8, 4, 12)
    assert all(row["multiply_adds"] <= 50e3 for row in rows) and all(row["multiply_adds"] >= 30e3 for row in rows[3:])
    assert rows[1]["supernet_cpu_seconds"] > 0 and rows[1]["search_cpu_seconds"] > 0
    assert len(list((tmp_path / "whole/cache").glob("betanas-*"))) == 2
    assert not list((tmp_path / "whole/cache").rglob("retrain"))  # the networks' checkpoints
    for plot in ("matthew/layer", "matthew/summary", "found/finding"):
        assert (tmp_path / "whole" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    kept = _kept(tmp_path / "whole")
    assert _run(capsys, files, tmp_path / "whole") == whole
    assert _kept(tmp_path / "whole") == kept

    update, calls = Importances.update, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 6:  # in the second training
            raise KeyboardInterrupt
        update(*args)

    monkeypatch.setattr(Importances, "update", interrupted)
    assert run_study.main([files["matthew"], "--out", str(tmp_path / "twice")]) == 130
    partial = json.loads((tmp_path / "twice/matthew/result.json").read_text())
    assert not partial["complete"] and [row["variant"] for row in partial["rows"]] == ["balanced"]
    again = _run(capsys, {"matthew": files["matthew"]}, tmp_path / "twice")["matthew"]
    for row, known in zip(again["rows"], whole["matthew"]["rows"], strict=True):
        assert {**row, "cpu_seconds": 0} == {**known, "cpu_seconds": 0}


def test_shipped_studies_have_the_same_balanced_training_at_equal_backward_passes():
    matthew, found = (load_study(FOLDER / f"betanas_{name}.yaml") for name in ("importances", "vs_scarlet"))
    assert matthew.supernets["betanas"] == found.supernets["betanas"]
    assert (matthew.data, matthew.space, matthew.seeds) == (found.data, found.space, found.seeds)
    balanced = matthew.sections["importances"].variant("balanced", matthew.sections["search"])
    assert balanced.betanas == found.sections["search"].betanas
    assert balanced.objectives().get_config() == found.sections["search"].objectives().get_config()
    paths = found.space.num_choices
    assert found.supernets["betanas"].epochs == paths * found.supernets["scarlet"].epochs


def test_shipped_reference_is_the_greatest_path_of_mobilenet_blocks_within_the_budget():
    study = load_study(FOLDER / "betanas_vs_scarlet.yaml")
    costs = cost_table(study.space, study.data.image_size, 10)
    labels = [choice.label for choice in study.space.choices]
    paths = list(itertools.product([labels.index("E3K3"), labels.index("E6K3")], repeat=study.space.num_layers))
    multiply_adds = costs.count(np.array(paths))[0]
    within = multiply_adds <= study.sections["search"].budget
    greatest = paths[int(np.where(within, multiply_adds, 0).argmax())]
    assert Architecture.parse(study.sections["finding"].reference, study.space).choices == greatest


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("matthew", "importances.layer=2", "importances.layer: expected at most 1, got 2"),
        ("matthew", "importances.early=2", "importances.early: expected a number from 0 to 1, got 2"),
        ("matthew", "importances.variants={}", "importances.variants: expected at least one, got none"),
        (
            "matthew",
            "importances.variants.balanced.drops=1",
            "importances.variants.balanced: search.betanas.drops: unknown key",
        ),
        ("matthew", "supernets={other: {}}", "supernets: expected betanas, got other"),
        ("found", "supernets={betanas: {}}", "supernets: expected betanas and scarlet, got betanas"),
        (
            "found",
            "retrain.se_ratio=0.1",
            "retrain: expected no scaling, for costs are those as searched, got SE at 0.1",
        ),
        ("found", "search.algorithm=betanas", "search.algorithm: expected nsga2, got betanas"),
        (
            "found",
            "search.upper_bounds={}",
            "search.upper_bounds.multiply_adds: expected a budget, got none",
        ),
        ("found", "finding.evaluations=1", "finding.evaluations: expected at least search.population_size, 2"),
        (
            "found",
            "finding.reference='0,7'",
            "finding.reference: architecture: layer 1: expected a choice from 0 to 2, got 7",
        ),
        ("found", "finding.floor=1", "finding.floor: expected a number from 0 to below 1, got 1"),
    ],
)
def test_bad_studies_are_refused_with_the_key(files, tmp_path, capsys, name, change, message):
    assert run_study.main([files[name], "--out", str(tmp_path / "out"), "--set", change]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("finding.test_images=10000", "finding.test_images: expected at most 359, got 10000"),
        (
            "finding.reference='1,1'",
            "finding.reference: expected at most search.upper_bounds.multiply_adds, 50000, got",
        ),
        ("finding.random=9", "finding.random: expected at most the"),
    ],
)
def test_what_only_the_data_and_the_costs_show_is_refused_before_anything_is_trained(
    files, tmp_path, capsys, change, message
):
    assert run_study.main([files["found"], "--out", str(tmp_path / "out"), "--set", change]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out/cache").exists()


# -- arithmetic ------------------------------------------------------------------------------------------------


def test_a_training_is_described_by_what_came_behind_its_warm_up():
    """Two layers of two choices, a warm-up of one epoch of four; the early look is after the second epoch."""
    trained = [[[5, 5], [5, 5]], [[8, 7], [6, 9]], [[14, 6], [7, 13]], [[20, 10], [10, 20]]]
    alpha = [[[0, 0], [0, 0]], [[0.1, 0], [0.2, 0]], [[0.3, 0], [0.1, 0.2]], [[0.5, 0], [0.1, 0.4]]]
    dropped = [[[-1, -1], [-1, -1]]] * 3 + [[[-1, 39], [-1, -1]]]
    history = [{"alpha": a, "trained": t, "dropped_at": d} for a, t, d in zip(alpha, trained, dropped, strict=True)]
    figures = betanas.describe(history, Phases(40, BetaNASConfig(warmup=0.25)), early=0.25)
    assert figures["most_trained_share"] == pytest.approx((15 / 20 + 15 / 20) / 2)
    assert figures["early_most_trained_share"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert figures["entropy"] == pytest.approx(-(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)))
    assert figures["early_leader_wins"] == 0.5  # of the first layer alone
    assert figures["rank_correlation"] == pytest.approx(0)
    assert figures["winner_most_trained"] == 1 and figures["dropped"] == 1


def test_dropped_choices_stand_below_all_others_in_the_order_they_went():
    alpha = np.array([[0.9, -0.5, 0.2, -0.1], [0.0, 0.1, 0.2, 0.3]])
    dropped_at = np.array([[7, -1, 3, -1], [-1, -1, -1, -1]])
    assert betanas.standing(alpha, dropped_at).tolist() == [[1, 2, 0, 3], [0, 1, 2, 3]]


def test_entropy_is_one_for_equal_shares_and_zero_for_a_single_choice():
    np.testing.assert_allclose(betanas.entropy(np.array([[0.25] * 4, [0, 1, 0, 0]])), [1, 0], atol=1e-12)


def test_a_seeds_random_networks_are_told_by_their_mean_and_by_the_best_in_validation():
    figures = dict.fromkeys(("multiply_adds", "params", "one_shot"), 1)
    rows = [
        {"method": "betanas", "seed": 0, **figures, "validation": 0.1, "test": 0.9},
        {"method": "random", "seed": 0, **figures, "validation": 0.5, "test": 0.6},
        {"method": "random", "seed": 0, **figures, "validation": 0.4, "test": 0.8},
        {"method": "random", "seed": 1, **figures, "validation": 0.2, "test": 0.3},
    ]
    found = [(row["method"], row["seed"], row["test"]) for row in betanas.by_method(rows)]
    assert found == [
        ("betanas", 0, 0.9),
        ("random, mean", 0, pytest.approx(0.7)),
        ("random, best by validation", 0, 0.6),
        ("random, mean", 1, pytest.approx(0.3)),
        ("random, best by validation", 1, 0.3),
    ]


def test_the_order_is_that_of_networks_scored_by_the_searched_supernet():
    """Seed 0: of three pairs two are in order, and BetaNAS' network would reverse another; seed 1 has one network."""
    figures = [
        ("betanas", 0, 0.9, 0.0),
        ("scarlet", 0, 0.3, 0.5),
        ("mobilenet_v2", 0, 0.2, 0.6),
        ("random", 0, 0.1, 0.2),
    ]
    rows = [dict(zip(("method", "seed", "one_shot", "test"), row, strict=True)) for row in figures]
    rows.append({"method": "random", "seed": 1, "one_shot": 0.2, "test": 0.3})
    assert betanas.one_shot_order(rows) == [
        {"seed": 0, "networks": 3, "tau": pytest.approx(1 / 3)},
        {"seed": 1, "networks": 1, "tau": None},
    ]


def test_the_search_answers_with_the_most_accurate_network():
    found = {"architectures": ["0,1", "2,2", "1,1"], "accuracies": [0.2, 0.5, 0.5]}
    assert betanas.best(found) == {"architecture": "2,2", "one_shot": 0.5}


def test_random_networks_are_different_near_the_budget_and_the_seeds_own():
    costs = cost_table(tiny_space(), 8, 10)
    budget = float(np.median(costs.count(np.array(list(itertools.product(range(4), repeat=4))))[0]))
    within = SearchConfig(upper_bounds={"multiply_adds": budget})
    draw = lambda seed: betanas.random_networks(costs, within, 5, 0.8, seed)  # noqa: E731
    networks = draw(0)
    assert len({network.choices for network in networks}) == 5
    assert all(0.8 * budget <= costs.count_one(network.choices)[0] <= budget for network in networks)
    assert networks == draw(0) != draw(1)


def test_a_random_network_alone_is_drawn_too():
    costs = cost_table(tiny_space(), 8, 10)
    assert len(betanas.random_networks(costs, SearchConfig(upper_bounds={"multiply_adds": 1e9}), 1, 0.0, 0)) == 1


def test_cpu_seconds_are_scaled_to_the_steps_that_count(tmp_path, monkeypatch):
    """A process that does 4 steps in 8 seconds and is killed in the epoch after; another one that does that epoch."""
    now = types.SimpleNamespace(process_time=lambda: now.seconds, seconds=100.0)
    monkeypatch.setattr(workshop, "time", now)
    first = workshop.CpuClock(tmp_path / "cpu.json")
    assert first.cpu_seconds(8) is None
    for counter, seconds, whole in ((first, 8, True), (first, 50, False), (workshop.CpuClock(first.path), 4, True)):
        if seconds != 50:
            counter.on_train_begin()
        for batch in range(4):
            counter.on_train_batch_end(batch)
        now.seconds += seconds
        if whole:
            counter.on_epoch_end(0)
    assert first.cpu_seconds(8) == 12
