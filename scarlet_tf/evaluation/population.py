"""Populations: paths of a supernet measured together, along their prefix tree.

For each batch of images every node of the tree is computed once, depth first, so that only the outputs at open branches are
held. That is exact: the output of a layer, and the statistics that its batch normalisation comes to, depend on the prefix alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.batch_norm import moved_weight
from scarlet_tf.evaluation.layer_functions import Function, LayerFunctions, compiled, statistics_of, weights_of
from scarlet_tf.evaluation.prefix_tree import STEM, Node, peak_bytes, prefix_tree
from scarlet_tf.evaluation.scoring import score, targets_and_classes
from scarlet_tf.models.least_squares import fitted_classifier
from scarlet_tf.models.supernet import Supernet

Paths = Sequence[Sequence[int]]


class Populations:
    """Measures one population after another; keeps compiled functions, and changes nothing in the supernet.

    Args:
        supernet: built; its weights are read again for each population.

    Paths are choice indices [N, num_layers], no two of them equal; batches are of (images, labels). Without
    `recalibration` the supernet's running statistics serve.
    """

    def __init__(self, supernet: Supernet):
        self.supernet = supernet
        self._functions = LayerFunctions()
        self._scores: dict[tuple, Function] = {}

    def measure(
        self,
        paths: Paths,
        recalibration: Iterable | None,
        validation: Iterable,
        advance: Callable[[], None] = lambda: None,
        probe: Iterable | None = None,
    ) -> list[dict]:
        """{"accuracy", "loss", "num_examples"} of each path; `advance` is called for each path and batch.

        With `probe`, batches of training images, each path has a classifier of its own, fitted to its features of them, in
        place of the supernet's. Raises InputError when there is no batch.
        """
        walk = self._walk(paths, recalibration, advance)
        if probe is not None:
            walk.fit_classifiers(probe, self.supernet.num_classes, advance)
        totals, examples = [tf.zeros([2], tf.float64)] * len(paths), 0
        for images, labels in validation:
            for path, logits in walk.logits(images):
                totals[path] = self._add_score(totals[path], logits, labels)
                advance()
            examples += len(labels)
        if examples == 0:
            raise InputError("evaluation: expected at least one validation image, got none")
        shares = [total.numpy() / examples for total in totals]
        return [{"accuracy": float(a), "loss": float(loss), "num_examples": examples} for a, loss in shares]

    def logits(self, paths: Paths, recalibration: Iterable | None, images) -> list[tf.Tensor]:
        """The logits [B, num_classes] of each path for images [B, H, W, C]."""
        found = dict(self._walk(paths, recalibration).logits(images))
        return [found[path] for path in range(len(paths))]

    def bytes_needed(self, paths: Paths, batch_size: int, probe_images: int = 0) -> int:
        """Peak bytes of a measurement besides images and weights: outputs at open branches, statistics, features of a probe.

        What a layer needs while it runs comes on top; that is the same for any number of paths.
        """
        tree = prefix_tree(paths)
        statistics = sum(4 * _num_statistics(_layer(self.supernet, node)) for node in tree.walk())
        features = 4 * probe_images * len(paths) * self._num_features
        return features + statistics + peak_bytes(tree, lambda depth: batch_size * self._output_bytes[depth - STEM])

    def _walk(self, paths: Paths, recalibration: Iterable | None, advance: Callable[[], None] = lambda: None) -> _Walk:
        walk = _Walk(self.supernet, self._functions, paths)
        if recalibration is None:
            walk.keep_statistics()
        else:
            walk.recalibrate(recalibration, advance)
        return walk

    @functools.cached_property
    def _num_features(self) -> int:
        """Inputs of the classifier."""
        return self.supernet.tail.inner["classifier"].kernel.shape[0]

    @functools.cached_property
    def _output_bytes(self) -> list[int]:
        """Bytes of one image after the stem, each layer and the tail."""
        shape: tuple = (None, *self.supernet.image_shape)
        found = []
        for layer in self.supernet.chain:
            shape = layer.compute_output_shape(shape)
            found.append(tf.as_dtype(layer.compute_dtype).size * int(np.prod(shape[1:])))
        return found

    def _add_score(self, totals, logits, labels) -> tf.Tensor:
        """totals float64 [2] plus (correct answers, summed cross-entropy)."""
        labels = tf.convert_to_tensor(labels)
        key = (labels.dtype, *labels.shape[1:])
        if key not in self._scores:
            specs = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in (logits, labels)]
            self._scores[key] = compiled(_plus_score, [tf.TensorSpec([2], tf.float64), *specs])
        return self._scores[key]([totals, logits, labels])[0]


class _Walk:
    """The prefix tree of some paths with the weights, and for each node the statistics, that its layers run with."""

    def __init__(self, supernet: Supernet, functions: LayerFunctions, paths: Paths):
        self._functions, self._tree = functions, prefix_tree(paths)
        self._momentum = supernet.space.conventions.bn_momentum
        self._layers = {node: _layer(supernet, node) for node in self._tree.walk()}
        self._weights = self._of_each_layer(weights_of)
        self._statistics: dict[Node, tf.Tensor] = {}
        self._classifiers: list[tuple[tf.Tensor, tf.Tensor]] = []  # of each path, where it has its own

    def keep_statistics(self) -> None:
        """Gives each node the supernet's running statistics."""
        self._statistics = self._of_each_layer(statistics_of)

    def recalibrate(self, batches: Iterable, advance: Callable[[], None]) -> None:
        """Gives each node the statistics that `batch_norm.recalibrate` would come to on any path through it."""
        totals = self._of_each_layer(lambda layer: tf.zeros([_num_statistics(layer)]))

        def observe(node: Node, x):
            arguments = self._layers[node], self._weights[node], totals[node], x
            if node.path is not None:
                totals[node] = self._functions.observe_only(*arguments)
                return None
            y, totals[node] = self._functions.observe(*arguments)
            return y

        examples = 0
        for images, _ in batches:
            for _ in self._tails(images, observe):
                advance()
            examples += len(images)
        if examples == 0:
            raise InputError("recalibration: expected at least one batch of images, got none")
        weight = moved_weight(examples, self._momentum)
        self._statistics = {node: total / weight for node, total in totals.items()}

    def fit_classifiers(self, batches: Iterable, num_classes: int, advance: Callable[[], None]) -> None:
        """Give each path a classifier by ridge regression from its features of the images to their labels."""
        features: dict[int, list] = {}
        labels = []
        for images, batch_labels in batches:
            labels.append(targets_and_classes(batch_labels, num_classes)[1])
            for path, found in self._tails(images, functools.partial(self._run, self._functions.features)):
                features.setdefault(path, []).append(found)
                advance()
        if not labels:
            raise InputError("probe: expected at least one batch of images, got none")
        answers = np.concatenate(labels)
        for path in range(len(features)):  # one after another: a path's features are let go once they are used
            found = fitted_classifier(np.concatenate(features.pop(path)), answers, num_classes)
            self._classifiers.append(tuple(tf.convert_to_tensor(part, tf.float32) for part in found))

    def logits(self, images) -> Iterator[tuple[int, tf.Tensor]]:
        """(index of a path, its logits [B, num_classes]), path by path."""
        if not self._classifiers:
            yield from self._tails(images, functools.partial(self._run, self._functions.infer))
            return
        for path, features in self._tails(images, functools.partial(self._run, self._functions.features)):
            kernel, bias = self._classifiers[path]
            yield path, features @ kernel + bias

    def _run(self, tail: Callable, node: Node, x) -> tf.Tensor:
        """The output of a node's layer in inference mode; that of a tail by the given function of LayerFunctions."""
        function = self._functions.infer if node.path is None else tail
        return function(self._layers[node], self._weights[node], self._statistics[node], x)

    def _of_each_layer(self, function: Callable) -> dict:
        """{node: `function(its layer)`}, called once a layer."""
        found = {layer: function(layer) for layer in set(self._layers.values())}
        return {node: found[layer] for node, layer in self._layers.items()}

    def _tails(self, images, run: Callable) -> Iterator[tuple]:
        """(index of the path, what `run(node, x)` returns) of each tail; what it returns for others is their children's x."""
        stack = [(self._tree, images)]
        while stack:
            node, x = stack.pop()
            y = run(node, x)
            del x  # with the last child that reads it, it is let go
            if node.path is not None:
                yield node.path, y
            stack += [(child, y) for child in reversed(node.children)]


def _layer(supernet: Supernet, node: Node) -> keras.layers.Layer:
    if node.depth == STEM:
        return supernet.stem
    return supernet.tail if node.path is not None else supernet.choice_blocks[node.depth].candidates[node.choice]


def _num_statistics(layer: keras.layers.Layer) -> int:
    return sum(variable.shape[0] for variable in layer.non_trainable_variables)


def _plus_score(totals, logits, labels):
    hits, loss = score(logits, labels)
    return totals + tf.stack([tf.cast(hits, tf.float64), tf.cast(loss, tf.float64)])
