import re

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import show
from scarlet_tf.base.settings import from_yaml, to_plain
from scarlet_tf.base.yaml_files import parse_yaml, to_yaml
from scarlet_tf.data.data_config import DataConfig, Statistics


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source", "web"),
        ("normalization", "caffe"),
        ("normalization", 3),
        ("augmentation", "mixup"),
        ("resizing", "lanczos"),
        ("image_size", 0),
        ("image_size", 32.0),
        ("seed", -1),
        ("validation_fraction", 1.0),
        ("validation_examples", 0),
        ("test_fraction", True),
        ("crop_fraction", 0),
        ("max_train_examples", -5),
        ("memory_bytes", "1G"),
        ("directory", ""),
        ("check_images", 1),
        ("rand_augment", -1),
        ("rand_augment", 2.0),
        ("rand_augment_magnitude", 10.5),
        ("random_erasing", 1.5),
        ("mixup", -0.1),
        ("cutmix", True),
    ],
)
def test_bad_values_are_refused_by_name(key, value):
    with pytest.raises(InputError, match=rf"data\.{key}: expected .*, got {re.escape(show(value))}"):
        DataConfig(**{key: value})


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"mean": 0}, r"data\.normalization\.std: missing"),
        ({"mean": 0, "std": 0}, r"data\.normalization\.std: expected a list of 3 or a number > 0, got 0"),
        ({"mean": [1, 2], "std": 1}, r"data\.normalization\.mean: expected a list of 3 or a number, got \[1, 2\]"),
        ({"mean": [0, "x", 0], "std": [1, 1, -1]}, r"mean\[1\]: .*\"x\"; data\.normalization\.std\[2\]: .* -1"),
        ({"mean": 0, "std": float("inf")}, r"data\.normalization\.std: expected .*, got inf"),
        ({"mean": 0, "std": 1, "deviation": 1}, r"data\.normalization\.deviation: unknown key"),
    ],
)
def test_wrong_statistics_are_refused_by_name(given, mistake):
    with pytest.raises(InputError, match=mistake):
        DataConfig(normalization=given)


def test_statistics_come_back_from_yaml_and_one_number_is_for_all_colours():
    config = DataConfig(normalization={"mean": [1, 2, 3.5], "std": 128})
    assert config.normalization == Statistics((1.0, 2.0, 3.5), (128.0, 128.0, 128.0))
    assert hash(config) == hash(DataConfig(normalization=Statistics([1, 2, 3.5], 128)))
    plain = parse_yaml(to_yaml(to_plain(config)), "file")
    assert plain["normalization"] == {"mean": [1.0, 2.0, 3.5], "std": [128.0] * 3}
    assert from_yaml(DataConfig, plain, []) == config


def test_sources_need_their_place():
    with pytest.raises(InputError, match=r"data\.directory"):
        DataConfig("folder")
    with pytest.raises(InputError, match=r"data\.name"):
        DataConfig("tfds")
    assert DataConfig("tfds", name="cifar10").name == "cifar10"
