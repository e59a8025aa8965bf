"""Supernet: every choice of every layer in one model, the path an argument; its paths as networks, and training under `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import keras
import numpy as np

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import ChoiceBlock, SpecBlock, Stem, Tail
from scarlet_tf.layers.core import fan_out, permute, refuse_tracer, reorder
from scarlet_tf.layers.primitives import derived_seed
from scarlet_tf.models.network import Arrays, Network, set_arrays
from scarlet_tf.space.lowering import SKIP_MODES, Layer, block_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import check_whole


class TrainedWeights(Protocol):
    """Source of the weights that a supernet begins with, such as a Parent."""

    def warm_start(self, supernet: Supernet) -> None:
        """Give every choice its weights."""


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Supernet(keras.Model):
    """The one-shot supernet of a space (SCARLET-NAS, v2 section 3).

    Args:
        space: a SearchSpace, its dict form, or "s1" / "s2".
        input_shape: (height, width, channels) of the images.
        num_classes: classes of the classifier.
        skip: form of a skipped layer: "let" (1x1 conv, as in the paper), "identity" or "relu" (its ablations), or "shortcut": as
            in ResNet, the identity where the layer keeps shape and width, and else a LET.
        seed: of the initial weights.
        start: a Parent, see `space_around`: every choice begins with what the parent's trained block has for it. LETs that
            change widths or sizes stay random; `warm_start` fits them, too, to images.
        dtype: Keras' dtype policy, such as "mixed_bfloat16"; statistics, logits and weights are float32 under every one.

    `supernet(images [B, H, W, C], path [num_layers])` returns the path's logits [B, num_classes];
    `supernet.lanes(images, paths [m, num_layers])` the logits [m, B, num_classes] of m paths that together use
    every choice of every layer exactly once.
    """

    built: bool

    def __init__(
        self,
        space: SearchSpace | Mapping | str,
        input_shape: tuple[int, int, int] | None = None,
        num_classes: int = 1000,
        skip: Literal["let", "identity", "relu", "shortcut"] = "let",
        seed: int | None = 0,
        start: TrainedWeights | None = None,
        **kwargs,
    ):
        host.check_fork()
        super().__init__(**kwargs)
        if isinstance(space, str):
            space = SearchSpace.from_name(space)
        self.space = space if isinstance(space, SearchSpace) else SearchSpace.from_dict(space)
        if skip not in SKIP_MODES:
            raise InputError(f"skip: expected one of {SKIP_MODES}, got {skip!r}")
        self.num_classes = check_whole("num_classes", num_classes)
        ends = self.space.ends(input_shape, num_classes)
        self.image_shape = ends.input_shape
        self.skip = skip
        self.seed = seed
        self.started_from: str | None = None  # fingerprint of the trained network that the weights began with
        policy = {"dtype": self.dtype_policy}
        self.stem = Stem(ends, derived_seed(seed, "stem"), name="stem", **policy)
        self.choice_blocks = [self._choice_block(layer) for layer in self.space.layers]
        self.tail = Tail(ends, derived_seed(seed, "tail"), name="tail", **policy)
        self.build()
        if start is not None:
            start.warm_start(self)

    def _choice_block(self, layer: Layer) -> ChoiceBlock:
        candidates = []
        for index, choice in enumerate(self.space.choices):
            spec = block_spec(self.space, layer, choice, layer.in_channels, self.skip)
            assert spec is not None  # in a supernet a skip is a block, too
            seed = derived_seed(self.seed, f"{layer.name}/{index}")
            options = {"name": f"choice_{index:02d}", "dtype": self.dtype_policy}
            candidates.append(SpecBlock(spec, seed, self.space.conventions, **options))
        return ChoiceBlock(candidates, name=layer.name, dtype=self.dtype_policy)

    @property
    def chain(self) -> list[keras.layers.Layer]:
        """Stem, choice blocks and tail in the order in which an image passes them."""
        return [self.stem, *self.choice_blocks, self.tail]

    def build(self, input_shape=None):
        """Make all weights; the constructor has done it already."""
        if self.built:
            return
        shape = (None, *self.image_shape)
        for layer in self.chain:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def __call__(self, images, path, training=False):
        """Logits [B, num_classes]; `path` may be an Architecture, a sequence of integers or an integer tensor."""
        return super().__call__(images, self._checked_path(path), training=training)

    def call(self, images, path, training=False):
        x = self.stem(images, training=training)
        return self.tail(self.features(x, path, training), training=training)

    def compute_output_spec(self, images, path, training=False):
        return keras.KerasTensor((images.shape[0], self.num_classes), dtype="float32")

    def features(self, x, path, training=False):
        """Run the searchable layers of one path on the stem's output x; `path` is an integer tensor [num_layers]."""
        for index, block in enumerate(self.choice_blocks):
            x = block(x, path[index], training=training)
        return x

    def lanes(self, images, paths, training=False):
        """Logits [m, B, num_classes] of m paths side by side, without control flow.

        `paths` [m, num_layers]: each column must be a permutation of the m choices, as in a strict-fair step. Before
        each layer the lanes are put into the order of its choices, so that lane i always runs choice i; the stem runs
        once. The tail's BN sees one lane at a time, as it does when the paths run one after another.
        """
        ops = keras.ops
        if not ops.is_tensor(paths):
            self._check_fair(np.asarray(paths))
        num_lanes = self.space.num_choices
        paths = ops.reshape(ops.convert_to_tensor(paths, "int32"), (num_lanes, self.space.num_layers))
        x = self.stem(images, training=training)
        lanes = fan_out(x, num_lanes)  # before the first layer all lanes are equal: no reordering
        order = None  # order[i]: the path that lane i carries
        for index, block in enumerate(self.choice_blocks):
            wanted = ops.argsort(paths[:, index])
            if order is not None:
                lanes = reorder(lanes, ops.take(ops.argsort(order), wanted), ops.take(ops.argsort(wanted), order))
            lanes = [block.run(choice, lane, training) for choice, lane in enumerate(lanes)]
            order = wanted
        return self.tail.lanes(permute(ops.stack(lanes), ops.argsort(order), order), training=training)

    def get_config(self):
        config = {"space": self.space.to_dict(), "input_shape": list(self.image_shape), "num_classes": self.num_classes}
        return {**config, "skip": self.skip, "seed": self.seed, "name": self.name, "dtype": self.dtype_policy.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    def _check_fair(self, paths: np.ndarray) -> None:
        fair = np.tile(np.arange(self.space.num_choices)[:, None], self.space.num_layers)
        if not np.array_equal(np.sort(paths, axis=0), fair):
            raise InputError(
                f"paths: expected {self.space.num_choices} paths that use every choice of every layer once, got {paths.tolist()}"
            )

    def _checked_path(self, path):
        """`path` as an int32 tensor; indices that can be read now are validated, since `switch` would clamp them."""
        if not keras.ops.is_tensor(path) and not isinstance(path, keras.KerasTensor):
            if not isinstance(path, Architecture):
                path = Architecture(tuple(np.asarray(path).tolist()), self.space)
            path = path.within(self.space).choices
        elif tuple(path.shape) != (self.space.num_layers,):
            raise InputError(f"path: expected shape ({self.space.num_layers},), got {tuple(path.shape)}")
        elif getattr(path, "numpy", None) is not None:  # a tensor whose value is known
            Architecture(tuple(path.numpy().tolist()), self.space)
        return keras.ops.cast(keras.ops.convert_to_tensor(path), "int32")


def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """A model with the outputs of `supernet(images, architecture)`; `.spec` is its NetworkSpec.

    Raises InputError when the architecture's space has other layers or choices than the supernet's.
    """
    architecture = architecture.within(supernet.space)
    spec = architecture.lower(supernet.image_shape, supernet.num_classes, skip=supernet.skip)
    network = Network(spec)
    set_arrays(network, path_arrays(supernet, architecture))
    return network


def path_arrays(supernet: Supernet, architecture: Architecture) -> Arrays:
    """The weights of one path under the names they have in a stand-alone network."""
    variables = path_variables(supernet, architecture)
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables.items()}


def path_variables(supernet: Supernet, architecture: Architecture) -> dict:
    """Return the variables of one path by the names they have in a stand-alone network."""
    variables = _named(supernet.stem, "stem") | _named(supernet.tail, "tail")
    for layer, block, choice in zip(supernet.space.layers, supernet.choice_blocks, architecture.choices, strict=True):
        variables |= _named(block.candidates[choice], layer.name)
    return variables


def _named(layer, prefix: str) -> dict:
    variables: dict = {}
    for name, part in layer.parts().items():
        full = name if name in ("classifier", "head") else f"{prefix}_{name}"
        variables |= {f"{full}/{weight.name}": weight for weight in part.weights}
    return variables


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairLanes(keras.Model):
    """All paths of a fair step as one model, so that `fit` takes fair steps.

        lanes = FairLanes(supernet)
        lanes.compile(keras.optimizers.SGD(0.045, momentum=0.9), loss=FairCrossentropy(), metrics=[FairAccuracy()])
        lanes.fit(images, labels)

    Each training batch draws its own strict-fair paths, in which every choice of every layer occurs exactly once. Input:
    images [B, H, W, C], or a dict of "images" and "paths" [m, num_layers], integers, to prescribe them. Output: logits
    [B, m, num_classes] of the m paths. `train_supernet` offers more: exact resuming, L2 on kernels only, several devices.

    Args:
        supernet: its weights are trained in place.
        seed: of the random paths.
    """

    def __init__(self, supernet: Supernet, seed: int | None = 0, **kwargs):
        super().__init__(**kwargs)
        self.supernet = supernet
        self.seed = seed
        self._draws = keras.random.SeedGenerator(seed)
        self.build()  # so that `stateless_call` needs no call before it

    def build(self, input_shape=None):
        """The supernet has made its weights already."""
        self.built = True

    def call(self, inputs, training=False):
        ops = keras.ops
        given = inputs if isinstance(inputs, dict) else {"images": inputs}
        paths = given["paths"] if "paths" in given else self._draw()
        return ops.transpose(self.supernet.lanes(given["images"], paths, training=training), (1, 0, 2))

    def _draw(self):
        space = self.supernet.space
        # The order of independent uniform numbers is a permutation, and all permutations are equally likely.
        before = self._draws.state.value
        keys = keras.random.uniform((space.num_choices, space.num_layers), seed=self._draws)
        refuse_tracer(self._draws.state, before, f"{self.name} without prescribed paths")
        return keras.ops.argsort(keys, axis=0)

    def compute_output_shape(self, input_shape):
        shape = input_shape["images"] if isinstance(input_shape, dict) else input_shape
        return (shape[0], self.supernet.space.num_choices, self.supernet.num_classes)

    def compute_output_spec(self, inputs, training=False):
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, inputs)
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype="float32")

    def get_config(self):
        supernet = keras.saving.serialize_keras_object(self.supernet)
        return {"supernet": supernet, "seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(keras.saving.deserialize_keras_object(config.pop("supernet")), **config)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairCrossentropy(keras.losses.Loss):
    """Cross-entropy of labels [B] and logits [B, m, num_classes], summed over the m paths, as a fair step's gradients are."""

    def __init__(self, name: str = "fair_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        ops = keras.ops
        labels = _for_every_path(y_true, y_pred)
        return ops.sum(ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True), axis=-1)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairAccuracy(keras.metrics.Mean):
    """Top-1 accuracy, the mean over the paths."""

    def __init__(self, name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        ops = keras.ops
        hits = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(_for_every_path(y_true, y_pred), "int32"))
        super().update_state(ops.mean(ops.cast(hits, "float32"), axis=-1), sample_weight)


def _for_every_path(labels, logits):
    """Labels [B] or [B, 1] as integers [B, m]."""
    ops = keras.ops
    labels = ops.cast(ops.reshape(labels, (-1, 1)), "int32")
    return ops.repeat(labels, logits.shape[1], axis=1)
