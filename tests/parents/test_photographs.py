"""EfficientNet-Lite0 on photographs, from its package to exported files: an end-to-end check of what the parts state apart."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from photographs import CROP_FRACTION, LABELS, installed_lite, photograph_files, photographs, recognised

from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.export.folding import fold
from scarlet_tf.export.saved_model import export_saved_model, load_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.parents.loading import parent

SIDE = 160


@pytest.fixture(scope="module")
def lite0():
    installed_lite(0)
    return parent("lite0")


# Measured apart from this package: 56, 57 and 47; one more or less for another decoder of JPEG or resizing.
@pytest.mark.parametrize("side, right", [pytest.param(224, 56, marks=pytest.mark.slow), (SIDE, 57), (128, 47)])
def test_lite0_recognises_the_photographs(side, right, lite0):
    images = lite0.preprocessing.normalize(photographs(side))
    network = lite0.network((side, side, 3))
    logits = np.concatenate([network(part) for part in (images[:32], images[32:])])
    assert abs(recognised(logits) - right) <= 1


@pytest.mark.slow
def test_the_parents_path_recognises_as_many_from_the_supernet_to_the_files(lite0, tmp_path):
    images = np.asarray(lite0.preprocessing.normalize(photographs(SIDE)))
    published = np.asarray(lite0.network((SIDE, SIDE, 3))(images))
    right = recognised(published)
    assert abs(right - 57) <= 1

    supernet = Supernet(space_around(lite0, input_size=SIDE), (SIDE, SIDE, 3), 1000, skip="shortcut", start=lite0)
    network = path_network(supernet, parent_path(lite0, supernet.space), None)
    folded, _ = fold(network)
    for same in (network, folded):
        logits = np.asarray(same(images))
        np.testing.assert_allclose(logits, published, atol=1e-3)
        assert recognised(logits) == right

    own = dataclasses.replace(lite0.preprocessing, image_size=SIDE, crop_fraction=CROP_FRACTION, resizing="bicubic")
    export_tflite(folded, tmp_path / "float32.tflite", preprocessing=own)
    export_tflite(folded, tmp_path / "int8.tflite", "int8", images, preprocessing=own)
    export_saved_model(folded, tmp_path / "saved_model", own)
    found = {
        name: verify(tmp_path / name, folded, (images, LABELS))
        for name in ("float32.tflite", "int8.tflite", "saved_model")
    }
    counts = {name: round(one["top1"] * len(LABELS)) for name, one in found.items()}
    assert counts["float32.tflite"] == counts["saved_model"] == right, counts
    assert abs(counts["int8.tflite"] - right) <= 2, counts
    assert all(found[name]["passed"] for name in ("float32.tflite", "saved_model"))

    # Its own preprocessing cuts the square out before it resizes, so that pixels outside do not touch its edges, and keeps
    # fractions, which Pillow rounds to whole values: one photograph more was recognised.
    loaded = load_saved_model(tmp_path / "saved_model")
    files = tf.constant([file.read_bytes() for file in photograph_files()])
    assert abs(recognised(loaded.signatures["serving_bytes"](encoded=files)["logits"]) - right) <= 1
