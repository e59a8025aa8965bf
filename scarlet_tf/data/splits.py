"""Split: part of a dataset that gives the same batches for the same seed and epoch, from any batch on."""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from scarlet_tf.data import stratified
from scarlet_tf.data.images import ArrayImages, FileImages, Images
from scarlet_tf.data.passes import Pass
from scarlet_tf.data.policy import Policy
from scarlet_tf.data.preparation import Preparation
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.errors import InputError


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
        return self.subset(stratified.draw(self.labels, num_examples, np.random.default_rng(seed)))

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
