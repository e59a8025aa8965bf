"""Our networks and PyTorch's with the same weights answer the same."""

import numpy as np
import pytest
from tiny import randomised, tiny_space

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'scarlet_tf[torch]'")

from torch_twin import Row, Twin, published_rows, relative_difference  # noqa: E402

import scarlet_tf as st  # noqa: E402
from scarlet_tf.base.errors import InputError  # noqa: E402
from scarlet_tf.models.network import get_arrays, set_arrays  # noqa: E402
from scarlet_tf.models.torch_weights import read_state_dict, write_state_dict  # noqa: E402
from scarlet_tf.models.zoo_data import ZOO  # noqa: E402
from scarlet_tf.space.search_space import Architecture  # noqa: E402

# tests/tiny.py's space: a stride, a skip, SE in a block that widens, a shortcut.
CHOICES = (0, 3, 1, 2)
ROWS = [Row(2, 8, 3, 2, False), None, Row(3, 12, 5, 1, True), Row(2, 12, 7, 1, False)]


def network(activation="hard_swish"):
    return st.build_network(Architecture(CHOICES, tiny_space(activation=activation)), (8, 8, 3), 5)


def twin(**arguments):
    return Twin(ROWS, 5, widths=(8, 8, 16), stem_stride=1, **arguments)


@pytest.fixture
def images(rng):
    return rng.normal(size=(4, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("activation, name", [("hard_swish", "w.pth"), ("relu6", "w.pth.tar")])
def test_a_small_network_answers_as_its_pytorch_twin(tmp_path, images, activation, name):
    function = torch.nn.functional.relu6 if activation == "relu6" else torch.nn.functional.hardswish
    theirs, ours = twin(activation=function).randomise(seed=1, pixels=8), network(activation)
    state = theirs.state_dict()
    torch.save({"model_state": state, "epoch": 3} if name.endswith(".tar") else state, tmp_path / name)
    st.load_torch_weights(ours, tmp_path / name)
    expected = theirs.logits(images)
    assert relative_difference(expected, np.asarray(ours(images))) < 1e-5
    assert relative_difference(expected, expected[::-1]) > 0.1


def test_a_saved_network_loads_into_the_twin_strictly(tmp_path, images, rng):
    ours = network()
    set_arrays(ours, randomised(get_arrays(ours), rng))
    st.save_torch_weights(ours, tmp_path / "w.pth")
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    assert state["stem.1.num_batches_tracked"].dtype == torch.int64
    theirs = twin().eval()
    theirs.load_state_dict(state, strict=True)
    assert relative_difference(np.asarray(ours(images)), theirs.logits(images)) < 1e-5


def test_tar_files_hold_the_state_dict_where_the_authors_look_for_it(tmp_path):
    st.save_torch_weights(network(), tmp_path / "w.pth.tar")
    twin().load_state_dict(torch.load(tmp_path / "w.pth.tar", weights_only=True)["model_state"], strict=True)


@pytest.mark.parametrize("nest", ["model_state", "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_old_and_new_pytorch_are_read(tmp_path, nest, zipped):
    state = {"module.classifier.weight": torch.randn(2, 3), "module.stem.1.num_batches_tracked": torch.tensor(7)}
    # PyTorch before 1.6, which the authors had, wrote no ZIP files.
    torch.save({nest: state, "epoch": 3}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    arrays = read_state_dict(tmp_path / "w.pth")
    assert arrays.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(arrays[key], value.numpy())


def test_parameters_on_the_way_to_bfloat16_are_read_as_float32(tmp_path):
    torch.save({"x": torch.nn.Parameter(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))}, tmp_path / "w.pth")
    array = read_state_dict(tmp_path / "w.pth")["x"]
    assert array.dtype == np.float32 and array.tolist() == [1.5, -2.0]


class Foreign:
    """Something that reading a checkpoint must not bring to life."""

    def __reduce__(self):
        return (pytest.fail, ("the checkpoint was executed",))


@pytest.mark.parametrize(
    "contents, message",
    [
        ({"epoch": 3, "net": {}}, r"expected a state dict of tensors.*got the keys \['epoch', 'net'\]"),
        (torch.zeros(3), "got a Tensor"),
        (Foreign(), "expected a PyTorch checkpoint of tensors and plain values"),
        (b"torn", "expected a PyTorch checkpoint of tensors and plain values"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path, contents, message):
    if isinstance(contents, bytes):
        (tmp_path / "w.pth").write_bytes(contents)
    else:
        torch.save(contents, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"w.pth: .*{message}"):
        read_state_dict(tmp_path / "w.pth")


def test_a_failing_write_keeps_the_previous_file(tmp_path, monkeypatch):
    write_state_dict(tmp_path / "w.pth", {"x": np.zeros(2, np.float32)})
    before = (tmp_path / "w.pth").read_bytes()

    def half(checkpoint, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(InputError, match=r"w\.pth: could not be written: No space left"):
        write_state_dict(tmp_path / "w.pth", {"x": np.ones(2, np.float32)})
    assert (tmp_path / "w.pth").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_the_twins_tables_are_those_of_the_published_networks():
    # SCARLET-C's rows, read off the published code: expansion, channels, kernel, stride, SE.
    rows = published_rows("3,1,3,12,12,0,11,1,1,2,5,4,1,5,1,12,7,11,9")
    assert rows[:6] == [
        Row(3, 32, 5, 2, True),
        Row(3, 32, 3, 1, True),
        Row(3, 40, 5, 2, True),
        None,
        None,
        Row(3, 40, 3, 1, False),
    ]
    assert rows[15:] == [None, Row(6, 192, 3, 1, True), Row(6, 192, 7, 1, True), Row(6, 320, 5, 1, True)]


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [224, 192])
@pytest.mark.parametrize("name", ["scarlet_a", "scarlet_b", "scarlet_c", "fairnas_a", "fairnas_b", "fairnas_c"])
def test_published_networks_answer_as_their_pytorch_twins_both_ways(tmp_path, name, pixels):
    """In whose layout the authors publish checkpoints; prints the differences that docs/results.md has."""
    entry = ZOO[name]
    rows = published_rows(entry.encoding, with_se=any(choice.use_se for choice in entry.space.choices))
    activation = torch.nn.functional.hardswish if entry.space.activation == "hard_swish" else torch.nn.functional.relu6
    theirs = Twin(rows, 1000, activation=activation).randomise(seed=pixels, pixels=pixels)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "theirs.pth.tar")
    ours = st.applications.build_zoo_network(name, input_shape=(pixels, pixels, 3), classifier_activation=None)
    st.load_torch_weights(ours, tmp_path / "theirs.pth.tar")
    st.save_torch_weights(ours, tmp_path / "ours.pth")
    empty = Twin(rows, 1000, activation=activation).eval()
    empty.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True), strict=True)
    images = np.random.default_rng(pixels).normal(size=(2, pixels, pixels, 3)).astype(np.float32)
    expected, found = theirs.logits(images), np.asarray(ours(images, training=False))
    load, save = relative_difference(expected, found), relative_difference(found, empty.logits(images))
    others = relative_difference(expected, expected[::-1])
    print(f"{name}, {pixels} pixels: from PyTorch {load:.2g}, to PyTorch {save:.2g}, between images {others:.2g}")
    # Both compute in float32, through some sixty convolutions, in different orders.
    assert max(load, save) <= 1e-4
    assert others > 0.05
