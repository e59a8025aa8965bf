import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from scarlet_tf.base.errors import InputError
from scarlet_tf.cli.init_draft import data_config
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.data.inputs import as_split, count_classes
from scarlet_tf.data.looking import look_at

TRAIN, TEST = 60, 12


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder with the prepared dataset "blobs" of two classes, to be found by its name."""
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    return prepare(tmp_path, ["dark", "light"])


def prepare(tmp_path, names, splits=("train", "test"), version="1.0.0", classes=None, train=TRAIN, torn=()):
    """The dataset "blobs" of 5 x 5 images with three shards of the first split, of training, and one of the others.

    torn: numbers of training images whose files are cut off.
    """
    folder = tmp_path / "blobs" / version
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(5, 5, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=names),
        }
    )
    infos, classes = [], classes or list(range(len(names)))
    for name in splits:
        shards = 3 if name == splits[0] else 1
        lengths = [(train if name == splits[0] else TEST) // shards] * shards
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name="blobs", split=name, filetype_suffix="tfrecord"
        )
        start = 0
        for shard, length in enumerate(lengths):
            path = template.sharded_filepath(shard_index=shard, num_shards=shards)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for i in range(start, start + length):
                    image = np.full([5, 5, 3], i + 100 * (i % 2), np.uint8)
                    image = io.BytesIO(
                        tf.io.encode_png(image).numpy()[: 40 if name == splits[0] and i in torn else None]
                    )
                    writer.write(features.serialize_example({"image": image, "label": classes[i % len(classes)]}))
            start += length
        infos.append(tfds.core.SplitInfo(name=name, shard_lengths=lengths, num_bytes=1000, filename_template=template))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, supervised_keys=("image", "label"), check_data=False
    )
    return folder


def load(**options):
    return load_dataset(DataConfig("tfds", name="blobs", image_size=5, validation_fraction=0.2, **options))


def stream(split, **arguments):
    return [(images.numpy(), labels.numpy()) for images, labels in split.batches(4, **arguments)]


def test_prepared_dataset_is_found_by_name_and_split(prepared):
    data = load()
    assert data.class_names == ("dark", "light")
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [48, 12, 12]
    assert np.bincount(data.validation.labels).tolist() == [6, 6]
    by_directory = load_dataset(DataConfig("tfds", directory=str(prepared), image_size=5))
    assert by_directory.fingerprint == data.fingerprint


def test_splits_are_known_by_their_usual_names_and_others_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    prepare(tmp_path, ["dark", "light"], ("Training", "valid", "dev", "evaluation", "extra"))
    data = load()
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [60, 12, 12]
    expected = [f"blobs: split {name} is not used (12 images)" for name in ("dev", "extra")]
    assert [record.message for record in caplog.records] == expected
    assert look_at(DataConfig("tfds", name="blobs")).notes == tuple(expected)
    assert load(test_split="extra").test.num_examples == 12


def test_splits_that_prefixes_alone_tell_apart_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    prepare(tmp_path, ["dark", "light"], ("a_train", "b_train"))
    with pytest.raises(InputError, match="expected one split of train images, got a_train and b_train"):
        load()


def test_the_newest_version_is_the_greatest_number(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    for version in ("1.9.0", "1.10.0", "1.2.11"):
        prepare(tmp_path, ["dark", "light"], version=version)
    assert data_config("blobs").directory == "blobs/1.10.0"
    assert load().fingerprint == load_dataset(DataConfig("tfds", directory="blobs/1.10.0")).fingerprint


@pytest.mark.parametrize(("labels", "missing"), [([1, 2, 3], "none of 0"), ([0, 5, 9], "none of 1, 2, 3, 4, 6, ...")])
def test_classes_without_a_training_image_are_named(tmp_path, labels, missing):
    """Labels with gaps, as a TFDS data set may have them, and as arrays may."""
    folder = prepare(tmp_path, [f"c{i}" for i in range(max(labels) + 1)], classes=labels)
    names = [f"c{i}" for i in range(max(labels) + 1) if i not in labels]
    with pytest.raises(InputError, match=f"{len(names)} classes have no train images.*{names[0]}"):
        load_dataset(DataConfig("tfds", directory=str(folder), image_size=5))
    split = as_split((np.zeros([9, 4, 4, 3]), np.resize(labels, 9)))
    with pytest.raises(
        InputError, match=f"expected training labels 0 to {max(labels)} without gaps, .*{missing}; renumber"
    ):
        count_classes(split, split)


def test_streamed_and_held_in_memory_agree(prepared):
    held, streamed = load(), load(memory_bytes=0)
    assert held.fingerprint == streamed.fingerprint
    for name in ("train", "validation", "test"):
        pairs = zip(stream(getattr(held, name)), stream(getattr(streamed, name)), strict=True)
        for (images, labels), (other, other_labels) in pairs:
            np.testing.assert_array_equal(images, other)
            np.testing.assert_array_equal(labels, other_labels)


def levels(batches):
    """What `prepare` made the images of; the numbers of images up to 255 below."""
    found = np.concatenate([images.numpy()[:, 2, 2, 0] for images, _ in batches])
    return np.round((found + 1) * 127.5).astype(int).tolist()


@pytest.mark.parametrize("held_in_memory", [True, False])
def test_records_that_cannot_be_decoded_are_named_and_skipped(tmp_path, monkeypatch, caplog, held_in_memory):
    """Two of 240 training images; 42 is the third record of the second shard of 80."""
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(np, "full", lambda shape, value, kind: np.ones(shape, kind) * kind(value % 256))
    prepare(tmp_path, ["dark", "light"], train=240, torn=(7, 82))
    wrong = ["blobs-train.tfrecord-00000-of-00003, record 7", "blobs-train.tfrecord-00001-of-00003, record 2"]
    data = load_dataset(
        DataConfig("tfds", name="blobs", image_size=5, validation_examples=2, memory_bytes=10**6 * held_in_memory)
    )
    if held_in_memory:
        assert data.skipped == tuple(wrong) and data.train.num_examples == 236
        assert [record.message for record in caplog.records] == [
            f"blobs: split train: skipped 2 images that cannot be decoded: {', '.join(wrong)}"
        ]
    for training in (False, True):
        found = list(data.train.batches(64, training=training, drop_remainder=False))
        sizes = [64, 64, 64, data.train.num_examples - 192]
        assert [len(labels) for _, labels in found] == sizes
        assert [level % 2 for level in levels(found)] == [label for _, labels in found for label in labels.numpy()]
    if not held_in_memory:
        suffix = ": the image cannot be decoded; it is skipped, and another image takes its place"
        assert sorted(record.message for record in caplog.records) == [name + suffix for name in wrong]


def test_too_many_records_that_cannot_be_decoded_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    prepare(tmp_path, ["dark", "light"], torn=(3,))
    name = "blobs-train.tfrecord-00000-of-00003, record 3"
    with pytest.raises(InputError, match=f"split train: 1 of 60 images cannot be decoded: {name}; expected at most 1%"):
        load()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=f"{name}: the image cannot be .*with 1 of 60 images these"
    ):
        for training in (False, True):
            list(load(memory_bytes=0, validation_examples=2).train.batches(4, training=training))
    assert look_at(DataConfig("tfds", name="blobs")).unreadable == (name,)


def test_streamed_training_repeats_shuffles_and_resumes_exactly(prepared):
    split = load(memory_bytes=0, shuffle_buffer=16, augmentation="inception").train
    first, again = (stream(split, training=True, seed=5, epoch=1) for _ in range(2))
    rest = stream(split, training=True, seed=5, epoch=1, skip_batches=7)
    assert len(first) == 12 and len(rest) == 5
    for (images, labels), (other, other_labels) in zip([*first, *first[7:]], [*again, *rest], strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, other_labels)
    plain = load(memory_bytes=0, shuffle_buffer=16).train
    orders = [
        np.concatenate([images[:, 2, 2, 0] for images, _ in stream(plain, training=True, epoch=e)]) for e in (0, 1)
    ]
    assert not np.array_equal(*orders)
    np.testing.assert_array_equal(*(np.sort(order) for order in orders))


def test_unknown_names_and_folders_are_refused(prepared, tmp_path):
    with pytest.raises(InputError, match=r"data\.name: .*'no_such_set'.*SCARLET_DATA_DIR"):
        load_dataset(DataConfig("tfds", name="no_such_set"))
    with pytest.raises(InputError, match=r"data\.name: 'mnist' is not prepared.*SCARLET_DATA_DIR"):
        load_dataset(DataConfig("tfds", name="mnist", data_dir=str(tmp_path), download=False))
    with pytest.raises(InputError, match=r"data\.directory: .*dataset_info\.json"):
        load_dataset(DataConfig("tfds", directory=str(tmp_path)))
    with pytest.raises(InputError, match=r"data\.test_split: expected one of \['test'\], got 'holdout'"):
        load(test_split="holdout")


def test_a_dataset_with_one_class_is_refused(tmp_path):
    folder = prepare(tmp_path, ["dark"])
    with pytest.raises(InputError, match=r"blobs: expected at least two classes, got \['dark'\]"):
        load_dataset(DataConfig("tfds", directory=str(folder), image_size=5))


def test_a_torn_shard_is_refused(prepared):
    shard = sorted(prepared.glob("*train*"))[0]
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InputError, match="blobs: split train: could not be read"):
        load()


def test_a_corrupt_description_is_refused(prepared):
    (prepared / "features.json").write_text(json.dumps({"pythonClassName": "nothing"}))
    with pytest.raises(InputError, match="expected a prepared TFDS folder"):
        load()


@pytest.mark.skipif("SCARLET_DATA_DIR" not in os.environ, reason="SCARLET_DATA_DIR is not set")
def test_cifar10_is_found_by_its_plain_name():
    try:
        data = load_dataset(DataConfig("tfds", name="cifar10", memory_bytes=0))
    except InputError as error:
        pytest.skip(str(error))
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [45000, 5000, 10000]
    images, labels = next(iter(data.test.batches(16)))
    assert images.shape == (16, 32, 32, 3) and data.class_names[int(labels[0])] in data.class_names


@pytest.mark.parametrize("training", [True, False])
def test_workers_rows_of_a_streamed_split_are_those_of_the_whole_batch(prepared, training):
    split = load(memory_bytes=0, shuffle_buffer=16, augmentation="inception").train
    arguments = {"training": training, "seed": 5, "epoch": 1, "skip_batches": 2}
    workers = [stream(split, shard=(index, 2), **arguments) for index in range(2)]
    for (images, labels), *rows in zip(stream(split, **arguments), *workers, strict=True):
        np.testing.assert_array_equal(images, np.concatenate([part for part, _ in rows]))
        np.testing.assert_array_equal(labels, np.concatenate([part for _, part in rows]))


def test_the_training_split_alone_gets_the_strong_distortions(prepared):
    data = load(memory_bytes=0, mixup=0.2, rand_augment=1)
    assert data.train.policy.num_classes == 2 and data.validation.policy is data.test.policy is None
    labels = [labels for _, labels in stream(data.train, training=True)]
    assert labels[0].shape == (4, 2) and len(labels) == 12
