"""Warm start of a supernet: every choice of every layer begins with what the parent's block has for it.

Kernels are cropped to their centre, or surrounded by zeros. Of the hidden channels the most important ones are kept, in their
order of importance, so a smaller block is a part of every larger one (Once-for-All, arXiv:1908.09791); its projection is then
fitted to the parent's features of some images by least squares (channel pruning, arXiv:1707.06168). A skip that keeps its
input's shape is the identity; any other is a linear map, fitted likewise. Layers that the parent lacks begin as the identity:
the last BN's scale and offset are zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import ChoiceBlock
from scarlet_tf.models.least_squares import LeastSquares, fitted_classifier
from scarlet_tf.models.network import Arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import parent_path
from scarlet_tf.parents.parent import Parent
from scarlet_tf.space.search_space import Layer
from scarlet_tf.space.spec import InvertedResidualSpec, LinearSpec

PROJECTION_RIDGE = 1e-4
"""Shrinkage of the change of a block's projection, of the mean square of what it reads."""

_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def warm_start(supernet: Supernet, parent: Parent, batches: Iterable | None = None) -> None:
    """Give every choice of every layer of `supernet` the weights that `parent` has for it, in place.

    Args:
        supernet: of a space around the parent, see `space_around`, with `skip="shortcut"`, "let" or "identity".
        parent: with the weights. Its classifier is kept where the classes are as many; a new one begins with zeros.
        batches: (images [B, H, W, C], labels [B]), normalised as the parent's preprocessing says. LETs, and the projections
            of blocks that differ from the parent's, are fitted to its features of them, and a new classifier to the labels.
            Without them LETs keep their random weights.

    Batch normalisation keeps the parent's statistics. On few images, or of another kind, they serve better than those that
    the images have: channels that seldom respond would be scaled up.

    Raises InputError for a supernet of another space, and for a parent whose features of the images are not finite, with the
    layer that gives the first such.
    """
    path = parent_path(parent, supernet.space)
    epsilon, blocks = parent.spec.conventions.bn_epsilon, iter(parent.spec.blocks)
    like: InvertedResidualSpec | None = None
    for layer, choices, own in zip(supernet.space.layers, supernet.choice_blocks, path.choices, strict=True):
        is_new = supernet.space.choices[own].is_skip  # the parent has no such layer: it begins like the block before
        if not is_new:
            like = cast(InvertedResidualSpec, next(blocks))
        assert like is not None
        source = of_part(parent.arrays, like.name)
        if not is_new:
            _checked(f"parent: {like.name}", choices.candidates[own], source)
        for candidate in choices.candidates:
            if isinstance(candidate.spec, InvertedResidualSpec):
                fits = like.in_channels == layer.in_channels
                found = fitted_block(source, like, candidate.spec, epsilon) if fits else _own(candidate)
                _assign(candidate, found | _silent(found) if is_new else found)
            elif (
                isinstance(candidate.spec, LinearSpec) and layer.stride == 1 and layer.in_channels == layer.out_channels
            ):
                _assign(candidate, {"let/kernel": np.eye(layer.in_channels)[None, None]})
    _assign(supernet.stem, of_part(parent.arrays, "stem"))
    _assign(supernet.tail, _of_tail(supernet, parent))
    supernet.started_from = parent.fingerprint
    if batches is not None:
        _fit(supernet, path.choices, batches, parent.spec.num_classes != supernet.num_classes)


# -- one block from another -----------------------------------------------------------------------------------------------


def fitted_block(arrays: Arrays, source: InvertedResidualSpec, target: InvertedResidualSpec, epsilon: float) -> Arrays:
    """The weights of the block `source` for the block `target`, which may have fewer hidden channels and another kernel.

    Names are those of a block's parts, such as "expand/kernel".
    """
    kept = most_important(arrays, source.activation, epsilon)[: target.hidden_channels]
    if target.hidden_channels == source.hidden_channels:
        kept = np.arange(source.hidden_channels)
    found = {}
    for name, array in arrays.items():
        part = name.partition("/")[0]
        if name == "depthwise/kernel":
            found[name] = resized_kernel(array, target.kernel_size)[:, :, kept]
        elif name in ("project/kernel", "se_squeeze/kernel"):
            found[name] = array[:, :, kept]
        elif part in ("project_bn", "se_squeeze"):
            found[name] = array
        else:  # what has one entry for each hidden channel, as its last axis
            found[name] = array[..., kept]
    return found


def resized_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """The centre of a kernel [k, k, ...], or the kernel with zeros around it, as [size, size, ...]."""
    margin = (size - kernel.shape[0]) // 2
    if margin >= 0:
        return np.pad(kernel, [(margin, margin)] * 2 + [(0, 0)] * (kernel.ndim - 2))
    return kernel[-margin:margin, -margin:margin]


def most_important(arrays: Arrays, activation: str, epsilon: float) -> np.ndarray:
    """The hidden channels of a block from the one that contributes most to its output to the least, int [hidden_channels].

    A contribution is the root mean square that the channel adds to the output: that of the activation after the depthwise
    convolution times the norm of its projection after BN. A gate of squeeze-and-excitation is taken for one.
    """
    _, power = activation_moments(arrays["depthwise_bn/gamma"], arrays["depthwise_bn/beta"], activation)
    scale = arrays["project_bn/gamma"] / np.sqrt(arrays["project_bn/moving_variance"] + epsilon)
    projected = arrays["project/kernel"][0, 0] * scale.astype(float)
    return np.argsort(-power * np.sum(projected**2, axis=1), kind="stable")


def activation_moments(gamma: np.ndarray, beta: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """(Mean, mean square) [C] of the activation of normal values with deviations `gamma` and means `beta`, as BN makes them."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    passed = _ACTIVATIONS[activation](np.asarray(beta + np.multiply.outer(nodes, gamma), float))
    return weights @ passed / math.sqrt(2 * math.pi), weights @ passed**2 / math.sqrt(2 * math.pi)


def _silent(arrays: Arrays) -> Arrays:
    """Scale and offset of a block that adds nothing to its shortcut."""
    return {name: np.zeros_like(arrays[name]) for name in ("project_bn/gamma", "project_bn/beta")}


# -- the parts of a supernet ----------------------------------------------------------------------------------------------


def of_part(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays of one part by their names in it, such as "expand/kernel" for "block_03_expand/kernel"."""
    return {name.removeprefix(f"{prefix}_"): array for name, array in arrays.items() if name.startswith(f"{prefix}_")}


def _of_tail(supernet: Supernet, parent: Parent) -> Arrays:
    found = of_part(parent.arrays, "tail")
    found |= {name: array for name, array in parent.arrays.items() if name.startswith(("head/", "classifier/"))}
    if parent.spec.num_classes != supernet.num_classes:
        features = parent.spec.head_channels or parent.spec.tail_channels
        kernel = np.zeros((features, supernet.num_classes), np.float32)
        found |= {"classifier/kernel": kernel, "classifier/bias": kernel[0]}
    return found


def _weights(layer) -> dict:
    """The weights of a SpecBlock, a Stem or a Tail by their names in it."""
    return {f"{name}/{w.name}": w for name, part in layer.parts().items() for w in part.weights}


def _own(layer) -> Arrays:
    return {name: keras.ops.convert_to_numpy(weight) for name, weight in _weights(layer).items()}


def _assign(layer, arrays: Arrays) -> None:
    for name, weight in _checked(layer.name, layer, arrays).items():
        weight.assign(arrays[name])


def _checked(where: str, layer, arrays: Arrays) -> dict:
    """The weights of `layer`; InputError names the arrays that are not theirs in name and shape."""
    weights = _weights(layer)
    if weights.keys() != arrays.keys():
        missing, unexpected = sorted(weights.keys() - arrays.keys()), sorted(arrays.keys() - weights.keys())
        raise InputError(f"{where}: weights: missing {missing}, unexpected {unexpected}")
    for name, weight in weights.items():
        if tuple(weight.shape) != np.shape(arrays[name]):
            raise InputError(f"{where}: {name}: expected {tuple(weight.shape)}, got {np.shape(arrays[name])}")
    return weights


# -- linear maps by least squares -----------------------------------------------------------------------------------------


def _fit(supernet: Supernet, path: tuple[int, ...], batches: Iterable, fits_classifier: bool) -> None:
    """Fit what differs from the parent's path to its features, and the classifier to the labels."""
    layers = [_LayerFit(*one) for one in zip(supernet.space.layers, supernet.choice_blocks, path, strict=True)]
    features, targets = [], []
    for images, labels in batches:
        x = _finite(supernet.stem(images), "the stem")
        for layer in layers:
            x = _finite(layer.add(x), layer.name)
        if fits_classifier:
            features.append(keras.ops.convert_to_numpy(_finite(supernet.tail.features(x), "the tail")))
            targets.append(np.asarray(labels).reshape(-1))
    for layer in layers:
        layer.solve()
    if fits_classifier and features:
        kernel, bias = fitted_classifier(np.concatenate(features), np.concatenate(targets), supernet.num_classes)
        supernet.tail.inner["classifier"].set_weights([kernel, bias])


def _finite(x, where: str):
    if not keras.ops.all(keras.ops.isfinite(x)):
        raise InputError(f"parent: expected finite features of the images, got others after {where}")
    return x


class _LayerFit:
    """The choices of a layer whose last linear map is fitted to the output of the parent's own choice."""

    def __init__(self, layer: Layer, block: ChoiceBlock, own: int):
        self.name, self._stride, self._own = layer.name, layer.stride, block.candidates[own]
        self._let, self._blocks = [], []
        is_new = not isinstance(self._own.spec, InvertedResidualSpec)  # the parent has no such layer
        keeps_shape = layer.stride == 1 and layer.in_channels == layer.out_channels
        for candidate in block.candidates:
            if isinstance(candidate.spec, LinearSpec) and not keeps_shape:
                self._let.append((candidate, LeastSquares(layer.in_channels, layer.out_channels)))
            if isinstance(candidate.spec, InvertedResidualSpec) and candidate is not self._own and not is_new:
                hidden = candidate.spec.hidden_channels
                self._blocks.append((candidate, LeastSquares(hidden + 1, layer.out_channels)))

    def add(self, x):
        """Take in a batch's features x [B, H, W, C]; return the parent's output."""
        y = self._own(x)
        for _, fit in self._let:
            fit.add(*map(keras.ops.convert_to_numpy, (x[:, :: self._stride, :: self._stride], y)))
        wanted = self._own.inner["project"](self._own.hidden(x)) if self._blocks else None
        for candidate, fit in self._blocks:
            hidden = keras.ops.convert_to_numpy(candidate.hidden(x))
            missing = keras.ops.convert_to_numpy(wanted - candidate.inner["project"](hidden))
            fit.add(np.concatenate([hidden, np.ones((*hidden.shape[:-1], 1))], axis=-1), missing)
        return y

    def solve(self) -> None:
        """Set the weights. A block's own projection is changed no more than the features ask for; BN's mean takes the offset."""
        for candidate, fit in self._let:
            _assign(candidate, {"let/kernel": fit.solve()[None, None]})
        for candidate, fit in self._blocks:
            change = fit.solve(PROJECTION_RIDGE)
            project, mean = candidate.inner["project"].kernel, candidate.inner["project_bn"].moving_mean
            project.assign(keras.ops.convert_to_numpy(project) + change[:-1][None, None])
            mean.assign(keras.ops.convert_to_numpy(mean) - change[-1])
