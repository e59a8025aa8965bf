"""Split: part of a dataset that gives the same batches for the same seed and epoch, from any batch on.

A `Pass` says which examples one worker prepares, a `Preparation` what happens to them, a `Split` holds the examples.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import Policy, pass_key
from scarlet_tf.data.decoding import decode
from scarlet_tf.data.images import ArrayImages, FileImages, Images
from scarlet_tf.data.preprocessing import Preprocessing

# -- Pass: the examples that one worker prepares in one pass over a split, and their batches -----------------------


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass in global batches of `batch_size`, of which worker `shard[0]` of `shard[1]` gets its rows.

    The worker's rows of every global batch are index * B / count to (index + 1) * B / count. Positions count the
    examples of the pass, over all workers. A last, incomplete batch (`drop` False) is cut at the same rows, so a worker
    can get fewer rows of it, or none and one batch less.

    shuffle: (seed, epoch) in training, None at evaluation; skip: global batches left out at the beginning.
    Raises InputError for a shard outside 0 <= index < count and for a batch that `count` does not divide.
    """

    num_examples: int
    batch_size: int
    shuffle: tuple[int, int] | None = None
    skip: int = 0
    drop: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self):
        shard = self.shard
        pair = isinstance(shard, (tuple, list)) and len(shard) == 2
        whole = pair and all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in shard)
        if not (whole and 0 <= shard[0] < shard[1]):
            raise InputError(f"shard: expected (index, count) with 0 <= index < count, got {shard!r}")
        if self.batch_size % shard[1]:
            raise InputError(
                f"batch_size: expected a multiple of the {shard[1]} workers of shard {tuple(shard)},"
                f" got {self.batch_size}"
            )

    @property
    def rows(self) -> int:
        """The worker's rows of a complete batch."""
        return self.batch_size // self.shard[1]

    @property
    def first_row(self) -> int:
        """The worker's first row, counted within the global batch."""
        return self.shard[0] * self.rows

    @property
    def end(self) -> int:
        """The position after the pass's last example."""
        return self.num_examples // self.batch_size * self.batch_size if self.drop else self.num_examples

    def positions(self) -> np.ndarray:
        """int64 positions of the worker's examples, in order."""
        positions = np.arange(self.skip * self.batch_size, self.end, dtype=np.int64)
        return positions[self.holds(positions)]

    def holds(self, position):
        """True if the worker prepares the example at `position`: an integer, an array or a tensor."""
        row = position % self.batch_size
        return (row >= self.first_row) & (row < self.first_row + self.rows) & (position < self.end)


# -- Preparation: what one pass does to its images, from evaluation's crop to training's mixing --------------------


class Preparation:
    """One pass' preparation; random numbers follow from (seed, epoch) and the example's position or the batch's number.

    A worker's rows are therefore bit by bit those of the whole batch. Mixing is the exception: a worker mixes its own rows
    with one another, and its number is part of the key.
    """

    def __init__(self, preprocessing: Preprocessing, policy: Policy | None, plan: Pass):
        self._preprocessing, self._plan = preprocessing, plan
        self._training = plan.shuffle is not None
        self._policy = policy if self._training else None
        if plan.shuffle is not None:
            self._crop_key, self._policy_key, self._mix_key = (pass_key(plan.shuffle, purpose) for purpose in (1, 2, 3))
        if self._policy is not None:
            self._policy.prepare()

    @property
    def takes_batches(self) -> bool:
        """True if `batch` can be used; otherwise images have to come one by one."""
        single = self._policy is not None and self._policy.distorts_images
        return not single and (self._preprocessing.augments_batches or not self._training)

    def image(self, image: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, C] to float32 [S, S, 3]."""
        if not self._training:
            return self._preprocessing.prepare(image)
        return self._finish(self._preprocessing.distort(image, _fold(self._crop_key, position)), position)

    def encoded(self, encoded: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """The same from an encoded image, a scalar string."""
        if not self._training:
            return self._preprocessing.prepare(decode(encoded))
        pixels = self._preprocessing.decode_and_distort(encoded, _fold(self._crop_key, position))
        return self._finish(pixels, position)

    def batch(self, images: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """uint8 [B, H, W, C] to float32 [B, S, S, 3], for positions [B] that follow one another."""
        if not self._training:
            return self._preprocessing.prepare(images)
        number, first = positions[0] // self._plan.batch_size, positions[0] % self._plan.batch_size
        left = self._plan.num_examples - number * self._plan.batch_size
        size = tf.minimum(left, tf.constant(self._plan.batch_size, left.dtype))
        rows = (tf.cast(first, tf.int32), tf.cast(size, tf.int32))
        pixels = self._preprocessing.distort(images, _fold(self._crop_key, number), rows)
        return self._preprocessing.normalize(pixels)

    def mixed(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Batches (images, labels [B]), the first with number `plan.skip`, mixed where the policy says so."""
        policy = self._policy
        if policy is None or not policy.mixes:
            return dataset

        def mix(number, batch):
            images, labels = batch
            return policy.mix(images, labels, _fold(_fold(self._mix_key, number), self._plan.shard[0]))

        return dataset.enumerate(self._plan.skip).map(mix, tf.data.AUTOTUNE)

    def _finish(self, pixels: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        if self._policy is not None and self._policy.distorts_images:
            pixels = self._policy.distort(pixels, _fold(self._policy_key, position))
        return self._preprocessing.normalize(pixels)


def _fold(key, number) -> tf.Tensor:
    return tf.random.fold_in(key, tf.cast(number, tf.int32))


class Split(abc.ABC):
    """Labelled images with their preprocessing. `labels`: int32 [num_examples].

    policy: the strong distortions of training batches, applied after the preprocessing's own; None for none.
    """

    policy: Policy | None = None

    def __init__(self, labels: np.ndarray, preprocessing: Preprocessing):
        self.labels = np.asarray(labels, np.int32)
        self.preprocessing = preprocessing

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    def batches(
        self,
        batch_size: int,
        *,
        training: bool = False,
        seed: int = 0,
        epoch: int = 0,
        skip_batches: int = 0,
        drop_remainder: bool | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> tf.data.Dataset:
        """One pass over the split as (float32 [B, S, S, 3], int32 [B]), or float32 [B, num_classes] with mixed labels.

        training=False: every example, in order, as at evaluation. training=True: shuffled and augmented, a pure
        function of (seed, epoch), and without the last, incomplete batch. `skip_batches=k` gives that same
        stream from batch k on, without preparing the images before it.

        `shard=(i, n)` gives worker i of n its rows i * B / n to (i + 1) * B / n of every batch, without decoding the
        other rows; put together, the workers' rows are bit by bit the whole batch. Only mixup and cutmix differ: they
        mix a worker's rows with one another. Of a last, incomplete batch a worker may get fewer rows, or nothing.
        InputError where n does not divide B.
        """
        drop_remainder = training if drop_remainder is None else drop_remainder
        steps = self.steps_per_epoch(batch_size, drop_remainder)
        if not 0 <= skip_batches <= steps:
            raise InputError(f"skip_batches: expected from 0 to {steps}, got {skip_batches!r}")
        for key, value in (("seed", seed), ("epoch", epoch)):
            if value < 0:
                raise InputError(f"{key}: expected an integer >= 0, got {value!r}")
        shuffle = (seed, epoch) if training else None
        plan = Pass(self.num_examples, batch_size, shuffle, skip_batches, drop_remainder, shard)
        preparation = Preparation(self.preprocessing, self.policy, plan)
        dataset = preparation.mixed(self._batches(plan, preparation))
        options = tf.data.Options()
        options.deterministic = True
        # Sharding by file would give the workers of a distributed run unequal shares.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    def steps_per_epoch(self, batch_size: int, drop_remainder: bool = True) -> int:
        """Batches in one pass; training drops the remainder. InputError when that leaves none."""
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise InputError(f"batch_size: expected an integer >= 1, got {batch_size!r}")
        if drop_remainder and batch_size > self.num_examples:
            raise InputError(f"batch_size: expected at most the split's {self.num_examples} images, got {batch_size}")
        return self.num_examples // batch_size if drop_remainder else math.ceil(self.num_examples / batch_size)

    def take(self, num_examples: int, seed: int = 0) -> Split:
        """A random subset of `num_examples` that keeps the shares of the classes, in the split's order."""
        return self.subset(draw(self.labels, num_examples, np.random.default_rng(seed)))

    def with_preprocessing(self, preprocessing: Preprocessing) -> Split:
        """The same images, prepared in another way (another size, no augmentation)."""
        split = self.subset(np.arange(self.num_examples))
        split.preprocessing = preprocessing
        return split

    def with_policy(self, policy: Policy | None) -> Split:
        """The same images, in training distorted by `policy`."""
        split = copy.copy(self)
        split.policy = policy
        return split

    def plain(self) -> Split:
        """The same images without a policy, for measuring or training on images that are only cropped."""
        return self.with_policy(None)

    def subset(self, indices: np.ndarray) -> Split:
        """The examples at `indices` of this split."""
        return self._subset(indices).with_policy(self.policy)

    @abc.abstractmethod
    def _subset(self, indices: np.ndarray) -> Split:
        """`subset`; the policy is added afterwards."""

    @abc.abstractmethod
    def _batches(self, plan: Pass, preparation: Preparation) -> tf.data.Dataset:
        """The worker's batches of `plan`, each image gone through `preparation`, with labels int32 [B]."""


class IndexedSplit(Split):
    """A split with random access to its images: in memory or in files."""

    def __init__(self, images: Images, indices: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing):
        super().__init__(labels, preprocessing)
        self._images, self._indices = images, np.asarray(indices, np.int64)

    def _subset(self, indices: np.ndarray) -> IndexedSplit:
        return IndexedSplit(self._images, self._indices[indices], self.labels[indices], self.preprocessing)

    def _batches(self, plan: Pass, preparation: Preparation) -> tf.data.Dataset:
        order = np.arange(self.num_examples)
        if plan.shuffle is not None:
            order = np.random.default_rng(plan.shuffle).permutation(self.num_examples)
        positions, images = plan.positions(), self._images
        taken = order[positions]
        dataset = tf.data.Dataset.from_tensor_slices((positions, self._indices[taken], self.labels[taken]))
        if isinstance(images, ArrayImages) and preparation.takes_batches:

            def batch(positions, indices, labels):
                return preparation.batch(images.gather(indices), positions), labels

            return dataset.batch(plan.rows, drop_remainder=plan.drop).map(batch, tf.data.AUTOTUNE)

        if isinstance(images, FileImages):
            return self._from_files(images, plan, preparation, positions, taken)

        def example(position, index, label):
            return preparation.image(images.load(index), position), label

        return dataset.map(example, tf.data.AUTOTUNE).batch(plan.rows, drop_remainder=plan.drop)

    def _from_files(
        self, images: FileImages, plan: Pass, preparation: Preparation, positions: np.ndarray, taken: np.ndarray
    ) -> tf.data.Dataset:
        """Batches of images that are read now."""
        spare = min(images.losses.most, len(taken))
        order = np.concatenate([taken, taken[:spare]])
        positions = np.concatenate([positions, plan.num_examples + np.arange(spare)])
        indices = self._indices[order]
        dataset = tf.data.Dataset.from_tensor_slices((np.arange(len(order)), positions, indices, self.labels[order]))

        def example(number, position, index, label):
            return number, preparation.encoded(images.read(index), position), label

        examples = dataset.map(example, tf.data.AUTOTUNE)
        return whole_batches(examples, len(taken), spare, plan, lambda number: images.losses.add(int(indices[number])))


def whole_batches(
    examples: tf.data.Dataset, count: int, spare: int, plan: Pass, lose: Callable[[int], None]
) -> tf.data.Dataset:
    """Batches (images, labels) of the first `count` examples that can be prepared.

    An example that fails is skipped: those after it move up, and `spare` others fill in at the end, so that there are as many
    batches, of the same sizes. `examples`: (number, image, label) in the order of the numbers, from 0 on; `lose(number)` is
    called for each one that failed.
    """
    missing = count + spare

    def report(first, last, found):
        for number in sorted({*range(first, min(last, missing))} - {*found.tolist()}):
            lose(number)
        if missing in found:
            raise InputError(f"data: too few of the {count} images of one pass could be read")
        return np.int64(last)

    def check(first, batch):
        numbers, *rest = batch
        last = numbers[-1] + 1
        whole = tf.equal(last - first, tf.size(numbers, tf.int64)) & (last <= missing)
        after = tf.cond(whole, lambda: last, lambda: tf.numpy_function(report, [first, last, numbers], tf.int64))
        return tf.ensure_shape(after, []), tuple(rest)

    # If even the spare images do not suffice, a batch must still come so that `report` is called.
    blank = tf.zeros(examples.element_spec[1].shape)
    blanks = tf.data.Dataset.from_tensors((np.int64(missing), blank, np.int32(0))).repeat()
    dataset = examples.ignore_errors().concatenate(blanks).take(count).batch(plan.rows, drop_remainder=plan.drop)
    batches = count // plan.rows if plan.drop else math.ceil(count / plan.rows)
    return dataset.scan(np.int64(0), check).apply(tf.data.experimental.assert_cardinality(batches))


# -- Seeded subsets of labelled examples that keep the shares of the classes ---------------------------------------


def draw(labels: np.ndarray, num_examples: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `num_examples` random examples; each class keeps its share (largest remainders)."""
    labels = np.asarray(labels)
    if not 0 < num_examples <= len(labels):
        raise InputError(f"expected from 1 to {len(labels)} examples, got {num_examples}")
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = _quotas(counts, num_examples, rng)
    # Shuffle, then sort by class: within a class the order is random, and its first `quota` are taken.
    order = rng.permutation(len(labels))
    order = order[np.argsort(classes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(labels)) - np.repeat(starts, counts)
    return np.sort(order[rank < np.repeat(quotas, counts)])


def hold_out(labels: np.ndarray, num_examples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held-out) sorted indices, both stratified."""
    held_out = draw(labels, num_examples, rng)
    kept = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
    return kept, held_out


def _quotas(counts: np.ndarray, num_examples: int, rng: np.random.Generator) -> np.ndarray:
    """Integers near counts * num_examples / sum(counts), at least 1 each where there are enough examples."""
    exact = counts * (num_examples / counts.sum())
    quotas = np.minimum(np.floor(exact).astype(np.int64), counts)
    if num_examples >= len(counts):
        quotas = np.maximum(quotas, 1)
    # Give to the largest remainders, or take back the excess from the minimum of 1; ties are broken at random.
    while quotas.sum() != num_examples:
        step = 1 if quotas.sum() < num_examples else -1
        allowed = quotas < counts if step > 0 else quotas > 1
        gap = np.where(allowed, step * (exact - quotas), -np.inf)
        quotas[rng.choice(np.flatnonzero(gap == gap.max()))] += step
    return quotas
