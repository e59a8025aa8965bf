"""Evaluator: the one-shot accuracy and score of paths, each with batch normalisation recalibrated for it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.inputs import as_split
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.population import Populations
from scarlet_tf.models.network import Network
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.space.cost import count
from scarlet_tf.space.search_space import Architecture

MAX_CACHED_BYTES = 512 * 2**20
MAX_RESULTS = 100_000

DIGITS = 4
"""Significant digits of a score: losses differ in the eighth with the number of threads, and a front should not."""
REFERENCES = 16
"""Random paths whose losses say how far apart losses are; see `depth_weight`."""
Choices = tuple[int, ...]
Score = Literal["loss", "accuracy"]


class Evaluator:
    """Measures paths of a supernet on held-out images; the supernet's own statistics are left alone.

    Paths that were announced by `begin_generation` are measured in groups, which is faster: layers that several paths of a
    group begin with are computed once. The figures of a path depend neither on its group nor on those before it.

    Args:
        supernet: trained. When it is trained on, or its weights change in another way, call `forget`.
        validation_data: labelled images to score on: a split, a batched tf.data.Dataset or (images, labels).
        recalibration_data: training images, labelled for a probe; without any, paths are scored with the supernet's running
            statistics, which mix all paths and say little.
        recalibration_batches: how many batches BN is recalibrated over.
        probe_batches: how many of their batches, with labels, a classifier of its own is fitted to for each path (a linear
            probe); 0 scores with the supernet's classifier. Paths that were not trained together differ in what their
            features mean to one classifier, rather than in what they are worth.
        batch_size: images at a time, for both.
        score: what paths are compared by: "loss", as exp(-loss), the geometric mean of the probability that is given to the
            right class, or "accuracy". The loss tells apart what a few hundred images' accuracies do not.
        depth_weight: with the score "loss", what a skipped layer adds to a path's loss: this times the standard deviation of the
            losses of REFERENCES random paths, for a standard deviation of their numbers of skipped layers. Networks gain
            by depth in their own training what paths of a supernet do not show. 0 leaves the loss alone.
        halving_loss: what is taken off the score for each halving of the multiply-adds below `budget`: features of weights
            that were not trained do not show what a larger network gains by its training.
        budget: multiply-adds; needed with `halving_loss`.
        seed: of the order in which training images come.
        group_size: the most paths that are measured together, and so the most that an interruption loses.
        memory_mib: what a group's statistics and the layers' outputs at its open branches may take together; groups
            are made smaller where it does not suffice, down to one path, whose needs no group can undercut. Images,
            weights and what a layer needs while it runs come on top.

    Figures are kept by architecture, MAX_RESULTS of them at most, so one that comes again costs nothing.
    """

    def __init__(
        self,
        supernet: Supernet,
        validation_data,
        recalibration_data=None,
        recalibration_batches: int = 20,
        batch_size: int = 128,
        seed: int = 0,
        group_size: int = 70,
        memory_mib: int = 1024,
        probe_batches: int = 0,
        score: Score = "loss",
        depth_weight: float = 0.0,
        halving_loss: float = 0.0,
        budget: float | None = None,
    ):
        host.check()
        for name, value in (("group_size", group_size), ("memory_mib", memory_mib)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"{name}: expected an integer >= 1, got {value!r}")
        self.supernet = supernet
        self._seed = seed
        self.batch_size, self.group_size, self.memory_mib = batch_size, int(group_size), int(memory_mib)
        split = as_split(validation_data, supernet.num_classes)
        self._validation = _cached(split.batches(batch_size))
        self._num_batches = math.ceil(split.num_examples / batch_size)
        self._recalibration = self._probe = None
        self._probe_images = 0
        if probe_batches and recalibration_data is None:
            raise InputError("probe_batches: expected training images to fit classifiers to, got none")
        if recalibration_data is not None:
            split = as_split(recalibration_data, supernet.num_classes if probe_batches else None)
            batches = split.batches(batch_size, training=True, seed=seed, drop_remainder=False)
            available = math.ceil(split.num_examples / batch_size)
            if recalibration_batches > 0:
                self._recalibration = _cached(batches.take(recalibration_batches))
            if probe_batches > 0:
                self._probe = _cached(batches.take(probe_batches))
                self._probe_images = min(probe_batches * batch_size, split.num_examples)
            self._num_batches += sum(min(count, available) for count in (recalibration_batches, probe_batches))
        if score not in get_args(Score):
            raise InputError(f"score: expected one of {', '.join(get_args(Score))}, got {score!r}")
        if halving_loss and not budget:
            raise InputError("halving_loss: expected a budget of multiply-adds that they are halves of, got none")
        if depth_weight and score != "loss":
            raise InputError(f"depth_weight: expected 0 with the score {score}, got {depth_weight!r}")
        self._score, self._halving_loss, self._budget = score, halving_loss, budget or math.inf
        self._depth_weight = depth_weight
        self._per_skip: float | None = None
        self._populations = Populations(supernet)
        self._results: dict[Choices, dict] = {}
        self._announced: list[Choices] = []  # of which there are no figures yet
        self._unasked: set[Choices] = set()

    @property
    def num_ready(self) -> int:
        """Announced architectures whose figures are there and have not been asked for."""
        return len(self._unasked)

    def begin_generation(self, architectures: Sequence) -> None:
        """Announces architectures that `evaluate` will be asked for; it measures them in groups, in this order.

        In lexicographic order those next to each other have most in common. Announcing ends with the next call.
        Raises InputError, as `evaluate` does.
        """
        choices = dict.fromkeys(self._checked(architecture) for architecture in architectures)
        self._announced = [c for c in choices if c not in self._results]
        self._unasked.clear()

    def evaluate(self, choices) -> dict:
        """{"accuracy": top-1 in 0..1, "loss": mean cross-entropy, "num_examples", "score": in 0..1} of one path.

        `choices`: an Architecture or its choice indices [num_layers]; InputError when they do not fit the space. The
        first of a group that is asked for takes the time of the whole group.
        """
        choices = self._checked(choices)
        if choices not in self._results:
            self._measure(self._group(choices))
        self._unasked.discard(choices)
        return dict(self._results[choices])

    def network(self, choices) -> Network:
        """The path as a stand-alone network, with the batch normalisation that it is scored with."""
        return path_network(
            self.supernet, Architecture(self._checked(choices), self.supernet.space), self._recalibration
        )

    def forget(self) -> None:
        """Drops all figures that are kept."""
        self._results.clear()
        self._unasked.clear()
        self._per_skip = None

    def _checked(self, choices) -> Choices:
        if not isinstance(choices, Architecture):
            choices = Architecture(tuple(int(c) for c in choices), self.supernet.space)
        return choices.within(self.supernet.space).choices

    def _group(self, first: Choices) -> list[Choices]:
        """`first` and those announced after it, as many as are allowed."""
        if first not in self._announced:
            return [first]
        return self._fitting(self._announced[self._announced.index(first) :])

    def _fitting(self, paths: Sequence[Choices]) -> list[Choices]:
        """The first of `paths`, as many as are measured together."""
        group = list(paths[: self.group_size])
        limit = self.memory_mib * 2**20
        sizes = range(2, len(group) + 1)
        more = bisect.bisect_right(
            sizes, limit, key=lambda n: self._populations.bytes_needed(group[:n], self.batch_size, self._probe_images)
        )
        return group[: 1 + more]

    def _measure(self, group: list[Choices]) -> None:
        if self._depth_weight and self._per_skip is None:
            self._per_skip = self._loss_of_a_skip()
        found = self._figures(group)
        found = [{**figures, "score": self._scored(path, figures)} for path, figures in zip(group, found, strict=True)]
        self._results |= zip(group, found, strict=True)
        measured = set(group)
        self._announced = [c for c in self._announced if c not in measured]
        self._unasked |= measured
        for choices in list(self._results)[:-MAX_RESULTS]:
            del self._results[choices]

    def _figures(self, group: list[Choices]) -> list[dict]:
        with progress_bar("evaluation", len(group) * self._num_batches, transient=True) as bar:
            data = (self._recalibration, self._validation, bar.advance, self._probe)
            return self._populations.measure(group, *data)

    def _loss_of_a_skip(self) -> float:
        """Addition to a path's loss for each skipped layer, from random paths: see `depth_weight`."""
        space = self.supernet.space
        drawn = np.random.default_rng(self._seed).integers(space.num_choices, size=(REFERENCES, space.num_layers))
        paths = sorted({tuple(path) for path in drawn.tolist()})
        losses: list[float] = []
        while len(losses) < len(paths):
            losses += [one["loss"] for one in self._figures(self._fitting(paths[len(losses) :]))]
        spread = np.std([self._skips(path) for path in paths])
        return self._depth_weight * float(np.std(losses) / spread) if spread else 0.0

    def _skips(self, choices: Choices) -> int:
        return sum(self.supernet.space.choices[choice].is_skip for choice in choices)

    def _scored(self, choices: Choices, figures: dict) -> float:
        """The score of a path, less what its cost lets expect, to DIGITS significant digits."""
        loss = figures["loss"] + (self._per_skip or 0.0) * self._skips(choices)
        value = figures["accuracy"] if self._score == "accuracy" else math.exp(-loss)
        if not self._halving_loss:
            return _rounded(value)
        height, _, _ = self.supernet.image_shape
        cost = count(Architecture(choices, self.supernet.space), height, self.supernet.num_classes).multiply_adds
        return _rounded(max(value - self._halving_loss * max(math.log2(self._budget / cost), 0.0), 0.0))


def _rounded(score: float) -> float:
    return float(f"{score:.{DIGITS}g}")


def path_network(supernet: Supernet, architecture: Architecture, recalibration: Iterable | None) -> Network:
    """A path as a stand-alone network, with batch normalisation recalibrated on batches of (images, labels), if any."""
    network = extract(supernet, architecture)
    if recalibration is not None:
        momentum = network.spec.conventions.bn_momentum
        recalibrate(lambda images: network(images, training=True), recalibration, moving_statistics(network), momentum)
    return network


def _cached(batches: tf.data.Dataset):
    """The batches as a list when they are few enough to keep; else the dataset, read again each time."""
    kept, size = [], 0
    for images, labels in batches:
        kept.append((images, labels))
        size += images.dtype.size * int(np.prod(images.shape))
        if size > MAX_CACHED_BYTES:
            return batches
    return kept
