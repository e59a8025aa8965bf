"""Checkpoints that PyTorch itself wrote."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'scarlet_tf[torch]'")

from scarlet_tf.models.torch_files import read_checkpoint  # noqa: E402


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
