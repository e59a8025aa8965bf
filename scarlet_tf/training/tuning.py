"""Tuning: which parts of a network a training leaves as they are, and how fast the others move."""

from __future__ import annotations

import dataclasses

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.models.layer_groups import group_names, layer_groups
from scarlet_tf.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Further training of a network. Parts are the stem, each block, the tail and the classifier, in this order.

    freeze_bn: batch normalisation works with the statistics it has, and statistics, scale and offset stay bit by bit.
    train_from: the first part that is trained; those before it stay, their batch normalisation included.
    rate_decay: the learning rate of each part is the following part's times this; the classifier's is the schedule's.
    """

    freeze_bn: bool = False
    train_from: str = "stem"
    rate_decay: float = 1.0

    def freeze(self, model: keras.Model, spec: NetworkSpec) -> None:
        """Makes what stays untrainable; call it before the optimizer is built."""
        check_part(spec, self.train_from)
        before = True
        for name, layers in layer_groups(model, spec).items():
            before &= name != self.train_from
            for layer in layers:
                is_bn = isinstance(layer, keras.layers.BatchNormalization)
                layer.trainable = not (before or (is_bn and self.freeze_bn))

    def rates(self, model: keras.Model, spec: NetworkSpec) -> dict[str, float]:
        """{path of a variable: its factor of the learning rate}."""
        groups = layer_groups(model, spec)
        return {
            variable.path: self.rate_decay ** (len(groups) - 1 - index)
            for index, layers in enumerate(groups.values())
            for layer in layers
            for variable in layer.trainable_variables
        }


def check_part(spec: NetworkSpec, name: str) -> None:
    """InputError unless `name` is a part that training may begin with."""
    if name not in group_names(spec):
        raise InputError(f"finetune.train_from: expected one of {', '.join(group_names(spec))}, got {name!r}")
