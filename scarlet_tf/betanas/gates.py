"""Gates: derivatives of a path's loss by a weight on each choice's output (ProxylessNAS, arXiv:1812.00332)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.compiled_layers import CompiledLayers, Rule
from scarlet_tf.training.optimizers import Loss


class Gates:
    """Derivatives of a path's loss by a weight on each choice's output: ProxylessNAS' gates.

    The output of a layer is seen as sum_j g_j y_j over the choices j, with g = 1 for the path's choice and 0 for the others;
    y_j is choice j's output for the path's own features. dO/dg_j is then the sum of dO/dy * y_j over the layer's output.
    Nothing is trained: neither weights nor BN's statistics move. BN normalises by the batch, as in training.
    """

    def __init__(self, supernet: Supernet, loss: Loss, scale: float = 1.0, training: bool = True):
        self.supernet, self.scale = supernet, scale
        self._layers = CompiledLayers(supernet, loss, Rule(scale=scale, frozen=True), training=training)

    def __call__(self, images, labels, path, choices):
        """(loss, accuracy, dO/dg float32 [num_layers, num_choices]) of one path, int [num_layers].

        `choices`: bool [num_layers, num_choices], which of them are evaluated, the path's among them; the others are not
        run, and have 0.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        choices = np.asarray(choices, bool)
        layers, passed = self._layers, []
        stem = layers.layer(self.supernet.stem, images)
        x, *_ = stem.forward([images, *stem.handles])
        for block, choice, wanted in zip(self.supernet.choice_blocks, path, choices, strict=True):
            if not wanted[choice]:
                raise ValueError(f"{block.name}: the path's choice {choice} is not among those evaluated")
            outputs = {}
            for other in np.flatnonzero(wanted):
                layer = layers.layer(block.candidates[other], x)
                outputs[other], *residuals = layer.forward([x, *layer.handles])
                if other == choice:
                    kept = (x, layer, residuals)
            passed.append((*kept, outputs))
            x = outputs[choice]
        tail = layers.tail(x, labels)
        loss, accuracy, dy = tail.forward([x, labels, *tail.handles])
        gates = []
        del residuals, kept, outputs
        while passed:
            x, layer, residuals, outputs = passed.pop()
            products = _inner_products(dy, outputs.values()) / self.scale
            gates.append(tf.scatter_nd(np.array(list(outputs))[:, None], products, [choices.shape[1]]))
            if passed:  # nothing reads the gradient of the stem's output
                (dy,) = layer.backward([x, *layer.handles, *residuals, dy])
        return loss, accuracy, tf.stack(gates[::-1])


def _inner_products(dy, outputs: Iterable):
    dy = tf.cast(dy, tf.float32)
    return tf.stack([tf.reduce_sum(dy * tf.cast(y, tf.float32)) for y in outputs])
