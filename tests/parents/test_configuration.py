import dataclasses

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import parse_config
from scarlet_tf.config.from_parent import load_parent, with_path
from scarlet_tf.parents.around import space_around

VALUES = {"data": {"image_size": 48}, "parent": {"name": "lite0"}}


def parsed(**changes):
    return parse_config(VALUES | changes)


def test_a_parent_gives_space_normalisation_skips_and_start():
    config = parsed(parent={"name": "lite0", "shares": [1.0], "extra_depth": 1})
    expected = space_around(load_parent("lite0"), input_size=48, shares=(1.0,), extra_depth=1)
    assert config.space == dataclasses.replace(expected, name="parent")
    assert (config.data.normalization, config.supernet.skip, config.retrain.init) == ("lite", "shortcut", "supernet")


def test_what_the_configuration_says_counts():
    config = parsed(supernet={"skip": "let"}, retrain={"init": "scratch"}, space="parent")
    assert (config.supernet.skip, config.retrain.init) == ("let", "scratch")


def test_names_of_networks_are_no_paths(tmp_path, monkeypatch):
    """Also those of networks that were registered, and of published ones, which have no weights."""
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path))
    (tmp_path / "my_net.json").write_text("{}")
    for name, expected in (("my_net", "my_net"), ("scarlet_a", "scarlet_a"), ("my.keras", f"{tmp_path}/my.keras")):
        assert with_path({"parent": {"name": name}}, tmp_path)["parent"]["name"] == expected


def test_without_a_parent_nothing_changes():
    config = parse_config({"data": {}, "space": "s1", "parent": {"shares": [1.0]}})
    assert (config.data.normalization, config.supernet.skip, config.retrain.init) == ("inception", "let", "scratch")


def test_the_whole_configuration_is_read_back():
    config = parsed()
    values = config.to_dict()
    assert values["space"] == "parent"
    assert parse_config(values) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "s1"}, "space: expected parent, since parent.name is lite0, got 's1'"),
        (
            {"data": {"normalization": "imagenet"}},
            "data.normalization: expected lite, which lite0 was trained with, got imagenet",
        ),
        ({"parent": {"name": "lite9"}}, "parent.name: .*lite9"),
        ({"parent": {"name": "lite0", "shares": [0.5]}}, "shares: expected 1, the parent's own width, among them"),
        ({"parent": {"name": "lite0", "shares": [2]}}, r"parent.shares\[0\]: expected a number above 0 and up to 1"),
        ({"parent": {"nam": "lite0"}}, "parent.nam: unknown key; did you mean parent.name?"),
        ({"parent": {}, "space": "parent"}, "space: expected .* parent.name is null"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        parsed(**changes)
