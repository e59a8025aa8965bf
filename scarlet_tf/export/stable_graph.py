"""Makes the SavedModels of one network equal byte by byte, whatever the process did before it wrote them."""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping

from tensorflow.core.protobuf import saved_model_pb2

_COUNTED = re.compile(r"(.*)_(\d+)", re.DOTALL)
_ARGUMENT, _CONFIGURATION = "_user_specified_name", "config_proto"
_UNUSED = re.compile(r"_\d+(?=___redundant_placeholder\d+$)")  # in the names of arguments that a loop does not read


def stabilize(folder: pathlib.Path) -> None:
    """Rewrites saved_model.pb in `folder` and removes fingerprint.pb.

    TensorFlow ends the names of functions with a number that counts what its process has made so far, also names the
    variables that they capture by such numbers, and stores functions and maps in an order that depends on them. It notes
    with every call how many devices there are and which graph optimisations were ever switched. Its fingerprint has a
    random part and would be that of the other bytes; it is optional, and loaders do without it.
    """
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        functions = graph.graph_def.library.function
        _rename(graph, _stable_names(function.signature.name for function in functions))
        functions.sort(key=lambda function: function.signature.name)
        for function in functions:
            _forget_numbers(function)
        for node in itertools.chain(graph.graph_def.node, *(function.node_def for function in functions)):
            _forget_process(node)
    file.write_bytes(model.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def _stable_names(names: Iterable[str]) -> dict[str, str]:
    """{name: the same with another number}: those that differ in it alone are counted from 0, in their order."""
    counted = [match for match in map(_COUNTED.fullmatch, names) if match]
    numbers: dict[str, int] = {}
    stable = {}
    for match in sorted(counted, key=lambda match: int(match[2])):
        number = numbers[match[1]] = numbers.get(match[1], -1) + 1
        stable[match[0]] = f"{match[1]}_{number}"
    return stable


def _forget_numbers(function) -> None:
    """Removes the numbers in what a function calls its arguments; those that callers give have names."""
    for argument in function.signature.input_arg:
        argument.name = _UNUSED.sub("", argument.name)
    for about in function.arg_attr.values():
        if _ARGUMENT in about.attr and about.attr[_ARGUMENT].s.isdigit():
            del about.attr[_ARGUMENT]


def _forget_process(node) -> None:
    """Empties the configuration of a call: this host's devices, and what the process had set of graph optimisation."""
    if _CONFIGURATION in node.attr:
        node.attr[_CONFIGURATION].s = b""


def _rename(message, names: Mapping[str, str]) -> None:
    """Exchanges every text in a protobuf `message` that is one of `names`, keys of maps included."""
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, names.get(value, value))
        elif hasattr(value, "ListFields"):
            _rename(value, names)
        elif hasattr(value, "items"):
            _rename_map(value, names)
        elif field.message_type is not None:
            for element in value:
                _rename(element, names)
        elif field.type == field.TYPE_STRING:
            value[:] = [names.get(text, text) for text in value]


def _rename_map(values, names: Mapping[str, str]) -> None:
    """The same for a map; those by names of functions have messages as their values."""
    for value in values.values():
        if hasattr(value, "ListFields"):
            _rename(value, names)
    copies = {
        names[key]: type(values[key]).FromString(values[key].SerializeToString()) for key in values if key in names
    }
    for key in names.keys() & set(values):
        del values[key]
    for key, value in copies.items():
        values[key].CopyFrom(value)
