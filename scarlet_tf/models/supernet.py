"""Supernet: every choice of every layer in one model; the path is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import keras
import numpy as np

from scarlet_tf import host
from scarlet_tf.errors import InputError
from scarlet_tf.layers import ChoiceBlock, SpecBlock, Stem, Tail
from scarlet_tf.layers.initialization import derived_seed
from scarlet_tf.layers.lanes import fan_out, permute, reorder
from scarlet_tf.space import SKIP_MODES, Architecture, Layer, SearchSpace, block_spec
from scarlet_tf.spec import check_whole


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Supernet(keras.Model):
    """The one-shot supernet of a space (SCARLET-NAS, v2 section 3).

    Args:
        space: a SearchSpace, its dict form, or "s1" / "s2".
        input_shape: (height, width, channels) of the images.
        num_classes: classes of the classifier.
        skip: form of a skipped layer: "let" (1x1 conv, as in the paper), "identity" or "relu" (its ablations).
        seed: of the initial weights.
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
        skip: Literal["let", "identity", "relu"] = "let",
        seed: int | None = 0,
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
        policy = {"dtype": self.dtype_policy}
        self.stem = Stem(ends, derived_seed(seed, "stem"), name="stem", **policy)
        self.choice_blocks = [self._choice_block(layer) for layer in self.space.layers]
        self.tail = Tail(ends, derived_seed(seed, "tail"), name="tail", **policy)
        self.build()

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
