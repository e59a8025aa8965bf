"""The embedded dataset: scikit-learn's 1,797 handwritten digits of 8 x 8 grey pixels."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.images import ArrayImages
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import SourceData, fingerprint
from scarlet_tf.data.splits import IndexedSplit


def load(config: DataConfig, preprocessing: Preprocessing) -> SourceData:
    """All digits as one training split; scikit-learn ships no test split."""
    digits = load_digits()
    # The set's grey levels run from 0 to 16.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    split = IndexedSplit(ArrayImages(images), np.arange(len(labels)), labels, preprocessing)
    return SourceData(
        name="digits",
        class_names=tuple(str(name) for name in digits.target_names),
        splits={"train": split},
        fingerprint=fingerprint(["digits", images.tobytes(), labels.tobytes()]),
    )
