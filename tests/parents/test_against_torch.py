"""Checkpoints that PyTorch wrote: the networks of timm and torchvision, with random weights and BN statistics."""

import numpy as np
import pytest
from published_tensors import TENSORS, recorded

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'scarlet_tf[torch]'")

from scarlet_tf.models.torch_files import read_checkpoint  # noqa: E402
from scarlet_tf.parents.parent import Parent  # noqa: E402
from scarlet_tf.parents.published import PUBLISHED  # noqa: E402


def library(name):
    return pytest.importorskip(name, reason=f"needs {name}: pip install {name}")


def theirs(model):
    if model.layout == "timm":
        pretrained = {"bn_eps": 1e-3} if model.name == "fbnetc_100" else {}  # as timm makes the one with weights
        return library("timm").create_model(model.name, **pretrained)
    return getattr(library("torchvision").models, model.name)()


def randomise(network):
    """Random weights in place, with the statistics of BN that a trained network has."""
    torch.manual_seed(0)
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.3, 1.8)
        elif value.ndim == 1:
            value.normal_(1 if key.endswith("weight") else 0, 0.3)
        elif value.ndim == 4:
            value.normal_(0, 1.4 / value[0].numel() ** 0.5)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [m for m in PUBLISHED if "efficientnet_pytorch" not in m.layout], ids=lambda m: f"{m.layout} {m.name}"
)
def test_the_parent_answers_as_the_librarys_network(tmp_path, model, rng):
    network = randomise(theirs(model))
    torch.save(network.state_dict(), tmp_path / f"{model.name}.pth")
    found = Parent.from_file(tmp_path / f"{model.name}.pth")
    images = rng.normal(size=(2, 65, 96, 3)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert found.name == model.name
    np.testing.assert_allclose(found.network((65, 96, 3))(images), expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("name", TENSORS)
def test_what_is_recorded_of_a_network_is_so(name):
    kind, _, model = name.partition(" ")
    with torch.device("meta"):
        made = (
            library("timm").create_model(model) if kind == "timm" else getattr(library("torchvision").models, model)()
        )
    assert recorded({key: value.shape for key, value in made.state_dict().items()}) == TENSORS[name]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_all_types_and_views_are_read_as_pytorch_reads_them(tmp_path, zipped, dtype):
    whole = (torch.arange(60).reshape(3, 4, 5) % 7).to(getattr(torch, dtype))
    state = {"whole": whole, "view": whole[1:, ::2].transpose(0, 2), "scalar": whole[2, 3, 1], "none": whole[:0]}
    state["parameter"] = torch.nn.Parameter(whole, requires_grad=False)
    torch.save({"model": state, "epoch": 3}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "w.pth")
    assert found["epoch"] == 3
    for key, value in state.items():
        expected = value.detach().float() if value.is_floating_point() else value.detach()
        np.testing.assert_array_equal(found["model"][key].numpy(), expected.numpy(), strict=True)
