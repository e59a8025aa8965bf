import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import Policy
from scarlet_tf.data.images import ArrayImages, FileImages, RaggedImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit

N = 26


def make_split(kind="array", augmentation="shift"):
    """Images whose first pixel's level is their label times 9."""
    labels = np.arange(N)
    images = [np.full([9 + (kind == "ragged") * i % 3, 9, 3], i * 9, np.uint8) for i in range(N)]
    return IndexedSplit(in_memory(images), labels, labels, Preprocessing(8, augmentation=augmentation))


def stream(split, **arguments):
    return [(images.numpy(), labels.numpy()) for images, labels in split.batches(4, **arguments)]


def assert_equal(first, second):
    assert len(first) == len(second)
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_in_memory_chooses_by_size():
    assert isinstance(make_split("array")._images, ArrayImages)
    assert isinstance(make_split("ragged")._images, RaggedImages)


@pytest.mark.parametrize("kind", ["array", "ragged"])
def test_evaluation_gives_every_image_in_order_unchanged(kind):
    batches = stream(make_split(kind))
    assert [len(labels) for _, labels in batches] == [4] * 6 + [2]
    labels = np.concatenate([labels for _, labels in batches])
    images = np.concatenate([images for images, _ in batches])
    assert images.dtype == np.float32 and labels.dtype == np.int32 and images.shape == (N, 8, 8, 3)
    np.testing.assert_array_equal(labels, np.arange(N))
    np.testing.assert_allclose(images[:, 4, 4, 0] * 127.5 + 127.5, labels * 9, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "augmentation"), [("array", "shift"), ("ragged", "crop_flip"), ("array", "inception")]
)
def test_training_is_a_function_of_seed_and_epoch_and_resumes_exactly(kind, augmentation):
    split = make_split(kind, augmentation)
    first = stream(split, training=True, seed=1, epoch=2)
    assert_equal(first, stream(split, training=True, seed=1, epoch=2))
    assert_equal(first[4:], stream(split, training=True, seed=1, epoch=2, skip_batches=4))
    assert stream(split, training=True, seed=1, epoch=2, skip_batches=6) == []
    assert len(first) == split.steps_per_epoch(4) == 6
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}):
        assert not np.array_equal(first[0][1], stream(split, training=True, **other)[0][1])


def test_training_keeps_labels_with_their_images():
    for images, labels in stream(make_split(augmentation="none"), training=True, drop_remainder=False):
        np.testing.assert_allclose(images[:, 4, 4, 0] * 127.5 + 127.5, labels * 9, atol=1e-4)


def test_subset_take_and_with_preprocessing():
    split = make_split()
    assert split.subset(np.array([3, 5])).labels.tolist() == [3, 5]
    assert split.take(7, seed=1).labels.tolist() == split.take(7, seed=1).labels.tolist()
    assert split.take(7, seed=1).labels.tolist() != split.take(7, seed=2).labels.tolist()
    larger = split.with_preprocessing(Preprocessing(12))
    assert next(iter(larger.batches(2)))[0].shape == (2, 12, 12, 3)
    assert next(iter(split.batches(2)))[0].shape == (2, 8, 8, 3)


def test_files_are_read_when_asked_for(tmp_path):
    import tensorflow as tf

    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(np.full([5, 7, 3], 90, np.uint8)).numpy())
    split = IndexedSplit(FileImages([str(path)]), [0], [1], Preprocessing(5, normalization="unit"))
    [(images, labels)] = list(split.batches(3))
    assert labels.numpy().tolist() == [1] and images.shape == (1, 5, 5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected an integer >= 1, got 0"),
        ({"batch_size": 27, "training": True}, "batch_size: expected at most the split's 26 images, got 27"),
        ({"batch_size": 4, "skip_batches": 8}, "skip_batches: expected from 0 to 7, got 8"),
        ({"batch_size": 4, "seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        make_split().batches(**arguments)


STRONG = Policy(N, rand_augment=2, random_erasing=0.5)


def joined(split, count, size=4, **arguments):
    """Global batches put together from what `count` workers get."""
    workers = [
        list(split.batches(size, shard=(index, count), **arguments).as_numpy_iterator()) for index in range(count)
    ]
    rows = [[worker[k] for worker in workers if k < len(worker)] for k in range(len(workers[0]))]
    return [tuple(np.concatenate(part) for part in zip(*batch, strict=True)) for batch in rows]


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize(
    ("kind", "augmentation", "policy"),
    [("array", "crop_flip", None), ("ragged", "shift", None), ("array", "inception", None), ("array", "shift", STRONG)],
)
def test_workers_rows_are_those_of_the_whole_batch(kind, augmentation, policy, drop):
    split = make_split(kind, augmentation).with_policy(policy)
    arguments = {"training": True, "seed": 1, "epoch": 2, "skip_batches": 2, "drop_remainder": drop}
    assert_equal(stream(split, **arguments), joined(split, 2, **arguments))


def test_workers_divide_evaluation_and_its_last_batch():
    split = make_split()
    assert_equal(stream(split), joined(split, 4))
    assert [len(labels) for _, labels in split.batches(4, shard=(0, 2))] == [2] * 7
    assert [len(labels) for _, labels in split.batches(4, shard=(1, 2))] == [2] * 6
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 3 workers"):
        split.batches(4, shard=(0, 3))


def test_a_worker_does_not_decode_the_others_images(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    for path in paths[:2]:
        Image.fromarray(np.full([8, 8, 3], 9, np.uint8)).save(path)
    split = IndexedSplit(FileImages(paths), np.arange(4), np.arange(4), Preprocessing(8))
    (_, labels), *others = split.batches(4, shard=(0, 2))
    assert labels.numpy().tolist() == [0, 1] and not others
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2\.png: the image could not be read: No such file"):
        list(split.batches(4, shard=(1, 2)))


def write_levels(folder, count):
    """Files whose pixels are all their number; 200 of them may lose two."""
    paths = [folder / f"{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(tf.io.encode_png(np.full([4, 4, 3], i, np.uint8)).numpy())
    return paths


def levels(batches):
    return np.concatenate([np.round(images.numpy()[:, 0, 0, 0] * 255).astype(int) for images, _ in batches]).tolist()


def test_an_image_that_fails_in_the_middle_is_named_and_skipped(tmp_path, caplog):
    paths = write_levels(tmp_path, 200)
    split = IndexedSplit(
        FileImages([str(path) for path in paths]),
        np.arange(200),
        np.arange(200),
        Preprocessing(4, normalization="unit"),
    )
    whole = levels(split.batches(64))
    paths[70].write_bytes(b"torn")
    paths[199].unlink()
    assert whole == list(range(200))
    for training in (False, True):
        found = [(images, labels) for images, labels in split.batches(64, training=training, drop_remainder=False)]
        assert [len(labels) for _, labels in found] == [64, 64, 64, 8]
        assert levels(found) == [label for _, labels in found for label in labels.numpy().tolist()]
    assert levels(split.batches(64)) == [*range(70), *range(71, 199), 0, 1]
    assert [record.message for record in caplog.records] == [
        f"{paths[70]}: the image cannot be decoded any more; it is skipped, and another image takes its place",
        f"{paths[199]}: the image could not be read: No such file or directory; it is skipped, and another image takes"
        " its place",
    ]
    paths[3].write_bytes(b"")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"/3\.png: .*with 3 of 200 images these are more than 1%"):
        list(split.batches(64))


def test_images_that_are_all_gone_end_the_pass_with_an_error(tmp_path):
    paths = write_levels(tmp_path, 12)
    images = FileImages([*map(str, paths), *map(str, paths * 99)])  # of many files 12 are few
    split = IndexedSplit(images, np.arange(12), np.arange(12), Preprocessing(4))
    for path in paths:
        path.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match="too few of the 10 images of one pass could be read"):
        list(split.batches(5, drop_remainder=True))
