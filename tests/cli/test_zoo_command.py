"""`scarlet zoo`, and `scarlet cost` of networks that are scaled or one's own."""

import json
import subprocess
import sys

import pytest
from tiny import tiny_space

import scarlet_tf
from scarlet_tf import cli
from scarlet_tf.models.zoo_data import ZOO, add_own, own_names
from scarlet_tf.space.cost import count, count_spec
from scarlet_tf.space.scaling import scale
from scarlet_tf.space.search_space import Architecture

SPEC = Architecture((0, 1, 3, 2), tiny_space()).lower((8, 8, 3), 5)
ORIGIN = {
    "run": "/runs/my",
    "space": "tiny",
    "architecture": "0,1,3,2",
    "init": "scratch",
    "scaling": None,
    "dataset": "digits",
    "test_examples": 359,
    "top1": 98.25,
    "one_shot_accuracy": 70.0,
    "preprocessing": {"image_size": 8, "crop_fraction": 1.0, "normalization": "inception"},
    "labels": list("abcde"),
}


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))


def as_json(capsys, *arguments):
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_states_counted_and_published_figures_with_their_source(capsys):
    rows = as_json(capsys, "zoo")["networks"]
    assert [row["name"] for row in rows] == list(ZOO)
    for row in rows:
        cost, stated = count(ZOO[row["name"]].architecture), ZOO[row["name"]].published
        assert (row["multiply_adds"], row["params"]) == (cost.multiply_adds, cost.params)
        assert (row["published"]["top1"], row["published"]["source"]) == (stated.top1, stated.source)


def test_the_list_fits_a_terminal_and_names_what_is_our_reading(capsys):
    assert cli.main(["zoo"]) == 0
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if line.startswith("│ scarlet_b")]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "scarlet_b", "224", "326.9", "6.53", "329 / 6.5", "76.3", "1",
    ]  # fmt: skip
    assert len(line) <= 80
    assert "source 1: SCARLET-NAS (arXiv 1908.06022, 2019), table 3" in out
    assert "scarlet_a2: reading: the authors scaled SCARLET-A by hand" in out
    assert "scarlet_b: note: the published table says 329 M" in out


def test_the_python_line_of_each_network_names_what_there_is(capsys):
    for row in as_json(capsys, "zoo")["networks"]:
        assert (
            row["python"].removeprefix("scarlet_tf.applications.").removesuffix("()") in scarlet_tf.applications.__all__
        )


def test_a_scaled_network_in_detail(capsys):
    assert cli.main(["zoo", "Scarlet_A4"]) == 0
    out = capsys.readouterr().out
    assert "SCARLET-A4 (scarlet_a4)" in out
    assert "4283.2 M multiply-adds, 27.71 M params  (380 x 380 x 3, 1000 classes)" in out
    assert f"architecture: s2:{ZOO['scarlet_a'].encoding}" in out
    assert "scaled: width multiplier 1.4, depth multiplier 1.8, input size 380, dropout 0.4: 4,8,8,8,2," in out
    assert "published: 4200 M multiply-adds, 27.8 M params, ImageNet top-1 82.3 %" in out
    assert "reading: " in out and "in Python: scarlet_tf.applications.ScarletA4()" in out


def test_scale_is_a_table_of_efficientnets_coefficients(capsys):
    rows = as_json(capsys, "zoo", "scarlet_a", "--scale")["rows"]
    assert [(r["width_multiplier"], r["depth_multiplier"], r["input_size"]) for r in rows] == [
        (1.0, 1.0, 224),
        (1.0, 1.1, 240),
        (1.1, 1.2, 260),
        (1.2, 1.4, 300),
        (1.4, 1.8, 380),
    ]
    for row, name in ((rows[0], "scarlet_a"), (rows[2], "scarlet_a2"), (rows[4], "scarlet_a4")):
        cost = count_spec(ZOO[name].architecture.lower())
        assert (row["multiply_adds"], row["params"]) == (cost.multiply_adds, cost.params)
    assert cli.main(["zoo", "scarlet_a", "--scale"]) == 0
    assert "scarlet_a x B4" in capsys.readouterr().out


def test_networks_of_ones_own_are_listed_shown_counted_and_removed(capsys, tmp_path):
    add_own("my_net", SPEC, ORIGIN)
    row = as_json(capsys, "zoo")["networks"][-1]
    assert (row["name"], row["top1"], row["params"]) == ("my_net", 98.25, count(SPEC).params)
    assert cli.main(["zoo"]) == 0
    assert "/runs/my, 359 test images of digits" in capsys.readouterr().out

    assert cli.main(["zoo", "my_net"]) == 0
    out = capsys.readouterr().out
    assert "architecture: tiny:0,1,3,2" in out and "top-1: 98.25 % of 359 test images" in out
    assert "in Python: scarlet_tf.applications.build_zoo_network('my_net')" in out  # it was added without weights

    figures = as_json(capsys, "cost", "my_net", "--input-size", "16", "--classes", "7")
    expected = count_spec(SPEC.replace(input_shape=(16, 16, 3), num_classes=7))
    assert (figures["multiply_adds"], figures["params"]) == (expected.multiply_adds, expected.params)
    assert as_json(capsys, "cost", "my_net")["num_classes"] == 5

    assert cli.main(["zoo", "my_net", "--remove"]) == 0
    assert own_names() == []


def test_a_network_that_was_not_trained_says_so(capsys):
    add_own("pick", SPEC, {**ORIGIN, "top1": None, "test_examples": None})
    assert cli.main(["zoo"]) == 0
    assert "/runs/my, as searched, not trained" in capsys.readouterr().out
    assert cli.main(["zoo", "pick"]) == 0
    assert "not trained on its own; one-shot accuracy 70.00 % on validation images" in capsys.readouterr().out


def test_add_registers_a_run_and_shows_it(capsys, monkeypatch):
    def fake(name, run_dir, pick):
        print("chatter of a library")
        add_own(name, SPEC, {**ORIGIN, "run": f"{run_dir}, pick {pick}"})

    monkeypatch.setattr(scarlet_tf, "register_network", fake)
    assert as_json(capsys, "zoo", "my_net", "--add", "runs/my", "--pick", "small")["run"] == "runs/my, pick small"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet50"], "resnet50: expected one of scarlet_a, "),
        (["--scale"], "--scale: expected a network's NAME with it"),
        (["--add", "runs/my"], "--add: expected a network's NAME with it"),
        (["--remove"], "--remove: expected a network's NAME with it"),
        (["scarlet_a", "--remove"], "scarlet_a: expected a network of your own, there are none"),
        (["scarlet_a", "--pick", "0"], "--pick: expected --add with it"),
        (["resnet50", "--scale"], "--scale: expected a published network, one of scarlet_a, "),
        (["my_net", "--add", "nowhere"], "nowhere: expected a run folder with config.yaml"),
        (["scarlet_a", "--add", "nowhere"], "name: scarlet_a is a published network"),
    ],
)
def test_bad_arguments_exit_with_2_and_one_message(arguments, message, capsys):
    assert cli.main(["zoo", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"scarlet: error: {message}")
    assert len(captured.err.splitlines()) == 1


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["zoo", "--help"])
    out = capsys.readouterr().out
    assert "example: scarlet zoo;" in out and "--json" in out


def test_listing_and_scaling_import_no_tensorflow():
    script = (
        "import sys, scarlet_tf.cli as cli\n"
        "for arguments in (['zoo'], ['zoo', 'scarlet_a2'], ['zoo', 'fairnas_a', '--scale']):\n"
        "    assert cli.main(arguments) == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# -- scarlet cost with multipliers ---------------------------------------------------------------------------------


def test_cost_of_a_scaled_network_is_that_of_the_scaled_architecture(capsys):
    options = ["--width", "1.1", "--depth", "1.2", "--input-size", "260"]
    figures = as_json(capsys, "cost", "scarlet_a", *options)
    assert figures["scaling"] == {"width_multiplier": 1.1, "depth_multiplier": 1.2}
    assert "published" not in figures  # of another network
    expected = count(ZOO["scarlet_a2"].architecture)
    assert (figures["multiply_adds"], figures["params"]) == (expected.multiply_adds, expected.params)
    assert cli.main(["cost", "scarlet_a", *options]) == 0
    assert "scaled: width multiplier 1.1, depth multiplier 1.2" in capsys.readouterr().out


def test_cost_scales_any_architecture_and_its_images(capsys):
    encoding = "12," * 18 + "0"
    figures = as_json(capsys, "cost", encoding, "--resolution-multiplier", "0.5", "--depth-multiplier", "2")
    expected = scale(Architecture.parse(encoding, scarlet_tf.SearchSpace.from_name("s2")), 1, 2, 0.5)
    assert figures["input_size"] == 112
    assert figures["architecture"] == encoding + ",0"
    assert figures["multiply_adds"] == count_spec(expected.lower()).multiply_adds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scarlet_a", "--depth", "0"], "depth_multiplier: expected a number > 0, got 0.0"),
        (["scarlet_a", "--width", "nan"], "width_multiplier: expected a number > 0, got nan"),
        (["my_net", "--width", "1.4"], "--width-multiplier: expected none, for my_net is a whole network, got 1.4"),
        (["my_net", "--space", "s1"], "--space: expected none, for my_net is a whole network, got 's1'"),
    ],
)
def test_bad_scalings_exit_with_2(arguments, message, capsys):
    add_own("my_net", SPEC, ORIGIN)
    assert cli.main(["cost", *arguments]) == 2
    assert message in capsys.readouterr().err
