"""Loading of a dataset and its division into training, validation and test images."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import policy_of
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import Split, draw, hold_out

logger = logging.getLogger("scarlet_tf")


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A dataset ready for use; `fingerprint` identifies its content, `skipped` names files that cannot be read."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    fingerprint: str
    skipped: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def load_dataset(config: DataConfig, preprocessing: Preprocessing | None = None) -> ImageData:
    """Load the dataset that `config` describes; `preprocessing` replaces the one that `config` asks for.

    Test images are the dataset's own where it has a test split, else held out of the training images; validation
    images are held out of the training images, too, except where the dataset has both a validation and a test
    split. All hold-outs are stratified and a function of `config.seed` alone. A dataset with a training and only
    one further split keeps that one for testing: nothing is chosen on it.
    """
    host.check_fork()
    preprocessing = preprocessing or preprocessing_of(config)
    source = _source(config).load(config, preprocessing)
    for note in source.notes:
        logger.warning("%s", note)
    if len(source.class_names) < 2:
        raise InputError(f"{source.name}: expected at least two classes, got {list(source.class_names)}")
    splits = dict(source.splits)
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    rng = np.random.default_rng(config.seed)
    if "test" not in splits:
        wanted = round(config.test_fraction * splits["train"].num_examples)
        splits["train"], splits["test"] = _hold_out(splits["train"], wanted, rng, "data.test_fraction")
    if "validation" not in splits:
        key = "data.validation_examples" if config.validation_examples else "data.validation_fraction"
        wanted = config.validation_examples or round(config.validation_fraction * splits["train"].num_examples)
        splits["train"], splits["validation"] = _hold_out(splits["train"], wanted, rng, key)
    splits["train"] = _limit(splits["train"], config.max_train_examples, rng)
    splits["test"] = _limit(splits["test"], config.max_test_examples, rng)
    _check_labels(source.class_names, splits)
    splits["train"] = splits["train"].with_policy(policy_of(config, len(source.class_names)))
    return ImageData(
        name=source.name,
        class_names=source.class_names,
        preprocessing=preprocessing,
        fingerprint=source.fingerprint,
        skipped=source.skipped,
        **splits,
    )


def preprocessing_of(config: DataConfig) -> Preprocessing:
    """The preprocessing that `config` asks for."""
    return Preprocessing(
        config.image_size, config.crop_fraction, config.normalization, config.augmentation, config.resizing
    )


def _source(config: DataConfig):
    """The module that loads `config.source`; imported only here because TFDS is slow to import."""
    if config.source == "digits":
        from scarlet_tf.data import digits

        return digits
    if config.source == "folder":
        from scarlet_tf.data import folder

        return folder
    from scarlet_tf.data import tfds_source

    return tfds_source


def _hold_out(split: Split, wanted: int, rng: np.random.Generator, key: str) -> tuple[Split, Split]:
    num_labels = len(np.unique(split.labels))
    if not num_labels <= wanted <= split.num_examples - num_labels:
        raise InputError(
            f"{key}: expected a share that leaves every one of {num_labels} classes an image on both sides,"
            f" got {wanted} of {split.num_examples} images"
        )
    kept, held_out = hold_out(split.labels, wanted, rng)
    return split.subset(kept), split.subset(held_out)


def _limit(split: Split, num_examples: int | None, rng: np.random.Generator) -> Split:
    if num_examples is None or num_examples >= split.num_examples:
        return split
    return split.subset(draw(split.labels, num_examples, rng))


def _check_labels(class_names: tuple[str, ...], splits: dict[str, Split]) -> None:
    """Refuse a class without training images, or one in no other split, which would never be measured."""
    for name in ("train", "validation", "test"):
        missing = sorted(set(range(len(class_names))) - set(np.unique(splits[name].labels).tolist()))
        if missing and (name == "train" or len(missing) == len(class_names)):
            names = [class_names[label] for label in missing[:5]]
            raise InputError(
                f"data: {len(missing)} classes have no {name} images after the split: {names}; add images or change"
                " data.validation_fraction, data.test_fraction or data.max_train_examples"
            )
