"""The folder of one's own networks; nothing here needs TensorFlow."""

import json
import subprocess
import sys

import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.zoo_data import ZOO, OwnEntry, add_own, find_own, own_names, remove_own, zoo_folder, zoo_names
from scarlet_tf.space.search_space import Architecture

SPEC = Architecture((0, 1, 3, 2), tiny_space()).lower((8, 8, 3), 5, dropout=0.2)
ORIGIN = {"run": "runs/my", "top1": 90.0, "labels": list("abcde")}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def test_a_network_comes_back_as_it_was_added(folder, tmp_path):
    weights = tmp_path / "model.keras"
    weights.write_bytes(b"weights")
    added = add_own("my_net", SPEC, ORIGIN, weights)
    weights.unlink()
    assert find_own("my_net") == added == OwnEntry("my_net", SPEC, True, ORIGIN)
    assert added.weights_file == folder / "my_net.keras"
    assert added.weights_file.read_bytes() == b"weights"
    assert find_own("my_net").spec == SPEC


def test_names_are_the_published_ones_and_then_ones_own():
    for name in ("zebra", "a_b-1"):
        add_own(name, SPEC, ORIGIN)
    assert own_names() == ["a_b-1", "zebra"]
    assert zoo_names() == [*ZOO, "a_b-1", "zebra"]


def test_size_and_classes_can_be_others():
    entry = add_own("my_net", SPEC, ORIGIN)
    assert entry.at() == SPEC
    assert entry.at(32, 7) == SPEC.replace(input_shape=(32, 32, 3), num_classes=7)


def test_a_removed_network_leaves_nothing(folder, tmp_path):
    (tmp_path / "model.keras").touch()
    add_own("my_net", SPEC, ORIGIN, tmp_path / "model.keras")
    remove_own("my_net")
    assert find_own("my_net") is None
    assert list(folder.iterdir()) == []
    with pytest.raises(InputError, match="my_net: expected a network of your own, there are none"):
        remove_own("my_net")


def test_without_the_variable_the_folder_is_in_the_users_home(monkeypatch, tmp_path):
    monkeypatch.delenv("SCARLET_ZOO_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert zoo_folder() == tmp_path / ".scarlet" / "zoo"
    assert own_names() == [] and not zoo_folder().exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scarlet_a", "name: scarlet_a is a published network"),
        ("My Net", "name: expected small letters, digits"),
        ("../escape", "name: expected small letters, digits"),
        ("", "name: expected small letters, digits"),
        ("net.yaml", "name: expected small letters, digits"),
        ("con", "name: con is no name of a file on Windows"),
        ("lpt1", "name: lpt1 is no name of a file on Windows"),
        ("taken", "name: taken is in .*zoo already; remove it first: scarlet zoo taken --remove"),
    ],
)
def test_bad_and_taken_names_are_refused(name, message):
    add_own("taken", SPEC, ORIGIN)
    with pytest.raises(InputError, match=message):
        add_own(name, SPEC, ORIGIN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"my_net\.json: expected JSON"),
        ("[]", r"my_net\.json: version: expected 1, got None"),
        ('{"version": 2}', r"my_net\.json: version: expected 1, got 2"),
        ('{"version": 1}', r"my_net\.json: expected a network's entry: KeyError: 'spec'"),
        (json.dumps({"version": 1, "spec": {"blocks": []}}), r"my_net\.json: expected a network's entry: KeyError"),
        (
            json.dumps({"version": 1, "spec": {**SPEC.to_dict(), "num_classes": 0}}),
            r"my_net\.json: expected a network's entry: InputError: num_classes",
        ),
    ],
)
def test_a_torn_or_foreign_file_is_named(content, message, folder):
    folder.mkdir()
    (folder / "my_net.json").write_text(content)
    with pytest.raises(InputError, match=message):
        find_own("my_net")
    remove_own("my_net")
    assert find_own("my_net") is None


def test_other_files_in_the_folder_are_no_networks(folder):
    folder.mkdir()
    for name in (".hidden.json", "UPPER.json", "notes.txt"):
        (folder / name).touch()
    assert own_names() == []
    assert find_own("../x") is None


def test_the_folder_is_read_without_keras():
    script = "import sys, scarlet_tf.models.zoo_data as f; f.zoo_names(); assert not {'tensorflow', 'keras'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
