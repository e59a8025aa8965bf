"""PyTorch's files without PyTorch: made by hand, since a test needs no more than Python's pickle for them."""

import builtins
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.torch_files import read_checkpoint
from scarlet_tf.models.torch_weights import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
NAMES = {np.dtype("f4"): "Float", np.dtype("f8"): "Double", np.dtype("f2"): "Half", np.dtype("i8"): "Long"}
NAMES |= {np.dtype("u2"): "BFloat16", np.dtype("u1"): "Byte", np.dtype("i1"): "Char", np.dtype("?"): "Bool"}
NAMES |= {np.dtype("i4"): "Int", np.dtype("i2"): "Short"}


class Global:
    """A name that a pickle imports, which need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """A call that a pickle makes."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Stored:
    """A storage; files refer to it by a key."""

    def __init__(self, array, key="0", kind=None, count=None):
        self.array, self.key = np.asarray(array), key
        self.kind, self.count = kind or f"{NAMES[self.array.dtype]}Storage", count or self.array.size


class Pickler(pickle._Pickler):
    """Python's own pickler, with the names and calls above and PyTorch's references to storages."""

    def __init__(self, file, zipped, protocol=2):
        super().__init__(file, protocol)
        self.zipped, self.storages = zipped, {}

    def persistent_id(self, value):
        if not isinstance(value, Stored):
            return None
        self.storages[value.key] = value
        key = ("storage", Global("torch", value.kind), value.key, "cpu", value.count)
        return key if self.zipped else (*key, None)

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def tensor(stored, size, strides, offset=0):
    name = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(name, stored, offset, size, strides, False, Call(Global("collections", "OrderedDict")))


def vector(*numbers, **stored):
    array = np.array(numbers, np.float32)
    return tensor(Stored(array, **stored), array.shape, (1,))


def pickled(content, zipped=True, protocol=2):
    file = io.BytesIO()
    pickler = Pickler(file, zipped, protocol)
    pickler.dump(content)
    return file.getvalue(), pickler.storages


def write(path, content, zipped=True, protocol=2, order="little", extra=(), compression=zipfile.ZIP_STORED):
    """A file as torch.save makes it, of version 1.6 and later or before."""
    data, storages = pickled(content, zipped, protocol)
    if zipped:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("w/data.pkl", data)
            archive.writestr("w/byteorder", order)
            for key, stored in storages.items():
                archive.writestr(f"w/data/{key}", stored.array.tobytes())
            for name in extra:
                archive.writestr(name, b"")
        return path
    machine = {"protocol_version": 1001, "little_endian": order == "little", "type_sizes": {"short": 2}}
    parts = [pickle.dumps(part, protocol=2) for part in (MAGIC, 1001, machine)]
    parts += [data, pickle.dumps(sorted(storages), protocol=2)]
    for _, stored in sorted(storages.items()):
        parts += [struct.pack("<q", stored.count), stored.array.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


both = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


@both
@pytest.mark.parametrize("protocol", [2, 4])
def test_state_dicts_are_read(tmp_path, zipped, protocol, rng):
    kernel = rng.normal(size=(2, 3)).astype(np.float32)
    state = OrderedDict(a=tensor(Stored(kernel, "7"), (2, 3), (3, 1)), n=tensor(Stored(np.int64([5]), "8"), (), ()))
    ordered = Call(Global("collections", "OrderedDict"))
    content = {"epoch": 3, "lr": 0.1, "names": ["x", None, True], "state_dict": dict(state), "empty": ordered}
    found = read_state_dict(write(tmp_path / "w.pth", content, zipped, protocol))
    np.testing.assert_array_equal(found["a"], kernel)
    assert found["n"].shape == () and found["n"] == 5 and found["n"].dtype == np.int64
    values = read_checkpoint(tmp_path / "w.pth")
    assert (values["epoch"], values["lr"], values["names"], values["empty"]) == (3, 0.1, ["x", None, True], {})


@both
def test_views_and_shared_storages_are_read(tmp_path, zipped):
    shared = Stored(np.arange(12, dtype=np.float32))
    state = {
        "transposed": tensor(shared, (3, 4), (1, 3)),
        "part": tensor(shared, (2, 2), (4, 1), offset=5),
        "last": tensor(shared, (1,), (1,), offset=11),
        "none": tensor(shared, (0, 4), (4, 1)),
    }
    found = read_state_dict(write(tmp_path / "w.pth", state, zipped))
    np.testing.assert_array_equal(found["transposed"], np.arange(12).reshape(4, 3).T)
    np.testing.assert_array_equal(found["part"], [[5, 6], [9, 10]])
    np.testing.assert_array_equal(found["last"], [11])
    assert found["none"].shape == (0, 4)
    found["last"][:] = 0  # arrays of their own
    assert found["transposed"][2, 3] == 11


@both
@pytest.mark.parametrize(
    "array, expected",
    [
        (np.array([1.5, -2], np.float16), np.float32),
        (np.array([0x3FC0, 0xC000], np.uint16), np.float32),  # a bfloat16 is the upper half of a float32
        (np.array([1.5, -2], np.float64), np.float32),
        (np.array([3, -2], np.int8), np.int8),
        (np.array([3, 2], np.uint8), np.uint8),
        (np.array([3, -2], np.int16), np.int16),
        (np.array([3, -2], np.int32), np.int32),
        (np.array([True, False]), np.bool_),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_all_types_are_read(tmp_path, zipped, array, expected):
    found = read_state_dict(write(tmp_path / "w.pth", {"x": tensor(Stored(array), (2,), (1,))}, zipped))["x"]
    assert found.dtype == expected
    assert found.tolist() == ([1.5, -2.0] if expected == np.float32 else array.tolist())


def test_a_parameter_is_its_tensor(tmp_path):
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), vector(1, 2), True, {})
    assert read_state_dict(write(tmp_path / "w.pth", {"x": parameter}))["x"].tolist() == [1, 2]


class Evil:
    """Something whose pickle runs a command."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@both
@pytest.mark.parametrize(
    "evil, refused",
    [
        (Evil(os.system, "echo executed"), r"(posix|nt)\.system"),
        (Evil(eval, "1"), r"builtins\.eval|__builtin__\.eval"),
        (Call(Global("builtins", "getattr"), Global("os", "path"), "join"), r"os\.path|builtins\.getattr"),
        (Call(Global("torch", "hub.load"), "x"), r"torch\.hub\.load"),
        (Global("torch._utils", "_rebuild_tensor_v2.__globals__"), r"__globals__"),
        (Global("numpy.core.multiarray", "_reconstruct"), r"numpy\.core\.multiarray\._reconstruct"),
        (Global("argparse", "Namespace"), r"argparse\.Namespace"),
        (Global("torch.nn.modules.linear", "Linear"), r"torch\.nn\.modules\.linear\.Linear"),
        ({1, 2}, r"builtins\.set|__builtin__\.set"),
        (1 + 2j, r"complex"),
    ],
)
def test_other_names_are_refused_and_nothing_runs(tmp_path, zipped, evil, refused, monkeypatch, capfd):
    monkeypatch.setattr(builtins, "__import__", _no_import(builtins.__import__))
    path = write(tmp_path / "evil.pth", {"x": vector(1), "args": evil}, zipped)
    with pytest.raises(InputError, match=rf"evil\.pth: expected a PyTorch checkpoint.*({refused}) is refused"):
        read_state_dict(path)
    assert capfd.readouterr().out == ""


def _no_import(original):
    def imported(name, *args, **kwargs):
        assert name not in ("argparse", "torch.hub"), name
        return original(name, *args, **kwargs)

    return imported


@pytest.mark.parametrize(
    "content, refused",
    [
        (Call(Global("torch", "FloatStorage"), 10**12), r"a call of torch\.FloatStorage"),
        (Call("text", 1), "a call of str"),
        (Call(Global("collections", "OrderedDict"), [("a", 1)]), "a call of collections.OrderedDict"),
        (tensor("text", (1,), (1,)), "without storage"),
        (tensor(Stored(np.zeros(3, np.float32)), [3], [1]), "without storage, size or strides"),
        (tensor(Stored(np.zeros(3, np.float32)), (3,), (-1,)), "expected an integer >= 0"),
        (tensor(Stored(np.zeros(3, np.float32)), (4,), (1,)), "does not lie within its storage"),
        (tensor(Stored(np.zeros(3, np.float32)), (2,), (1,), offset=2), "does not lie within its storage"),
        (tensor(Stored(np.zeros(3, np.float32)), (10**9,), (0,)), "does not lie within its storage"),
        (tensor(Stored(np.zeros(3, np.float32)), (3,), (1, 1)), "zip"),
        ({(1, 2): vector(1)}, "a key of the type tuple"),
    ],
)
def test_what_is_no_tensor_or_plain_value_is_refused(tmp_path, content, refused):
    with pytest.raises(InputError, match=rf"w\.pth: expected a PyTorch checkpoint of tensors.*{refused}"):
        read_state_dict(write(tmp_path / "w.pth", {"x": content}))


@pytest.mark.parametrize(
    "instructions, refused",
    [
        (b"\x80\x02c__main__\nx\n.", "__main__.x"),
        (b"\x80\x02ccollections\nOrderedDict\n}X\x05\x00\x00\x00itemsK\x01sb.", "attributes of something"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02(K\x01ios\nsystem\n.", "INST|os.system"),
        (b"\x80\x02]r\xff\xff\xff\x7f]q\x00.", "not a|got a|values"),
        (b"\x80\x02.", "values"),
        (b"\x80\x02}", "ran out|exhausted|STOP|pickle"),
        (b"", "pickle|STOP|exhausted"),
    ],
)
def test_instructions_that_need_an_unpickler_are_refused(tmp_path, instructions, refused):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", instructions)
    with pytest.raises(InputError, match=rf"w\.pth: expected .*({refused})"):
        read_state_dict(tmp_path / "w.pth")


@both
def test_a_big_endian_file_is_refused(tmp_path, zipped):
    with pytest.raises(InputError, match="written on a big-endian machine"):
        read_state_dict(write(tmp_path / "w.pth", {"x": vector(1)}, zipped, order="big"))


@both
def test_truncated_files_are_refused(tmp_path, zipped):
    whole = write(tmp_path / "w.pth", {"x": vector(*range(50)), "y": vector(1, key="1")}, zipped).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "w.pth").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"w\.pth: expected a PyTorch checkpoint"):
            read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "arguments, refused",
    [
        ({"extra": ["w/constants.pkl"]}, "TorchScript"),
        ({"extra": ["v/data.pkl"]}, "no data.pkl"),
        ({"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
    ],
)
def test_other_archives_are_refused(tmp_path, arguments, refused):
    with pytest.raises(InputError, match=refused):
        read_state_dict(write(tmp_path / "w.pth", {"x": vector(1)}, **arguments))


@both
def test_a_storage_of_another_length_is_refused(tmp_path, zipped):
    with pytest.raises(InputError, match=r"bytes instead of|end is missing"):
        read_state_dict(write(tmp_path / "w.pth", {"x": vector(1, 2, count=3)}, zipped))
