"""Layers of the supernet: the stem, a block or the tail of a NetworkSpec, and the choice between blocks.

The parts of a spec apply the builder of stand-alone networks to their input with layers that they made once. A path through a
supernet is therefore the stand-alone network by construction, and every block that the builder builds can be searched.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.layers import primitives
from scarlet_tf.layers.builder import connect_block, connect_stem, connect_tail
from scarlet_tf.layers.core import BatchNormalization
from scarlet_tf.space.spec import (
    PYTORCH,
    BlockSpec,
    Conventions,
    NetworkSpec,
    block_from_dict,
    known_fields,
)


class _SpecLayer(keras.layers.Layer):
    """A layer that connects its inner layers as the builder does.

    Inner layers have the names of the stand-alone network without `prefix`, and initial weights that depend on these names.
    """

    prefix: str

    def __init__(self, spec: Any, in_channels: int, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec
        self.seed = seed
        self.inner: dict[str, keras.layers.Layer] = {}
        self.compute_output_shape((None, None, None, in_channels))  # makes the inner layers

    def connect(self, x, parts):
        """The builder's function for this part, applied to x."""
        raise NotImplementedError

    def build(self, input_shape):
        self.connect(tuple(input_shape), _Parts(self, _build))
        self.built = True

    def call(self, x, training=False):
        # `stateless_call` opens no call context, so Keras would not hand `training` on to the inner layers.
        return self.connect(x, _Parts(self, functools.partial(_call, training=training)))

    def compute_output_shape(self, input_shape):
        return self.connect(tuple(input_shape), _Parts(self, _output_shape))

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names that they have in a stand-alone network, without the prefix."""
        return {name: layer for name, layer in self.inner.items() if layer.weights}


class _Parts:
    """The functions of `primitives`, each of whose layers is made once, and what is done with layer and input."""

    def __init__(self, owner: _SpecLayer, apply: Callable):
        self._owner, self._apply = owner, apply

    def __getattr__(self, kind: str):
        def part(*args, name: str, **kwargs):
            name, inner = name.removeprefix(self._owner.prefix), self._owner.inner
            if name not in inner:
                options = {"dtype": self._owner.dtype_policy, **kwargs}
                inner[name] = getattr(primitives, kind)(*args, name=name, **options)
            return lambda x: self._apply(inner[name], x)

        return part

    def pad_channels(self, x, extra: int):
        return (*x[:-1], x[-1] + extra) if isinstance(x, tuple) else primitives.pad_channels(x, extra)


def _call(layer: keras.layers.Layer, x, training):
    differs = isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Dropout))
    return layer(x, training=training) if differs else layer(x)


def _build(layer: keras.layers.Layer, shape):
    if not layer.built:
        layer.build(shape)
    return layer.compute_output_shape(shape)


def _output_shape(layer: keras.layers.Layer, shape):
    return layer.compute_output_shape(shape)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SpecBlock(_SpecLayer):
    """The block that a BlockSpec describes.

    Args:
        spec: a BlockSpec, or its dict form; its name has no meaning here.
        seed: of the initial weights.
        conventions: of the network, or their dict form.

    Input [B, H, W, in_channels], output [B, ceil(H / stride), ceil(W / stride), out_channels].
    """

    prefix = "block_"

    def __init__(
        self,
        spec: BlockSpec | Mapping,
        seed: int | None = None,
        conventions: Conventions | Mapping = PYTORCH,
        **kwargs,
    ):
        spec = block_from_dict(spec) if isinstance(spec, Mapping) else spec
        self._conventions = as_settings(Conventions, conventions)
        super().__init__(dataclasses.replace(spec, name="block"), spec.in_channels, seed, **kwargs)

    def build(self, input_shape):
        if input_shape[-1] != self.spec.in_channels:
            raise ValueError(f"{self.name}: expected {self.spec.in_channels} input channels, got {input_shape[-1]}")
        super().build(input_shape)

    def connect(self, x, parts):
        return connect_block(self.spec, x, parts, self.seed, conventions=self._conventions)

    def hidden(self, x):
        """The input [B, H', W', hidden_channels] of an inverted residual block's projection, at inference."""

        def apply(layer, x):
            if layer.name in ("project", "project_bn"):
                return x
            return x[1] if layer.name == "add" else _call(layer, x, False)

        return self.connect(x, _Parts(self, apply))

    def get_config(self):
        conventions = dataclasses.asdict(self._conventions)
        config = {"spec": known_fields(self.spec), "seed": self.seed, "conventions": conventions}
        return {**super().get_config(), **config}


class _End(_SpecLayer):
    """A part of a NetworkSpec, whose blocks have no meaning here."""

    def __init__(self, spec: NetworkSpec | Mapping, seed: int | None = None, **kwargs):
        spec = NetworkSpec.from_dict(dict(spec)) if isinstance(spec, Mapping) else spec
        super().__init__(spec.replace(blocks=()), spec.input_shape[2], seed, **kwargs)

    def get_config(self):
        return {**super().get_config(), "spec": self.spec.to_dict(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Stem(_End):
    """The stem of a NetworkSpec: the fixed layers in front of the searchable ones.

    Input: images [B, H, W, C]; output [B, ceil(H / stem_stride), ceil(W / stem_stride), block_channels].
    """

    prefix = "stem_"

    def connect(self, x, parts):
        return connect_stem(self.spec, x, parts, self.seed)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Tail(_End):
    """The tail of a NetworkSpec: the fixed layers after the searchable ones. Input [B, H, W, C]; output: the network's."""

    prefix = "tail_"

    def connect(self, x, parts):
        return connect_tail(self.spec, x, parts, self.seed)

    def compute_output_spec(self, x, training=False):
        dtype = self.compute_dtype if self.spec.num_classes is None else "float32"
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=dtype)

    def features(self, x):
        """The input [B, C] of the classifier, at inference."""

        def apply(layer, x):
            return x if layer is self.inner["classifier"] else _call(layer, x, False)

        return self.connect(x, _Parts(self, apply))

    def lanes(self, lanes, training=False):
        """Lanes [m, B, H, W, C] -> logits [m, B, num_classes]; BN sees one lane at a time, all else all of them."""
        ops = keras.ops
        num_lanes, batch_size, *image = ops.shape(lanes)

        def apply(layer, x):
            if not isinstance(layer, BatchNormalization):
                return _call(layer, x, training)
            y = layer.lanes(ops.reshape(x, (num_lanes, batch_size, *x.shape[1:])), training=training)
            return ops.reshape(y, (num_lanes * batch_size, *x.shape[1:]))

        y = self.connect(ops.reshape(lanes, (num_lanes * batch_size, *image)), _Parts(self, apply))
        return ops.reshape(y, (num_lanes, batch_size, *y.shape[1:]))


@keras.saving.register_keras_serializable(package="scarlet_tf")
class ChoiceBlock(keras.layers.Layer):
    """Candidates of equal output shape; `call` runs the one with the given index.

    Nothing here remembers an active choice: the index is an argument, so one traced graph serves all of them. An
    index out of range is clamped by `keras.ops.switch`; `Supernet` refuses it before it gets here.

    Args:
        candidates: Keras layers that are called with `x` [B, H, W, C] and `training`.
    """

    def __init__(self, candidates, **kwargs):
        super().__init__(**kwargs)
        self.candidates = list(candidates)
        if not self.candidates:
            raise ValueError("candidates: expected at least one layer, got none")

    def build(self, x_shape, choice_shape=()):
        for candidate in self.candidates:
            if not candidate.built:
                candidate.build(x_shape)
        self.built = True

    def run(self, index: int, x, training=False):
        """The output of candidate `index`, a Python integer: no control flow."""
        return self.candidates[index](x, training=training)

    def call(self, x, choice, training=False):
        _check_scalar(keras.ops.shape(choice))
        branches = [lambda x, i=i: self.run(i, x, training) for i in range(len(self.candidates))]
        return keras.ops.switch(choice, branches, x)

    def compute_output_shape(self, x_shape, choice_shape=()):
        _check_scalar(choice_shape)
        return self.candidates[0].compute_output_shape(x_shape)

    def get_config(self):
        candidates = [keras.saving.serialize_keras_object(candidate) for candidate in self.candidates]
        return {**super().get_config(), "candidates": candidates}

    @classmethod
    def from_config(cls, config):
        candidates = [keras.saving.deserialize_keras_object(c) for c in config.pop("candidates")]
        return cls(candidates, **config)


def _check_scalar(shape) -> None:
    if len(shape):
        raise InputError(f"choice: expected one integer, of shape (), got shape {tuple(shape)}")
