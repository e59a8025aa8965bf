import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import Policy
from scarlet_tf.data.images import in_memory
from scarlet_tf.data.inputs import as_split, count_classes, plain
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit

IMAGES = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
LABELS = np.arange(10) % 3
SHARES = np.eye(3, dtype=np.float32)[LABELS] * 0.8 + 0.2 / 3


def batched(labels, size=3):
    return tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(size)


@pytest.mark.parametrize("data", [(IMAGES, LABELS), batched(LABELS)], ids=["arrays", "dataset"])
@pytest.mark.parametrize("training", [True, False])
def test_workers_rows_are_those_of_the_whole_batch(data, training):
    split, arguments = as_split(data, 3), {"training": training, "seed": 2, "epoch": 1, "skip_batches": 1}
    workers = [list(split.batches(4, shard=(index, 2), **arguments).as_numpy_iterator()) for index in range(2)]
    for k, (images, labels) in enumerate(split.batches(4, **arguments)):
        rows = [worker[k] for worker in workers if k < len(worker)]
        np.testing.assert_array_equal(images, np.concatenate([part for part, _ in rows]))
        np.testing.assert_array_equal(labels, np.concatenate([part for _, part in rows]))
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 3 workers"):
        split.batches(4, shard=(0, 3))


@pytest.mark.parametrize("data", [(IMAGES, SHARES), batched(SHARES)], ids=["arrays", "dataset"])
def test_labels_may_be_shares(data):
    labels = np.concatenate([labels for _, labels in as_split(data, 3).batches(4)])
    np.testing.assert_array_equal(labels, SHARES)
    with pytest.raises(InputError, match="shares of 4 classes"):
        as_split(data, 4)


def test_shares_tell_their_classes():
    assert count_classes(as_split((IMAGES, SHARES)), as_split((IMAGES, LABELS))) == 3


def test_a_mixing_split_must_fit_the_network():
    images = in_memory([np.zeros([4, 4, 3], np.uint8)] * 10)
    split = IndexedSplit(images, np.arange(10), LABELS, Preprocessing(4)).with_policy(Policy(3, mixup=0.2))
    assert as_split(split, 3) is split and plain(split).policy is None
    with pytest.raises(InputError, match="shares of 5 classes, got 3"):
        as_split(split, 5)
