"""Moves operations of a quantised TFLite graph into float: a DEQUANTIZE in front of each, a QUANTIZE behind it.

The converter does this itself where it calibrates (`export.quantization`), but not for graphs of quantisation-aware
training, whose ranges it takes from the graph. The int8 tensors around the operation, and so all ranges, stay.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scarlet_tf.export import flatbuffer
from scarlet_tf.export.flatbuffer import schema


def in_float(content: bytes, operations: Iterable[str]) -> bytes:
    """The same graph with the named built-in `operations` of one int8 input and one int8 output computed in float32."""
    wanted = {getattr(schema.BuiltinOperator, name) for name in operations}
    model = flatbuffer.unpack(content)
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
    return flatbuffer.pack(model)


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
        name=flatbuffer.text(known.name) + "/float",
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
