"""Every kind of study on real digits at the smallest size; the shipped studies' files; the arithmetic in between."""

import json
import pathlib

import numpy as np
import pytest
import yaml
from tiny import tiny_space

import run_study
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.journal import EvaluationTable
from studies import searching, supernets
from studies.searching import fill
from studies.settings import load_study
from studies.workshop import over_seeds

FOLDER = pathlib.Path(__file__).parents[2] / "configs/studies"
SHIPPED = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "common.yaml"]
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
    "supernet": {"epochs": 1, "batch_size": 50, "learning_rate": 0.05},
}
RETRAIN = {"epochs": 1, "batch_size": 50, "optimizer": "sgd", "learning_rate": 0.05, "warmup_epochs": 0, "ema": 0.0}
SUPERNETS = {"let": {"skip": "let"}, "identity": {"skip": "identity"}}
PANEL = {"paths": 5, "recalibration_batches": 1, "batch_size": 100}
STUDIES = {
    "panel": {"study": "one_shot", "supernets": SUPERNETS, "panel": PANEL},
    "fair": {
        "study": "one_shot",
        "supernets": {"fair": {}, "uniform": {"sampling": "uniform", "epochs": 3}},
        "panel": PANEL,
    },
    "features": {
        "study": "similarity",
        "supernets": SUPERNETS,
        "similarity": {"layers": [0, 1], "prefixes": 2, "images": 20},
    },
    "skips": {"study": "curves", "curves": {"architecture": "0,2"}, "retrain": RETRAIN},
    "searches": {
        "study": "search",
        "supernets": {"let": {"skip": "let"}},
        "table": {"images": 50, "recalibration_batches": 1, "batch_size": 50},
        "search": {"population_size": 2, "upper_bounds": {"multiply_adds": 50e3}},
        "comparison": {
            "seeds": 3,
            "evaluations": 4,
            "fractions": [0.5, 1.0],
            "algorithms": {
                "random": {"algorithm": "random"},
                "plain": {"weights": [1, 1, 1], "mutation": {"kind": "uniform"}},
            },
        },
    },
    "tau": {
        "study": "ranking",
        "supernets": SUPERNETS,
        "ranking": {"architectures": 3, "strata": 3, "recalibration_batches": 1, "bootstrap_resamples": 50},
        "retrain": RETRAIN,
    },
}


@pytest.fixture
def files(tmp_path):
    """The studies' files by name."""
    (tmp_path / "common.yaml").write_text(yaml.safe_dump(COMMON))
    for name, values in STUDIES.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"base": "common.yaml", **values}, sort_keys=False))
    return {name: str(tmp_path / f"{name}.yaml") for name in STUDIES}


@pytest.mark.slow
def test_every_kind_of_study_runs_shares_supernets_and_is_not_repeated(files, tmp_path, capsys):
    command = [*files.values(), "--out", str(tmp_path / "out")]
    assert run_study.main(command) == 0
    printed = capsys.readouterr().out
    tables = {table["study"]: table for table in map(json.loads, printed.splitlines())}
    assert list(tables) == list(STUDIES) and all(table["complete"] for table in tables.values())
    # LET under fair sampling is in five studies; identity and uniform are the others.
    assert len(list((tmp_path / "out/cache").glob("supernet-*"))) == 3
    assert {len(tables[name]["rows"]) for name in ("panel", "fair", "skips", "searches", "tau")} == {2}
    assert len(next((tmp_path / "out/cache").glob("table-*.jsonl")).read_text().splitlines()) == 1 + 9
    assert [row["backward_passes"] for row in tables["fair"]["rows"]] == [12, 12]
    assert len(tables["features"]["rows"]) == 4
    for name, plot in (
        ("panel", "histograms"),
        ("skips", "curves"),
        ("features", "similarity"),
        ("searches", "hypervolume"),
        ("tau", "tau"),
    ):
        assert (tmp_path / "out" / name / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    # Three networks for both supernets of "tau".
    assert len(list((tmp_path / "out/cache").glob("standalone-*/*-*.json"))) == 3

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cache").rglob("*") if path.is_file()}
    assert run_study.main(command) == 0
    assert capsys.readouterr().out == printed
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cache").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_interrupted_study_leaves_what_it_has_and_goes_on(files, tmp_path, capsys, monkeypatch):
    measure, calls = supernets.measure_one_shot, []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*args, **options)

    monkeypatch.setattr(supernets, "measure_one_shot", interrupted)
    command = [files["panel"], "--out", str(tmp_path / "out")]
    assert run_study.main(command) == 130
    assert "the same command resumes" in capsys.readouterr().err
    partial = json.loads((tmp_path / "out/panel/result.json").read_text())
    assert (partial["complete"], [row["supernet"] for row in partial["rows"]]) == (False, ["let"])
    assert run_study.main(command) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["complete"] and whole["rows"][0] == partial["rows"][0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_is_valid_and_opens_as_a_document(path):
    study = load_study(path)
    assert max(len(study.seeds), study.sections["comparison"].seeds if study.kind == "search" else 0) >= 3
    header = path.read_text().partition("\n\n")[0]
    for word in ("Purpose:", "Command:", "Hardware:", "Time:", "Result:", "Reproduced:"):
        assert f"# {word}" in header
    assert f"python tools/run_study.py configs/studies/{path.name}" in header


def test_uniform_sampling_gets_as_many_backward_passes_as_fair():
    study = load_study(FOLDER / "fair_vs_uniform.yaml")
    fair, uniform = study.supernets["strict_fair"], study.supernets["uniform"]
    assert uniform.epochs == fair.epochs * study.space.num_choices
    assert uniform.batch_size == fair.batch_size


def test_studies_that_share_a_supernet_declare_it_alike():
    known = {}
    for path in SHIPPED:
        study = load_study(path)
        for name, config in study.supernets.items():
            assert known.setdefault({"strict_fair": "let"}.get(name, name), (config, study.space)) == (
                config,
                study.space,
            )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("panel", "panel.paths=10", "panel.paths: expected at most the space's 9 paths"),
        ("panel", "panel.path=1", "panel.path: unknown key"),
        ("panel", "study=other", "study: expected one of one_shot, curves, similarity, ranking, search, "),
        ("panel", "seeds=[0,0]", "seeds: expected a list of different integers >= 0, got [0, 0]"),
        ("panel", "retrain.epochs=3", "retrain: unknown key; expected one of study, base,"),
        ("panel", "supernets.let.skip=none", "supernets.let.skip: expected one of let, identity, relu"),
        ("panel", "supernets.let.seed=1", "supernets.let: expected a mapping without seed"),
        ("features", "similarity.layers=[2]", "similarity.layers: expected layers from 0 to 1"),
        ("skips", "curves.architecture=0,7", "curves.architecture: layer 1: expected a choice from 0 to 2, got 7"),
        ("searches", "table.images=0", "table.images: expected an integer >= 1, got 0"),
        ("searches", "comparison.evaluations=1", "comparison.evaluations: expected at least search.population_size, 2"),
        (
            "searches",
            "comparison.algorithms.plain.popsize=1",
            "comparison.algorithms.plain: search.popsize: unknown key",
        ),
        (
            "searches",
            "comparison.algorithms={plain: {}}",
            "comparison.algorithms: expected random among them, got plain",
        ),
        (
            "searches",
            "comparison.fractions=[2]",
            "comparison.fractions[0]: expected a number above 0 and up to 1, got 2",
        ),
        ("tau", "retrain.warmup_epochs=1", "ranking.warmup_epochs: expected less than the 1 epochs"),
    ],
)
def test_bad_studies_are_refused_with_the_key(files, tmp_path, capsys, name, change, message):
    assert run_study.main([files[name], "--out", str(tmp_path / "out"), "--set", change]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_not_there_is_named(files, tmp_path):
    (tmp_path / "common.yaml").unlink()
    with pytest.raises(InputError, match=r"common.yaml: expected a readable YAML file"):
        load_study(files["panel"])


# -- arithmetic ------------------------------------------------------------------------------------------------


def test_cosines_of_known_vectors():
    """Two images; the choices answer the same, the opposite, and something at right angles."""
    base = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])  # [B, 1, 2]
    features = np.stack([base, -3 * base, base[..., ::-1], 0 * base])
    expected = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(supernets.cosines(features), expected, atol=1e-12)


def test_similarity_leaves_the_supernet_as_it_was(rng):
    space = tiny_space()
    supernet = Supernet(space, (8, 8, 3), 5)
    before = [np.array(variable) for variable in supernet.variables]
    images = rng.normal(size=(6, 8, 8, 3)).astype(np.float32)
    matrix = supernets.similarities(supernet, images, 2, supernets.random_paths(space, 3, 0))
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    for variable, value in zip(supernet.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_pairs_with_and_without_a_skip_are_told_apart():
    space = tiny_space()  # the skip is the last of four choices
    matrix = np.full((4, 4), 0.5)
    matrix[:, 3] = matrix[3, :] = 0.1
    assert supernets.by_skip(space, matrix) == pytest.approx({"mean": 0.3, "with_skip": 0.1, "without_skip": 0.5})


def test_random_paths_are_different_and_the_seeds_own():
    space = tiny_space()
    paths = supernets.random_paths(space, 30, 1)
    assert len({path.choices for path in paths}) == 30
    assert paths == supernets.random_paths(space, 30, 1) != supernets.random_paths(space, 30, 2)


def test_panel_is_described_by_its_worst_path():
    paths = supernets.random_paths(tiny_space(), 3, 0)
    figures = supernets.describe(paths, {"running": [0.5, 0.2, 0.8]})
    assert figures["running_mean"] == pytest.approx(0.5)
    assert figures["running_deviation"] == pytest.approx(np.sqrt(0.06))
    assert (figures["running_worst"], figures["running_best"]) == (0.2, 0.8)
    assert figures["running_worst_path"] == paths[1].to_string()


def test_summary_over_seeds():
    rows = [{"name": "a", "x": 1.0}, {"name": "b", "x": None}, {"name": "a", "x": 3.0}]
    first, second = over_seeds(rows, ["name"], ["x"])
    assert first == {"name": "a", "seeds": 2, "x": 2.0, "x_deviation": pytest.approx(np.sqrt(2))}
    assert second == {"name": "b", "seeds": 1, "x": None, "x_deviation": None}


def test_evaluations_to_a_share_of_the_front_are_medians_beside_randoms():
    """Three searches each; the front's hypervolume is 0.5."""
    slow, fast = np.array([0.1, 0.2, 0.3, 0.45]), np.array([0.3, 0.5, 0.5, 0.5])
    curves = {"random": [slow] * 3, "clever": [fast, fast, slow]}
    random, clever = searching.describe(curves, 0.5, (0.6, 1.0))
    assert (random["evaluations_to_0.6_median"], clever["evaluations_to_0.6_median"]) == (3, 1)
    assert clever["evaluations_to_0.6_ratio"] == pytest.approx(1 / 3) and random["evaluations_to_0.6_ratio"] == 1
    # No random search reaches the whole: its four evaluations stand for it.
    assert random["evaluations_to_1_median"] is None and random["evaluations_to_1_reached"] == 0
    assert clever["evaluations_to_1_ratio"] == 0.5 and clever["evaluations_to_1_reached"] == 2
    assert clever["final_share_median"] == 1 and random["final_share_median"] == pytest.approx(0.9)


def test_filling_a_table_goes_on_with_what_is_missing(tmp_path):
    class Evaluator:
        announced, seen = [], []

        def begin_generation(self, architectures):
            self.announced.append(len(architectures))

        def evaluate(self, choices):
            if len(self.seen) == 100:
                self.seen.append("interrupted")
                raise KeyboardInterrupt
            self.seen.append(choices)
            return {"accuracy": sum(choices) / 100}

    space, evaluator = tiny_space(), Evaluator()
    with pytest.raises(KeyboardInterrupt), EvaluationTable(tmp_path / "t.jsonl", {}, evaluator) as table:
        fill(table, space, chunk=64)
    with EvaluationTable(tmp_path / "t.jsonl", {}, evaluator) as table:
        assert len(table) == 100
        fill(table, space, chunk=64)
        assert len(table) == space.size == 256
    assert evaluator.announced == [64, 64, 28, 64, 64] and evaluator.seen.count("interrupted") == 1
    assert len(set(evaluator.seen)) == 257
