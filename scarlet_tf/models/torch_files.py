"""PyTorch's checkpoint files, read without PyTorch: ZIP archives, and the streams that it wrote before version 1.6.

Both hold a pickle, a program for Python's unpickler that may import and call anything. It is not run here: pickletools
takes it apart, and `_build` follows the thirty instructions that make up plain values, tensors and dictionaries of them.
A name of anything else is refused, so that nothing is ever imported or called.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from scarlet_tf.base.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a stream
_PROTOCOL = 1001
_BFLOAT16 = "bfloat16"  # NumPy has none: the upper half of a float32
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


class _RefusedError(Exception):
    """Content that is damaged or no tensor or plain value; `read_checkpoint` says of which file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """`count` numbers in a row, which tensors may share; `data` is set once it is read."""

    dtype: str
    count: int
    data: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        return self.count * (2 if self.dtype == _BFLOAT16 else np.dtype(self.dtype).itemsize)

    def fill(self, content: bytes) -> None:
        if len(content) != self.num_bytes:
            raise _RefusedError(f"a storage has {len(content)} bytes instead of {self.num_bytes}")
        if self.dtype == _BFLOAT16:
            halves = np.frombuffer(content, "<u2").astype(np.uint32)
            self.data.append((halves << np.uint32(16)).view(np.float32))
        else:
            self.data.append(np.frombuffer(content, self.dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """Part of a storage: an offset, a size and strides in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]

    def numpy(self) -> np.ndarray:
        """A copy; floating types become float32, since NumPy has no bfloat16."""
        (data,) = self.storage.data
        steps = [stride * data.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(data[self.offset :], self.size, steps, writeable=False)
        return np.array(view, np.float32 if data.dtype.kind == "f" else data.dtype.newbyteorder("="))


def read_checkpoint(path) -> Any:
    """The content of a file of torch.save: plain values, lists, dictionaries and Tensors.

    InputError, naming the file and what was refused, for everything else that a pickle can hold, and for files that are
    damaged, compressed, TorchScript or written on a big-endian machine.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            return _read_archive(file) if zipfile.is_zipfile(file) else _read_stream(file)
    except InputError:
        raise
    except Exception as error:  # whatever zipfile and pickletools raise for what is damaged, too
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a PyTorch checkpoint of tensors and plain values: {reason}") from error


def _read_archive(file: BinaryIO) -> Any:
    """PyTorch 1.6 and later: <name>/data.pkl, and <name>/data/<key> for each storage."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(found) != 1:
            raise _RefusedError("the ZIP archive has no data.pkl")
        folder = found[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise _RefusedError("it is a TorchScript archive; save the model's state_dict() instead")

        def content(name: str, size: int | None = None) -> bytes:
            entry = archive.getinfo(folder + name)
            if entry.compress_type != zipfile.ZIP_STORED:
                raise _RefusedError(f"{entry.filename} is compressed, which torch.save does not do")
            if size is not None and entry.file_size != size:
                raise _RefusedError(f"{entry.filename} has {entry.file_size} bytes instead of {size}")
            return archive.read(entry)

        if f"{folder}byteorder" in names and content("byteorder") != b"little":
            raise _RefusedError("it was written on a big-endian machine")
        storages: dict[str, Storage] = {}
        checkpoint = _build(io.BytesIO(content("data.pkl")), storages)
        for key, storage in storages.items():
            storage.fill(content(f"data/{key}", storage.num_bytes))
        return checkpoint


def _read_stream(file: BinaryIO) -> Any:
    """Before 1.6: pickles of a magic number, the version, the machine, the content and the storages' keys; then these.

    Each storage is its count as int64 and its numbers.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if _build(file) != _MAGIC:
        raise _RefusedError("it does not begin as one")
    if (version := _build(file)) != _PROTOCOL:
        raise _RefusedError(f"its version is {version!r} instead of {_PROTOCOL}")
    machine = _build(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _RefusedError("it was written on a big-endian machine")
    storages: dict[str, Storage] = {}
    checkpoint = _build(file, storages)
    for key in _build(file):
        storage = storages.pop(key)
        count = int.from_bytes(file.read(8), "little", signed=True)
        if count != storage.count or storage.num_bytes > size - file.tell():
            raise _RefusedError("its end is missing")
        storage.fill(file.read(storage.num_bytes))
    if storages:
        raise _RefusedError("storages are missing")
    return checkpoint


# -- The pickle -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Name:
    """Something that the pickle would import; here a name, and nothing else."""

    text: str


_ORDERED = _Name("collections.OrderedDict")
_PARAMETER = _Name("torch._utils._rebuild_parameter")
_TENSORS = (_Name("torch._utils._rebuild_tensor_v2"), _Name("torch._utils._rebuild_tensor"))
_ALLOWED = {_ORDERED, _PARAMETER, *_TENSORS, *(_Name(f"torch.{kind}") for kind in _DTYPES)}
_MARK = object()


def _build(file: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle that begins at the file's position; adds its storages by their keys, still without data."""
    machine = _Machine({} if storages is None else storages)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "STOP":
            break
        step = _STEPS.get(opcode.name)
        if step is None:
            raise _RefusedError(f"the instruction {opcode.name} is refused")
        step(machine, argument)
    (value,) = machine.stack
    return value


class _Machine:
    """The unpickler's stack and memo."""

    def __init__(self, storages: dict[str, Storage]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages = storages

    def push(self, value) -> None:
        self.stack.append(value)

    def pop(self):
        return self.stack.pop()

    def to_mark(self) -> list:
        """Take what stands above the last mark, and the mark, off the stack."""
        at = max(index for index, value in enumerate(self.stack) if value is _MARK)
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken

    def last(self, count: int) -> tuple:
        taken = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return taken

    def name(self, text: str) -> None:
        name = _Name(text)
        if name not in _ALLOWED:
            raise _RefusedError(f"{text} is refused")
        self.push(name)

    def set_items(self, pairs: list) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(pairs) % 2:
            raise _RefusedError("items of something that is no dictionary are refused")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, (str, int, float)):
                raise _RefusedError(f"a key of the type {type(key).__name__} is refused")
            target[key] = value

    def extend(self, values: list) -> None:
        if type(self.stack[-1]) is not list:
            raise _RefusedError("members of something that is no list are refused")
        self.stack[-1].extend(values)

    def call(self, function, arguments) -> None:
        """REDUCE: what the few names stand for."""
        if function == _ORDERED and arguments == ():
            self.push({})
        elif function in _TENSORS and len(arguments) >= 4:
            self.push(_tensor(*arguments[:4]))
        elif function == _PARAMETER and arguments and isinstance(arguments[0], Tensor):
            self.push(arguments[0])
        else:
            raise _RefusedError(f"a call of {getattr(function, 'text', type(function).__name__)} is refused")

    def set_attributes(self, attributes) -> None:
        """BUILD: attributes of a dictionary, such as `_metadata` of a state dict, are dropped."""
        if type(self.stack[-1]) is not dict:
            raise _RefusedError("attributes of something that is no dictionary are refused")

    def storage(self, key) -> None:
        """BINPERSID: ("storage", its type, key, device, count), before 1.6 with a view, which is always None."""
        kind, dtype, name, _, count, *view = key
        if kind != "storage" or not isinstance(dtype, _Name) or view not in ([], [None]) or not isinstance(name, str):
            raise _RefusedError(f"the storage {name!r} is refused")
        found = Storage(_DTYPES[dtype.text.removeprefix("torch.")], _whole(count))
        known = self.storages.setdefault(name, found)
        if (known.dtype, known.count) != (found.dtype, found.count):
            raise _RefusedError(f"the storage {name!r} has two types or sizes")
        self.push(known)


def _whole(value) -> int:
    if type(value) is not int or value < 0:
        raise _RefusedError(f"expected an integer >= 0, got a {type(value).__name__}")
    return value


def _tensor(storage, offset, size, strides) -> Tensor:
    """A tensor that lies within its storage."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(strides, tuple):
        raise _RefusedError("a tensor without storage, size or strides is refused")
    tensor = Tensor(storage, _whole(offset), tuple(map(_whole, size)), tuple(map(_whole, strides)))
    last = sum((side - 1) * stride for side, stride in zip(tensor.size, tensor.strides, strict=True))
    numbers = math.prod(tensor.size)
    # As many numbers as the storage has at most: no array of its own takes more memory than the file.
    if numbers and (tensor.offset + last >= storage.count or numbers > storage.count):
        raise _RefusedError(f"a tensor of the size {tensor.size} does not lie within its storage")
    return tensor


def _value(machine: _Machine, argument) -> None:
    machine.push(argument)


def _constant(make: Callable[[], Any]):
    return lambda machine, argument: machine.push(make())


def _remember(machine: _Machine, index) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _recall(machine: _Machine, index) -> None:
    machine.push(machine.memo[index])


def _nothing(machine: _Machine, argument) -> None:
    pass


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"), _value),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _value),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), _value),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "MARK": _constant(lambda: _MARK),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.to_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.last(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    "GLOBAL": lambda machine, text: machine.name(text.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(".".join(map(str, machine.last(2)))),
    "REDUCE": lambda machine, _: machine.call(*machine.last(2)),
    "BUILD": lambda machine, _: machine.set_attributes(machine.pop()),
    "BINPERSID": lambda machine, _: machine.storage(machine.pop()),
}
