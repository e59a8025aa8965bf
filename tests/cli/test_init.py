"""`scarlet init`: from a look at images to a configuration that runs."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from scarlet_tf import cli
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import file_name
from scarlet_tf.cli import init_draft
from scarlet_tf.cli import init_timing as timing
from scarlet_tf.cli.init_choices import (
    MEDIAN_IN_BUDGETS,
    candidates,
    choose,
    hold_out,
    natural_size,
    schedule,
    supernet_rate,
)
from scarlet_tf.cli.init_timing import parse_time
from scarlet_tf.config import load_config, parse_config
from scarlet_tf.config.run_time import in_words, stage_seconds
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.looking import look_at
from scarlet_tf.run import open_run

SHORT = ["supernet.epochs=1", "retrain.epochs=1", "search.population_size=2", "search.generations=2"]
SHORT += ["export.formats=[float32]", "export.saved_model=false", "export.benchmark_threads=0", "search.picks=1"]


def write_photos(folder, counts, size=(32, 40)):
    """Noise, in one folder a class."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            (folder / name / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCARLET_DATA_DIR", raising=False)
    return tmp_path


def facts(num_train=1000, classes=4, **others):
    counts = np.full(classes, num_train // classes)
    return DatasetFacts("photos", tuple("abcdefgh"[:classes]), {"train": num_train, **others}, counts, ((32, 32),))


# -- the command -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_written_for_a_folder_runs_through_every_stage(here, capsys):
    write_photos(here / "photos", {"cats": 30, "dogs": 30})
    assert cli.main(["init", "photos", "--budget", "500k"]) == 0
    capsys.readouterr()
    shortened = [part for change in SHORT for part in ("--set", change)]
    assert cli.main(["run", "photos.yaml", "--run-dir", "r", "--json", *shortened]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["pick"]["multiply_adds"] < 500_000


def test_what_is_written_for_a_folder_passes_every_check_of_a_run(here, capsys):
    write_photos(here / "photos", {"cats": 30, "dogs": 30})
    assert cli.main(["init", "photos", "--budget", "500k", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["next"] == ["scarlet doctor --config photos.yaml", "scarlet run photos.yaml"]
    assert (figures["median_side"], figures["image_size"], figures["classes"]) == (32, 32, 2)
    config = load_config("photos.yaml")
    assert config.data.directory == str((here / "photos").resolve())  # serves from everywhere
    assert config.search.budget == 500_000
    assert open_run(config, "r").data.num_classes == 2


def test_files_are_named_as_every_system_allows(here, capsys):
    write_photos(here / "aux", {"cats": 30, "dogs": 30})
    assert cli.main(["init", "aux", "--budget", "500k"]) == 0
    written = [path.name for path in here.glob("*.yaml")]
    assert written == [f"{file_name('aux')}.yaml"] and written != ["aux.yaml"]
    assert load_config(written[0]).data.directory == (here / "aux").resolve().as_posix()


def test_a_run_folder_inside_the_image_folder_is_no_class(here, capsys, monkeypatch):
    write_photos(here / "photos", {"cats": 30, "dogs": 30})
    monkeypatch.chdir(here / "photos")
    assert cli.main(["init", ".", "--budget", "500k"]) == 0
    assert "scarlet run photos.yaml" in capsys.readouterr().out
    config = load_config("photos.yaml")
    for _ in range(2):  # the second time the folder is there
        data = open_run(config, "runs/photos").data
        assert (data.name, data.class_names) == ("photos", ("cats", "dogs"))
    assert cli.main(["init", ".", "--budget", "500k", "--force"]) == 0
    out = capsys.readouterr().out
    assert "warning: runs/ is not used: it belongs to a run" in out
    assert "warning: photos: left out 1 beside the class folders" in out


def test_bad_data_leave_no_run_folder(here, capsys):
    write_photos(here / "photos", {"cats": 30, "dogs": 30})
    assert cli.main(["init", "photos", "--budget", "500k"]) == 0
    (here / "photos" / "cats" / "torn.png").write_bytes(b"no image")
    assert cli.main(["run", "photos.yaml"]) == 2
    assert "1 of 61 images cannot be decoded, 1 no image: cats/torn.png" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["photos", "photos.yaml"]


def test_a_file_that_exists_is_replaced_with_force_alone(here, capsys):
    pathlib.Path("digits.yaml").write_text("mine")
    assert cli.main(["init", "digits", "--budget", "0.6M"]) == 2
    assert "digits.yaml: it exists; take another --out, or --force to replace it" in capsys.readouterr().err
    assert pathlib.Path("digits.yaml").read_text() == "mine"
    assert cli.main(["init", "digits", "--budget", "0.6M", "--force", "--name", "numbers", "--hours", "1.5"]) == 0
    assert "scarlet run digits.yaml --max-hours 0.5\n" in capsys.readouterr().out
    assert load_config("digits.yaml").name == "numbers"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits"], "--budget: missing; multiply-adds from 0.04 M to"),
        (["digits", "--budget", "2k"], "--budget: no network for these images costs less than 2000;"),
        (["digits", "--budget", "much"], "--budget: expected a number > 0, such as 60M, got 'much'"),
        (["digits", "--budget", "nan"], "--budget: expected a number > 0"),
        (["digits", "--budget", "1M", "--hours", "0"], "--hours: expected a number > 0, got 0.0"),
        (["digits", "--budget", "1M", "--out", "my.txt"], "--out: expected a .yaml file, got my.txt"),
        (["cifar10", "--budget", "1M"], "scarlet init tfds:cifar10"),
        (["empty", "--budget", "1M"], "empty/a: expected images in this class folder, got none, nor in b; add images"),
        (["bad", "--budget", "1M"], "bad: 1 of 7 sampled images cannot be decoded"),
        (["few", "--budget", "1M"], "few: expected at least 3 training images of each class, got fewer of b"),
    ],
)
def test_what_cannot_be_is_told_with_the_next_step_and_nothing_is_written(here, arguments, message, capsys):
    for name in ("a", "b"):
        (here / "empty" / name).mkdir(parents=True)
    write_photos(here / "bad", {"a": 3, "b": 3})
    (here / "bad" / "b" / "torn.png").write_text("no image")
    write_photos(here / "few", {"a": 9, "b": 2})
    assert cli.main(["init", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.out == ""
    assert list(here.glob("*.yaml")) == []


def test_uneven_classes_and_an_idle_budget_are_said(here, capsys):
    write_photos(here / "photos", {"a": 40, "b": 10})
    assert cli.main(["init", "photos", "--budget", "900M"]) == 0
    out = capsys.readouterr().out
    assert "warning: classes are uneven: b has 10 images, a has 40" in out
    assert "warning: the budget excludes nothing: the most expensive network costs" in out


def test_names_that_yaml_would_misread_are_quoted(here, capsys):
    write_photos(here / "on: [1] #2", {"yes": 9, "no": 9})
    assert cli.main(["init", "on: [1] #2", "--budget", "1M", "--out", "my.yaml", "--name", "1e3"]) == 0
    config = load_config("my.yaml")
    assert (config.name, config.data.directory) == ("1e3", str((here / "on: [1] #2").resolve()))


def test_names_that_would_act_on_a_terminal_or_end_a_comment(here, capsys):
    folder, file = "a\x1b[31m\u2028b [bold]é→", "0908\nseed: 7\x07.yaml"
    write_photos(here / folder, {"[red]é": 9, "no": 9})
    assert cli.main(["init", folder, "--budget", "1M", "--out", file, "--name", "\x9b\n#"]) == 0
    config = load_config(file)
    assert (config.name, config.seed, config.data.directory) == ("\x9b\n#", 0, str((here / folder).resolve()))
    shown = capsys.readouterr().out
    assert r"a\x1b[31m\u2028b [bold]é→: 18 train images" in shown and "\x1b" not in shown and "\x07" not in shown


# -- what is chosen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "expected"), [(8, 16), (16, 16), (28, 28), (31, 31), (47, 47), (97, 97), (224, 224), (375, 224)]
)
def test_the_input_side_loses_nothing_up_to_224_pixels(side, expected):
    assert natural_size(side) == expected
    assert candidates(side, 10, False)[0].image_size == expected


@pytest.mark.parametrize("side", [17, 28, 29, 31, 63, 97])
def test_a_network_takes_sides_that_its_strides_do_not_divide(side):
    """Each stride of 2 makes ceil(side / 2) pixels; where the last layers see them, two by two are left at least."""
    from scarlet_tf.models.network import build_network

    sizing = candidates(side, 3, False)[-1]
    side = sizing.image_size
    network = build_network(sizing.space.sample(np.random.default_rng(0)).lower((side, side, 3), 3))
    for stride in [sizing.space.stem_stride, *(stage.stride for stage in sizing.space.stages)]:
        side = -(-side // stride)
    heights = [layer.output.shape[1] for layer in network.layers if len(layer.output.shape) == 4]
    assert heights[-1] == side >= 2


@pytest.mark.parametrize("side", [8, 32, 64, 100, 375])
@pytest.mark.parametrize("squeeze", [False, True])
def test_smaller_budgets_get_cheaper_sizings_within_reach(side, squeeze):
    sizings = candidates(side, 10, squeeze)
    medians = [sizing.median for sizing in sizings]
    assert medians == sorted(medians, reverse=True)
    for budget in (sizings[-1].least + 1, *(sizing.median for sizing in sizings)):
        sizing = choose(budget, side, 10, squeeze)
        assert sizing.least < budget
        assert sizing.median <= MEDIAN_IN_BUDGETS * budget or sizing == sizings[-1]
    with pytest.raises(InputError, match=r"--budget: no network.*are in reach; for example: --budget"):
        choose(sizings[-1].least, side, 10, squeeze)


def test_the_published_budget_gets_the_published_size():
    sizing = choose(500e6, 375, 1000, squeeze=True)
    assert (sizing.image_size, sizing.space.name, sizing.space.width_multiplier) == (224, "s2", 1.0)


def test_processors_get_the_epochs_of_the_recipes_that_were_run():
    digits = load_config(pathlib.Path(__file__).parents[2] / "configs" / "digits.yaml")
    cifar = load_config(pathlib.Path(__file__).parents[2] / "configs" / "cifar10_small.yaml")
    for recipe, num_train in ((digits, 1294), (cifar, 45_000)):
        plan = schedule(num_train, has_gpu=False, is_small=True)
        assert (plan.batch_size, plan.supernet_epochs) == (recipe.supernet.batch_size, recipe.supernet.epochs)
        assert (plan.batch_size, plan.retrain_epochs) == (recipe.retrain.batch_size, recipe.retrain.epochs)
        assert plan.learning_rate == recipe.retrain.learning_rate
        assert plan.population_size == recipe.search.population_size


@pytest.mark.parametrize(("side", "seen", "times"), [(31, None, 1), (32, 16, 3), (64, 32, 3)])
def test_a_supernet_sees_half_the_side_for_three_times_the_epochs(side, seen, times, monkeypatch):
    facts = DatasetFacts("photos", tuple("abcd"), {"train": 6000}, np.full(4, 1500), ((side, side),))
    monkeypatch.setattr(init_draft, "look_at", lambda data: facts)
    budget = candidates(side, 4, False)[0].usual_budget
    made = init_draft.draft(DataConfig("folder", directory="photos"), budget, False, "my", "my.yaml", parent="none")
    config = made.config
    assert (config.data.image_size, config.supernet.image_size) == (side, seen)
    assert config.supernet.epochs == times * made.choices.plan.supernet_epochs
    assert config.supernet.warmup_epochs == pytest.approx(config.supernet.epochs / 10, abs=0.05)


@pytest.mark.parametrize(
    ("batch_size", "num_choices", "rate"),
    [
        (128, 7, 0.045),  # configs/cifar10_small.yaml
        (256, 13, 0.024),  # 0.045 x 7 / 13, as configs/imagenet_s2.yaml
        (256, 3, 0.045),
        (16, 7, 0.011),
    ],
)
def test_the_supernets_rate_goes_with_the_gradients_that_a_step_sums(batch_size, num_choices, rate):
    assert supernet_rate(batch_size, num_choices) == rate


def test_the_recipes_rates_are_no_greater_than_init_would_take():
    configs = pathlib.Path(__file__).parents[2] / "configs"
    for name in ("cifar10_small", "imagenet_s1", "imagenet_s2"):
        config = load_config(configs / f"{name}.yaml")
        assert config.supernet.learning_rate == supernet_rate(config.supernet.batch_size, config.space.num_choices), (
            name
        )


def test_hold_outs_leave_every_class_an_image_everywhere(here):
    """The shares are wider than usual here: 20 images of each of 2 classes were too few for a tenth of a tenth."""
    write_photos(here / "photos", dict.fromkeys("abcdefgh", 5), size=(8, 8))
    data = DataConfig("folder", directory="photos")
    held_out = hold_out(look_at(data))
    shares = {"test_fraction": held_out.test_share, "validation_fraction": held_out.validation_share}
    loaded = load_dataset(DataConfig("folder", directory="photos", image_size=8, **shares))
    for split in (loaded.train, loaded.validation, loaded.test):
        assert set(split.labels.tolist()) == set(range(8))
    assert loaded.train.num_examples == held_out.num_train


def test_splits_of_its_own_are_kept():
    held_out = hold_out(facts(test=100, validation=100))
    assert (held_out.num_train, held_out.test_share, held_out.validation_share) == (1000, None, None)
    held_out = hold_out(facts(test=100))
    assert (held_out.num_train, held_out.test_share, held_out.validation_share) == (900, None, 0.1)


def test_too_few_images_for_any_hold_out_are_refused():
    with pytest.raises(InputError, match="24 images are too few to hold some of each of 8 classes out"):
        hold_out(facts(24, 8))


# -- for a time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5 h", 5400), ("2 min", 120), ("1h 5m", 3900)]
)
def test_times_are_read(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["10 parsecs", "", "10", "-5m", "m", "0s", "1e3s", "10mm", "nan"])
def test_times_that_cannot_be_are_told(here, text, capsys):
    assert cli.main(["init", "digits", f"--time={text}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("scarlet: error: --time: expected ") and error.count("\n") == 1 and repr(text) in error


def test_the_time_of_a_run_by_hand():
    """One choice, so that every network costs the same; a step of 0.7 s for 7 images is 0.1 s for an image of a path."""
    values = {
        "name": "a",
        "data": {"source": "digits", "image_size": 8},
        "space": {
            "name": "one",
            "stages": [{"channels": 8, "depth": 1}],
            "choices": [{"expansion": 2, "kernel_size": 3}],
        },
        "supernet": {"epochs": 3, "batch_size": 7},
        "search": {"population_size": 4, "generations": 2, "recalibration_batches": 2, "validation_batch_size": 10},
        "retrain": {"epochs": 5, "batch_size": 8},
    }
    examples = {"train": 70, "validation": 30}
    found = stage_seconds(parse_config({**values, "race": "off"}), examples, 10, first=20.0, seconds=0.7)
    assert found == pytest.approx(
        {
            "train-supernet": 20 + 3 * 10 * 0.7,
            "search": 10 + 8 * (20 + 30) * 0.25 * 0.1,
            "retrain": 10 + 5 * (64 * 1.3 + 30 * 0.4) * 0.1,
            "export": 30,
        }
    )
    # Seven networks race: 7, 4 and 2 of them begin a rung, after a quarter, a half and all of the training.
    raced = stage_seconds(parse_config(values), examples, 10, first=20.0, seconds=0.7)
    assert raced["race"] == pytest.approx(13 * 10 + 3.75 * (found["retrain"] - 10)) and raced["retrain"] == 10


@pytest.fixture
def measured(monkeypatch):
    """Steps that take 100 ns for a multiply-add of the middle network; what was asked for."""
    asked = []

    def fake(config, choices):
        asked.append(choices.sizing.space.width_multiplier)
        return timing.Timing(10.0, 8.0, choices.sizing.median * 1e-7)

    monkeypatch.setattr(init_draft, "measured", fake)
    return asked


def draft_for(seconds, budget=None, num_train=6000, monkeypatch=None):
    shapes = DatasetFacts("photos", tuple("abcd"), {"train": num_train}, np.full(4, num_train // 4), ((28, 28),))
    monkeypatch.setattr(init_draft, "look_at", lambda data: shapes)
    return init_draft.draft(DataConfig("folder", directory="photos"), budget, False, "my", "my.yaml", seconds)


@pytest.mark.parametrize("seconds", [120, 600, 3600])
@pytest.mark.parametrize("budget", [None, 1e6])
def test_lengths_fit_the_time(measured, seconds, budget, monkeypatch):
    """What is forecast is within the time, and a fifth longer lengths would not be, or would be of little use."""
    made = draft_for(seconds, budget, monkeypatch=monkeypatch)
    chosen, config = made.choices, made.config
    total = sum(chosen.forecast.values())
    assert total <= seconds
    assert (config.supernet.epochs, config.retrain.epochs) == (chosen.plan.supernet_epochs, chosen.plan.retrain_epochs)
    usual = schedule(chosen.held_out.num_train, False, True)
    at_most = chosen.plan == timing.scaled_plan(usual, timing.MOST_LENGTHS)
    assert total > 0.8 * seconds or at_most
    assert config.data.image_size == 28
    if budget is None:
        assert chosen.sizing.least < config.search.budget < chosen.sizing.greatest
    else:
        assert config.search.budget == budget and len(measured) == 1
    assert f"# Time: forecast {in_words(chosen.forecast)[:9]}" in made.text


def test_more_time_gets_larger_networks_until_they_are_usual(measured, monkeypatch):
    widths = [
        draft_for(seconds, monkeypatch=monkeypatch).choices.sizing.space.width_multiplier
        for seconds in (150, 500, 9999)
    ]
    assert widths == sorted(widths) and widths[0] < widths[-1] == 1
    many = draft_for(10**6, num_train=50_000, monkeypatch=monkeypatch)
    assert many.choices.sizing.space.width_multiplier == 2


def test_a_time_below_every_run_is_refused_with_what_is_needed(measured, monkeypatch):
    with pytest.raises(
        InputError, match=r"--time: expected at least 2m for these images on this machine, got 1 s; one epoch"
    ):
        draft_for(1, monkeypatch=monkeypatch)
    assert draft_for(120, monkeypatch=monkeypatch).choices.plan.supernet_epochs >= 1


def test_the_trial_times_a_step_as_a_run_takes_it(here, capsys):
    """In its own process; so does a run that is long enough, and tells of all stages before its first step."""
    write_photos(here / "photos", {"cats": 20, "dogs": 20}, size=(16, 20))
    assert cli.main(["init", "photos", "--time", "2h", "--budget", "200k", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures["forecast_seconds"]) == ["start", "train-supernet", "search", "race", "retrain", "export"]
    assert all(seconds > 0 for seconds in figures["forecast_seconds"].values())
    assert sum(figures["forecast_seconds"].values()) <= 7200


def test_a_trial_that_fails_is_one_line(here, monkeypatch, capsys):
    monkeypatch.setattr(timing, "COMMAND", (sys.executable, "-c", "raise SystemExit('no memory')"))
    assert cli.main(["init", "digits", "--time", "10m"]) == 2
    assert "--time: no step could be timed: no memory; leave it out" in capsys.readouterr().err
    assert list(here.glob("*.yaml")) == []


# -- the terminal ----------------------------------------------------------------------------------------------


def test_nothing_but_results_is_on_the_terminal_unless_asked_for(here):
    """As a user starts it: what C++ code writes to the process's stderr counts, too."""
    command = [sys.executable, "-m", "scarlet_tf", "init", "digits", "--budget", "0.6M", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert json.loads(done.stdout)["file"] == "digits.yaml"
