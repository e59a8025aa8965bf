"""Datasets of TensorFlow Datasets, prepared in a folder or found (or downloaded) by name."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.decoding import decode
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.image_files import LARGEST_SKIPPED_SHARE
from scarlet_tf.data.images import ArrayImages, RaggedImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.records import RecordSplit, Shards
from scarlet_tf.data.sources import (
    DATA_DIR_VARIABLE,
    SourceData,
    check_class_names,
    choose_splits,
    data_root,
    file_identities,
    find_directory,
    fingerprint,
    looked_for,
    newest_version,
)
from scarlet_tf.data.splits import IndexedSplit, Split

logger = logging.getLogger("scarlet_tf")
# Decoded pixels a byte of compressed image, where the dataset does not state its images' size; on the safe side.
_EXPANSION = 20
# Examples whose classes are counted by `look`.
_COUNTED = 100_000


def load(config: DataConfig, preprocessing: Preprocessing) -> SourceData:
    """Read the splits of training, validation and test images as far as they exist; `config.test_split` names one."""
    builder = _find_builder(config)
    info = builder.info
    if str(info.file_format.value) != "tfrecord":
        raise InputError(f"data.name: {info.full_name}: expected TFRecord files, got {info.file_format.value}")
    image_key, label_key = _feature_keys(info)
    class_names = _class_names(info, label_key)
    names = _split_names(info, config)
    skipped: list[str] = []
    splits, parts = {}, [info.name, str(info.version)]
    for role, name in names.items():
        reader = _SplitReader(info, name, image_key, label_key, config)
        splits[role] = reader.split(preprocessing, len(class_names))
        skipped += reader.skipped
        parts += [role, *reader.identity()]
    return SourceData(info.name, class_names, splits, fingerprint(parts), tuple(skipped), _unused(info, names))


def look(config: DataConfig, num_images: int) -> DatasetFacts:
    """Sizes of `num_images` training images, and the classes of the first _COUNTED; TFDS writes them in random order."""
    info = _find_builder(config).info
    image_key, label_key = _feature_keys(info)
    names, splits = _class_names(info, label_key), _split_names(info, config)
    train = _SplitReader(info, splits["train"], image_key, label_key, config)
    sizes = {role: int(info.splits[name].num_examples) for role, name in splits.items()}
    counts = np.bincount(train.first_labels(_COUNTED), minlength=len(names))
    shapes, lost = train.first_shapes(num_images)
    return DatasetFacts(info.name, names, sizes, counts, shapes, lost, _unused(info, splits))


def _find_builder(config: DataConfig) -> tfds.core.DatasetBuilder:
    """`directory`; else $SCARLET_DATA_DIR/<name>/<version> or .../<name>_jpeg/<version>; else TFDS by name."""
    if config.directory:
        path = find_directory(config.directory)
        if not (path / "dataset_info.json").is_file():
            raise InputError(
                f"data.directory: expected a prepared TFDS folder with dataset_info.json, got {config.directory!r};"
                f" {looked_for(config.directory)}"
            )
        return _builder_from_directory(path)
    prepared = _prepared_directory(str(config.name))
    return _builder_from_directory(prepared) if prepared else _builder_by_name(config)


def _builder_from_directory(path: pathlib.Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder_from_directory(path)
    except Exception as error:  # Whatever TFDS raises for damaged or foreign JSON.
        raise InputError(f"{path}: expected a prepared TFDS folder, but it could not be read: {error}") from error


def _prepared_directory(name: str) -> pathlib.Path | None:
    """The newest version (or the one in "name:version") under $SCARLET_DATA_DIR, if there is one."""
    root = data_root()
    name, _, version = name.partition(":")
    for folder in (root / name, root / f"{name}_jpeg") if root else ():
        found = [path.parent for path in folder.glob("*/dataset_info.json") if version in ("", path.parent.name)]
        if found:
            return newest_version(found)
    return None


def _builder_by_name(config: DataConfig) -> tfds.core.DatasetBuilder:
    where = f"or set {DATA_DIR_VARIABLE} to a folder that holds {config.name}/<version>/dataset_info.json"
    try:
        builder = tfds.builder(config.name, data_dir=config.data_dir)
    except Exception as error:  # TFDS raises many kinds here, some after trying the network.
        raise InputError(
            f"data.name: expected a dataset that TFDS knows, got {config.name!r}{_near(str(config.name))}; correct it {where}"
        ) from error
    if builder.data_path.exists():
        return builder
    if not config.download:
        raise InputError(f"data.name: {config.name!r} is not prepared; allow data.download {where}")
    try:
        builder.download_and_prepare()
    except Exception as error:  # Network, disk, checksum and import errors alike leave no dataset.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"data.name: {config.name!r} could not be downloaded ({reason}); connect, {where}") from error
    return builder


def _near(name: str) -> str:
    try:
        return nearest(name, tfds.list_builders(with_community_datasets=False))
    except Exception:  # a hint that cannot be given must not hide the message
        return ""


def _feature_keys(info: tfds.core.DatasetInfo) -> tuple[str, str]:
    """Keys of the one image and the one class label."""
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    labels = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
    if info.supervised_keys and info.supervised_keys[0] in images and info.supervised_keys[1] in labels:
        return info.supervised_keys[0], info.supervised_keys[1]
    if len(images) != 1 or len(labels) != 1:
        raise InputError(f"data.name: {info.name}: expected one image and one class label, got {sorted(features)}")
    return images[0], labels[0]


def _class_names(info: tfds.core.DatasetInfo, label_key: str) -> tuple[str, ...]:
    names = tuple(info.features[label_key].names)
    check_class_names(names, f"data.name: {info.name}")
    return names


def _split_names(info: tfds.core.DatasetInfo, config: DataConfig) -> dict[str, str]:
    """Role to the dataset's split name. A lone validation split serves as test split, as is usual on ImageNet."""
    available = sorted(info.splits)
    names = choose_splits(available, f"data.name: {info.name}")
    if "train" not in names:
        raise InputError(f"data.name: {info.name}: expected a split named train, got {available}")
    test = config.test_split or names.get("test") or names.get("validation")
    if test is not None:
        if test not in available or test == names["train"]:
            others = [name for name in available if name != names["train"]]
            raise InputError(f"data.test_split: expected one of {others}, got {test!r}")
        names["test"] = test
    if names.get("validation") == test:
        names.pop("validation", None)
    return names


def _unused(info: tfds.core.DatasetInfo, names: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each split that has no role."""
    unused = sorted(set(info.splits) - set(names.values()))
    return tuple(
        f"{info.name}: split {name} is not used ({info.splits[name].num_examples:,} images)" for name in unused
    )


class _SplitReader:
    """Reader of one split of a prepared dataset."""

    def __init__(self, info, name: str, image_key: str, label_key: str, config: DataConfig):
        self._info, self._split, self._config = info, info.splits[name], config
        self._image_key, self._label_key = image_key, label_key
        self.skipped: tuple[str, ...] = ()  # records that cannot be decoded
        self._shards = Shards(
            [str(path) for path in self._split.filepaths],
            [int(length) for length in self._split.shard_lengths],
            self._parse,
            config.shuffle_buffer,
        )

    def split(self, preprocessing: Preprocessing, num_classes: int) -> Split:
        try:
            if self._decoded_bytes() <= self._config.memory_bytes:
                images, labels = self._decoded()
                split = IndexedSplit(images, np.arange(len(labels)), labels, preprocessing)
            else:
                labels = self._labels()
                split = RecordSplit(self._shards, np.arange(len(labels)), labels, preprocessing)
        except tf.errors.OpError as error:
            reason = str(error.message).splitlines()[0]
            raise InputError(f"{self._info.name}: split {self._split.name}: could not be read: {reason}") from error
        if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
            raise InputError(
                f"{self._info.name}: split {self._split.name}: expected labels from 0 to {num_classes - 1}, got"
                f" {labels.min()} to {labels.max()}; set data.test_split where a test split comes without labels"
            )
        return split

    def identity(self) -> list[str]:
        """The shards' identity: names, sizes and, for small datasets, contents."""
        paths = [pathlib.Path(path) for path in self._shards.paths]
        return [f"{path.name} {identity}" for path, identity in zip(paths, file_identities(paths), strict=True)]

    def first_labels(self, count: int) -> np.ndarray:
        """Labels of the first `count` examples, or of all there are."""
        return self._labels_of(self._shards.in_order().take(count))

    def first_shapes(self, count: int) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
        """((height, width) of the first `count` images, or of all there are; those that cannot be decoded)."""
        count = min(count, self._shards.num_records)
        records = self._shards.in_order().take(count)
        images = records.map(lambda number, record: (number, self._decoded_record(record)[0]), tf.data.AUTOTUNE)
        found = {int(number): image.shape[:2] for number, image in images.ignore_errors().as_numpy_iterator()}
        lost = tuple(self._shards.describe(number) for number in range(count) if number not in found)
        return tuple(found.values()), lost

    def _decoded_bytes(self) -> int:
        """Upper estimate of the split's size as uint8 [N, H, W, 3]."""
        size = self._fixed_size()
        return self._split.num_bytes * _EXPANSION if size is None else self._shards.num_records * size[0] * size[1] * 3

    def _fixed_size(self) -> tuple[int, int] | None:
        """(height, width) where all images have the same."""
        height, width, _ = self._info.features[self._image_key].shape
        return (height, width) if height and width else None

    def _decoded(self) -> tuple[ArrayImages | RaggedImages, np.ndarray]:
        records = self._shards.in_order()
        dataset = records.map(lambda number, record: (number, *self._decoded_record(record)), tf.data.AUTOTUNE)
        try:
            return self._in_memory(dataset)
        except tf.errors.InvalidArgumentError:  # some cannot be decoded
            return self._in_memory(dataset.ignore_errors())

    def _in_memory(self, dataset: tf.data.Dataset) -> tuple[ArrayImages | RaggedImages, np.ndarray]:
        """Decoded records; warns of those that cannot be decoded, InputError if there are too many."""
        ragged = self._fixed_size() is None
        batches = list(dataset.batch(1 if ragged else 1024).prefetch(64 if ragged else 2).as_numpy_iterator())
        self._tell_lost({*range(self._shards.num_records)}.difference(*(numbers.tolist() for numbers, _, _ in batches)))
        labels = np.concatenate([labels for _, _, labels in batches]).astype(np.int32)
        if ragged:
            return in_memory([image for _, images, _ in batches for image in images]), labels
        return ArrayImages(np.concatenate([images for _, images, _ in batches])), labels

    def _tell_lost(self, lost: set[int]) -> None:
        if not lost:
            return
        self.skipped = tuple(self._shards.describe(number) for number in sorted(lost))
        few = ", ".join(self.skipped[:5]) + (", ..." if len(lost) > 5 else "")
        name = f"{self._info.name}: split {self._split.name}"
        if len(lost) > LARGEST_SKIPPED_SHARE * self._shards.num_records:
            raise InputError(
                f"{name}: {len(lost)} of {self._shards.num_records} images cannot be decoded: {few}; expected at most"
                f" {LARGEST_SKIPPED_SHARE:.0%}; prepare the dataset again"
            )
        logger.warning("%s: skipped %d images that cannot be decoded: %s", name, len(lost), few)

    def _decoded_record(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label = self._parse(record)
        return decode(encoded), label

    def _labels(self) -> np.ndarray:
        logger.info("%s: reading the labels of %d streamed images", self._split.name, self._shards.num_records)
        return self._labels_of(self._shards.in_order())

    def _labels_of(self, records: tf.data.Dataset) -> np.ndarray:
        dataset = records.map(lambda _, record: self._parse(record)[1], tf.data.AUTOTUNE)
        return np.concatenate([*dataset.batch(4096).as_numpy_iterator()]).astype(np.int32)

    def _parse(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        skip = {self._image_key: tfds.decode.SkipDecoding()}
        example = self._info.features.deserialize_example(record, decoders=skip)
        return example[self._image_key], example[self._label_key]
