"""TFLite flatbuffers: what is in one, and rewriting names and metadata."""

from __future__ import annotations

import collections
from collections.abc import Iterable

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
_OPERATION_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def rewrite(content: bytes, input_name: str, output_name: str, metadata: dict[str, bytes]) -> bytes:
    """The same graph with its one input and output renamed, in the signature too, and metadata buffers added."""
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = input_name
    graph.tensors[graph.outputs[0]].name = output_name
    for signature in model.signatureDefs or ():
        signature.inputs[0].name, signature.outputs[0].name = input_name, output_name
    model.metadata = [entry for entry in model.metadata or () if text(entry.name) not in metadata]
    for name, value in metadata.items():
        entry = schema.MetadataT(name=name, buffer=len(model.buffers))
        model.buffers.append(schema.BufferT(data=np.frombuffer(value, np.uint8)))
        model.metadata.append(entry)
    return pack(model)


def unpack(content: bytes) -> schema.ModelT:
    """The graph as objects that can be changed."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: schema.ModelT) -> bytes:
    """The inverse of `unpack`."""
    model.buffers = [_AlignedBuffer(buffer.data, buffer.offset, buffer.size) for buffer in model.buffers]
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def read_metadata(content: bytes, name: str) -> bytes | None:
    """The metadata buffer called `name`."""
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if text(entry.Name()) == name:
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return None


def count_operations(content: bytes) -> dict[str, int]:
    """Operation names with their numbers, most frequent first; a custom or Flex operation as "CUSTOM:<name>"."""
    model = unpack(content)
    names = [_operation_name(code) for code in model.operatorCodes]
    counts = collections.Counter(
        names[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators
    )
    return dict(counts.most_common())


def count_partitions(interpreter: Interpreter) -> int:
    """Into how many delegate partitions the allocated graph falls; 1 is best, 0 means no delegate took any of it.

    Only the interpreter's private list of operations tells; this function is the one place that reads it.
    """
    return sum(operation["op_name"] == "DELEGATE" for operation in interpreter._get_ops_details())


class _AlignedBuffer(schema.BufferT):
    """A buffer whose data begin at a multiple of 16 bytes, as the schema demands and its Python code does not do."""

    def Pack(self, builder):
        data = None
        if self.data is not None:
            content = np.asarray(self.data, np.uint8).tobytes()
            builder.Prep(_ALIGNMENT, len(content))
            data = builder.CreateByteVector(content)
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)


def _operation_name(code: schema.OperatorCodeT) -> str:
    if code.customCode is not None:
        return f"CUSTOM:{text(code.customCode)}"
    # Codes beyond 127 stand in the newer field alone, older files have only the other.
    return _OPERATION_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def text(value: bytes | str) -> str:
    """A name of the schema, which is bytes where it was read from a file."""
    return value.decode() if isinstance(value, bytes) else value


# -- Moves operations of a quantised TFLite graph into float: a DEQUANTIZE before each, a QUANTIZE after it
#
# The converter does this itself where it calibrates (`export.quantization`), but not for graphs of quantisation-aware
# training, whose ranges it takes from the graph. The int8 tensors around the operation, and so all ranges, stay.


def in_float(content: bytes, operations: Iterable[str]) -> bytes:
    """The same graph with the named built-in `operations` of one int8 input and one int8 output computed in float32."""
    wanted = {getattr(schema.BuiltinOperator, name) for name in operations}
    model = unpack(content)
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            ends = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs)]
            if code in wanted and len(ends) == 2 and all(end.type == schema.TensorType.INT8 for end in ends):
                operators += _island(model, graph, operator)
            else:
                operators.append(operator)
        graph.operators = operators
    return pack(model)


def _island(model, graph, operator) -> list[schema.OperatorT]:
    [source], [target] = operator.inputs, operator.outputs
    operator.inputs, operator.outputs = ([_float_tensor(graph, index)] for index in (source, target))
    return [
        _operator(model, schema.BuiltinOperator.DEQUANTIZE, source, operator.inputs[0]),
        operator,
        _operator(model, schema.BuiltinOperator.QUANTIZE, operator.outputs[0], target),
    ]


def _float_tensor(graph, like: int) -> int:
    """The index of a new float32 tensor with the shape of an existing one."""
    known = graph.tensors[like]
    tensor = schema.TensorT(
        name=text(known.name) + "/float",
        shape=known.shape,
        shapeSignature=known.shapeSignature,
        type=schema.TensorType.FLOAT32,
        buffer=0,  # the empty one, as all that is computed has
    )
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model, code: int, source: int, target: int) -> schema.OperatorT:
    return schema.OperatorT(opcodeIndex=_code_index(model, code), inputs=np.array([source]), outputs=np.array([target]))


def _code_index(model, code: int) -> int:
    for index, known in enumerate(model.operatorCodes):
        if known.builtinCode == code:
            return index
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1))
    return len(model.operatorCodes) - 1
