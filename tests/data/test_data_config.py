import re

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import show
from scarlet_tf.data.data_config import DataConfig


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source", "web"),
        ("normalization", "caffe"),
        ("augmentation", "mixup"),
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


def test_sources_need_their_place():
    with pytest.raises(InputError, match=r"data\.directory"):
        DataConfig("folder")
    with pytest.raises(InputError, match=r"data\.name"):
        DataConfig("tfds")
    assert DataConfig("tfds", name="cifar10").name == "cifar10"
