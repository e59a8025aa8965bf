"""Graph: the calls of layers that a Keras model consists of, and what parts of it compute.

Recorded by `keras.models.clone_model`, whose `call_function` sees each call in order: the one public way to a model's graph.
Models inside the model are entered. Layers without weights are known by what they compute on probes and not by their class or
name, so that it does not matter how an activation was written.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from scarlet_tf.base.errors import InputError

PROBE_SIDE = 5  # pixels; above 1, so that pooling differs from an identity
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer (or of an operation, such as a sum of two tensors)."""

    layer: Any
    args: tuple
    kwargs: dict
    output: keras.KerasTensor

    @functools.cached_property
    def inputs(self) -> list[keras.KerasTensor]:
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]

    @property
    def weights(self) -> list:
        return list(getattr(self.layer, "weights", ()))


class Graph:
    """The calls of `model` in an order in which each follows its inputs, on copies of its layers in float32.

    InputError for a model that has no graph, more than one input or output, or a layer that cannot be copied.
    """

    def __init__(self, model: keras.Model, name: str):
        self.name = name
        self.calls: list[Call] = []
        self._aliases: dict[int, keras.KerasTensor] = {}
        self._originals: dict[int, Any] = {}
        self._model = self._copy_of_model(model)  # kept: tensors are told apart by their ids
        self.input, self.output = self._model.inputs[0], self.root(self._model.outputs[0])

    def error(self, layer, reason: str) -> InputError:
        """The error that names `layer` and the reason for which the model cannot be read."""
        return InputError(f"{self.name}: layer {layer.name!r} ({type(layer).__name__}): {reason}")

    def root(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The tensor itself, or the one inside or outside of a nested model that it stands for."""
        while id(tensor) in self._aliases:
            tensor = self._aliases[id(tensor)]
        return tensor

    def users(self, tensor: keras.KerasTensor) -> list[Call]:
        """The calls that read `tensor`."""
        tensor = self.root(tensor)
        return [call for call in self.calls if any(self.root(read) is tensor for read in call.inputs)]

    def elementwise(self, tensor, probe: np.ndarray) -> tuple[keras.KerasTensor, np.ndarray, list[Call]]:
        """(The last tensor that follows from `tensor` alone by layers that keep the size, its value, those layers' calls).

        probe: the value of `tensor` in its place, [2, C] or [2, H, W, C].
        """
        values, inside = {id(self.root(tensor)): probe}, []
        tensors = {id(self.root(tensor)): self.root(tensor)}
        for call in self.calls:
            reads = [id(self.root(read)) for read in call.inputs]
            if not reads or not set(reads) <= values.keys() or self._learns(call):
                continue
            value = self.evaluate(call, values)
            if value is not None and (value.size, value.shape[-1:]) == (probe.size, probe.shape[-1:]):
                out = self.root(call.output)
                values[id(out)], tensors[id(out)] = value, out
                inside.append(call)
        ends = [t for t in tensors.values() if t is self.output or not all(user in inside for user in self.users(t))]
        if len(ends) != 1:
            raise self.error(
                (inside or self.users(tensor))[0].layer, "its input and its output are both read further on"
            )
        return ends[0], values[id(ends[0])], inside

    def is_pairwise(self, call: Call, one, other, function: Callable) -> bool:
        """True if the call computes `function` of the tensors `one` and `other`, the latter [B, 1, 1, C] or like `one`."""
        one, other = self.root(one), self.root(other)
        if {id(self.root(read)) for read in call.inputs} != {id(one), id(other)} or self._learns(call):
            return False
        rng = np.random.default_rng(0)
        values = {id(t): rng.normal(size=_probe_shape(t)).astype(np.float32) for t in (one, other)}
        found = self.evaluate(call, values)
        expected = function(values[id(one)], values[id(other)])
        return found is not None and found.shape == expected.shape and np.allclose(found, expected, atol=TOLERANCE)

    def is_pooling(self, call: Call, function: Callable) -> bool:
        """True if the call computes `function` (such as np.mean) of each channel over the whole image."""
        if self._learns(call) or len(call.inputs) != 1:
            return False
        tensor = self.root(call.inputs[0])
        image = np.random.default_rng(0).normal(size=(2, PROBE_SIDE, PROBE_SIDE + 2, tensor.shape[-1]))
        found = self.evaluate(call, {id(tensor): image.astype(np.float32)})
        expected = function(image, axis=(1, 2))
        if found is None or found.size != expected.size:
            return False
        return np.allclose(found.reshape(expected.shape), expected, atol=TOLERANCE)

    def evaluate(self, call: Call, values: dict[int, np.ndarray]) -> np.ndarray | None:
        """The call's result at inference, with `values` in place of its tensors; None if it cannot compute with them."""
        args, kwargs = keras.tree.map_structure(
            lambda x: values[id(self.root(x))] if isinstance(x, keras.KerasTensor) else x, (call.args, call.kwargs)
        )
        if "training" in inspect.signature(call.layer.call).parameters and kwargs.get("training") is None:
            kwargs["training"] = False
        try:
            return np.asarray(keras.ops.convert_to_numpy(call.layer(*args, **kwargs)))
        except Exception:  # whatever a layer of anybody raises for a shape that it was not made for
            return None

    def _learns(self, call: Call) -> bool:
        return bool(call.weights) and not isinstance(call.layer, keras.layers.Normalization)

    # -- Recording --------------------------------------------------------------------------------------------------

    def _copy_of_model(self, model):
        if not isinstance(model, (keras.Sequential, keras.Function)) or not model.built:
            got = f"{model.name!r} ({type(model).__name__})"
            raise InputError(f"{self.name}: expected functional or built sequential Keras models alone, got {got}")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            ends = f"{len(model.inputs)} and {len(model.outputs)}"
            raise InputError(f"{self.name}: expected a model of one input and one output, got {ends} in {model.name!r}")
        if not isinstance(model, keras.Sequential):
            return keras.models.clone_model(model, clone_function=self._copy, call_function=self._call)
        image = x = keras.Input(batch_shape=model.inputs[0].shape)
        for layer in model.layers:
            x = self._call(self._copy(layer), x)
        return keras.Model(image, x)

    def _copy(self, layer):
        if isinstance(layer, keras.Model):
            return self._copy_of_model(layer)
        try:
            config = layer.get_config()
            if "dtype" in config:
                config["dtype"] = "float32"
            copy = type(layer).from_config(config)
        except Exception as error:  # a class of anybody's whose configuration is missing or incomplete
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise self.error(layer, f"it cannot be made again from its configuration: {reason}") from error
        self._originals[id(copy)] = layer
        return copy

    def _call(self, layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        call = Call(layer, args, kwargs, output)
        if isinstance(layer, keras.Model):
            if id(layer.inputs[0]) in self._aliases:
                raise self.error(layer, "expected a model inside the model to be called once")
            self._aliases[id(layer.inputs[0])] = call.inputs[0]
            self._aliases[id(output)] = layer.outputs[0]
            return output
        if call.weights:
            self._copy_weights(layer)
        self.calls.append(call)
        return output

    def _copy_weights(self, copy) -> None:
        original = self._originals[id(copy)]
        try:
            copy.set_weights(original.get_weights())
        except ValueError as error:
            raise self.error(original, "expected weights as of a new layer, not quantised ones") from error
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()


def _probe_shape(tensor) -> tuple[int, ...]:
    """[2, C] or [2, H, W, C] for a tensor [B, C] or [B, H, W, C], with H = W = 1 if the tensor has it so."""
    sides = [1 if side == 1 else PROBE_SIDE for side in tensor.shape[1:-1]]
    return (2, *sides, tensor.shape[-1])
