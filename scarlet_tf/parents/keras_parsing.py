"""Reading of a Keras model's graph as stem, inverted residual blocks, tail and classifier, by what its layers are and connect."""

from __future__ import annotations

from typing import cast

import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import Arrays
from scarlet_tf.parents.keras_graph import Graph
from scarlet_tf.parents.keras_layers import LayerReader, Unit
from scarlet_tf.space.spec import (
    ACTIVATIONS,
    GATES,
    Activation,
    Conventions,
    InvertedResidualSpec,
    NetworkSpec,
    Padding,
)


class NetworkReader:
    """Reads `graph`, whose images have `size` (height, width); `spec`, `arrays` and `scaling` are the result.

    A model without a head is a network without classes. A softmax at the end is dropped, and layers that do nothing at
    inference are passed over. InputError names the layer that a NetworkSpec cannot express.
    """

    def __init__(self, graph: Graph, size: tuple[int, int]):
        self._graph, self._layers = graph, LayerReader(graph, size)
        self.arrays: Arrays = {}
        if len(graph.input.shape) != 4 or graph.input.shape[-1] != 3:
            raise InputError(f"{graph.name}: expected images [B, H, W, 3], got an input {tuple(graph.input.shape)}")
        tensor, self.scaling = self._layers.front(graph.input)
        stem = self._layers.convolution(tensor)
        if stem.is_depthwise or stem.layer.kernel_size != (3, 3):
            raise graph.error(stem.layer, "expected a 3x3 convolution as the stem")
        self._take("stem_conv", stem)
        blocks, first_channels, tail = self._blocks(stem)
        self._expect_pointwise(tail)
        self._take("tail_conv", tail)
        head = self._head(tail)
        self._layers.check_all_seen()
        padding: Padding = "same" if "same" in self._layers.paddings else "symmetric"
        epsilon, momentum = self._layers.norm
        self.spec = NetworkSpec(
            input_shape=(*size, 3),
            stem_channels=stem.channels,
            stem_stride=stem.layer.strides[0],
            first_channels=first_channels,
            blocks=tuple(blocks),
            tail_channels=tail.channels,
            stem_activation=self._activation(stem),
            tail_activation=self._activation(tail),
            conventions=Conventions(padding, epsilon, momentum),
            **head,
        )

    def _blocks(self, stem: Unit) -> tuple[list[InvertedResidualSpec], int | None, Unit]:
        """(The blocks, `first_channels` if the first one is part of the stem, the convolution after the last one.)"""
        tensor, first_channels, stem_activation = stem.out, None, self._activation(stem)
        blocks: list[InvertedResidualSpec] = []
        while True:
            first = self._layers.convolution(tensor)
            if not first.is_depthwise and not self._layers.leads_to_depthwise(first):
                return blocks, first_channels, first
            name = f"block_{len(blocks):02d}"
            block, parts, after = self._block(name, tensor, first)
            separable = InvertedResidualSpec(
                name, stem.channels, stem.channels, block.out_channels, 3, activation=stem_activation, expand=False
            )
            if tensor is stem.out and block == separable:
                first_channels, name = block.out_channels, "stem"
            else:
                blocks.append(block)
            for part, unit in parts.items():
                self._take(f"{name}_{part}", unit)
            tensor = after

    def _block(
        self, name: str, shortcut, first: Unit
    ) -> tuple[InvertedResidualSpec, dict[str, Unit], keras.KerasTensor]:
        """(The block whose first convolution is `first`, its convolutions, the tensor after it.)"""
        parts: dict[str, Unit] = {}
        depthwise = first
        if not first.is_depthwise:
            self._expect_pointwise(first)
            parts["expand"], depthwise = first, self._layers.convolution(first.out)
            if not depthwise.is_depthwise:
                raise self._graph.error(depthwise.layer, "expected a depthwise convolution after a block's expansion")
            if depthwise.activation != first.activation:
                reason = f"expected {first.activation} after it, as after the expansion, got {depthwise.activation}"
                raise self._graph.error(depthwise.layer, reason)
        activation = self._activation(depthwise)
        parts["depthwise"] = depthwise
        tensor, gate = self._squeeze_excite(depthwise.out, parts)
        parts["project"] = project = self._layers.convolution(tensor)
        self._expect_pointwise(project)
        self._activation(project, ("linear",))
        added = self._layers.pairwise(project.out, shortcut, np.add)
        block = InvertedResidualSpec(
            name=name,
            in_channels=shortcut.shape[-1],
            hidden_channels=depthwise.channels,
            out_channels=project.channels,
            kernel_size=depthwise.layer.kernel_size[0],
            stride=depthwise.layer.strides[0],
            residual=added is not None,
            activation=activation,
            expand=not first.is_depthwise,
            **gate,
        )
        return block, parts, project.out if added is None else self._layers.after(added)

    def _squeeze_excite(self, tensor, parts: dict[str, Unit]) -> tuple[keras.KerasTensor, dict]:
        """(The tensor after the squeeze-and-excitation of `tensor`, if it has one; the block's fields for it.)"""
        pool = self._layers.pool(tensor, np.mean)
        if pool is None:
            return tensor, {}
        parts["se_squeeze"] = squeeze = self._layers.dense(self._layers.after(pool))
        parts["se_excite"] = excite = self._layers.dense(squeeze.out)
        scaled = self._layers.pairwise(excite.out, tensor, np.multiply)
        if scaled is None:
            reason = "expected the end of a squeeze-and-excitation, which multiplies the tensor that was pooled"
            raise self._graph.error(excite.layer, reason)
        for unit in (squeeze, excite):
            unit.arrays["/kernel"] = unit.arrays["/kernel"][None, None]  # a 1x1 convolution's here
        fields = {"se_activation": self._activation(squeeze), "se_gate": self._activation(excite, GATES)}
        return self._layers.after(scaled), {"se_channels": squeeze.channels, **fields}

    def _head(self, tail: Unit) -> dict:
        """The spec's fields for what follows the tail's convolution."""
        if tail.out is self._graph.output:
            return {"num_classes": None}
        mean = self._layers.pool(tail.out, np.mean)
        maximum = None if mean else self._layers.pool(tail.out, np.max)
        pool = mean or maximum
        if pool is None:
            raise self._graph.error(
                tail.layer, "expected a global pooling or the model's end after the last convolution"
            )
        tensor = self._layers.after(pool)
        if tensor is self._graph.output:
            return {"num_classes": None, "pooling": "avg" if mean else "max"}
        if maximum:
            raise self._graph.error(pool.layer, "expected the mean in front of a classifier, got the maximum")
        classifier, fields = self._layers.dense(tensor), {}
        if classifier.out is not self._graph.output:
            head, classifier = classifier, self._layers.dense(classifier.out)
            self._activation(head, (tail.activation,))
            fields = {"head_channels": head.channels, "head_bias": head.layer.use_bias}
            if not head.layer.use_bias:
                del head.arrays["/bias"]
            self._take("head", head)
        if classifier.out is not self._graph.output:
            raise self._graph.error(classifier.layer, "expected the classifier, or one layer in front of it")
        self._activation(classifier, ("linear", "softmax"))
        self._take("classifier", classifier)
        return {"num_classes": classifier.channels, **fields}

    # -- What the methods above share -------------------------------------------------------------------------------

    def _take(self, name: str, unit: Unit) -> None:
        self.arrays |= {name + key: array for key, array in unit.arrays.items()}

    def _activation(self, unit: Unit, allowed: tuple[str, ...] = ACTIVATIONS) -> Activation:
        if unit.activation not in allowed:
            reason = f"expected {' or '.join(allowed)} as the activation after it, got {unit.activation}"
            raise self._graph.error(unit.layer, reason)
        return cast("Activation", unit.activation)

    def _expect_pointwise(self, unit: Unit) -> None:
        side, stride = unit.layer.kernel_size[0], unit.layer.strides[0]
        if side > 1 and not unit.is_depthwise:
            reason = f"a {side}x{side} convolution inside the network, as in a fused block, has no counterpart here"
            raise self._graph.error(unit.layer, reason)
        if unit.is_depthwise or stride > 1:
            raise self._graph.error(unit.layer, "expected a 1x1 convolution without a stride")
