"""The heads: shapes, saving, what they learn from; targets, losses and decoding of boxes by hand."""

import keras
import numpy as np
import pytest

from scarlet_tf.models.detection import SPREAD, BoxLoss, HeatmapLoss, decode_detections, detection_targets
from scarlet_tf.models.features import DetectionHead, FeatureFusion, SegmentationHead

SHAPES = {"stride_4": (6, 5, 8), "stride_8": (3, 3, 12), "stride_16": (2, 2, 16)}


def inputs():
    return {name: keras.Input(shape, name=name) for name, shape in SHAPES.items()}


def features(batch=2):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(batch, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


def test_fusion_adds_the_maps_from_the_coarsest_on():
    """With one channel, no ReLU cut and neutral BN the sum is what resizing by hand gives."""
    fusion = FeatureFusion(1, seed=0)
    fusion.build({name: (None, *shape) for name, shape in SHAPES.items()})
    for lateral in fusion.laterals.values():
        lateral.kernel.assign(keras.ops.full_like(lateral.kernel, 0.5))
    fusion.mix.depthwise.kernel.assign(np.float32([[0, 0, 0], [0, 1, 0], [0, 0, 0]])[..., None, None])
    fusion.mix.pointwise.kernel.assign(np.ones((1, 1, 1, 1), np.float32))
    maps = {name: np.abs(values) for name, values in features().items()}
    norm = 1 / np.sqrt(1 + 1e-5)
    total = 0.5 * norm * maps["stride_16"].sum(-1, keepdims=True)
    for name in ("stride_8", "stride_4"):
        total = keras.ops.image.resize(total, SHAPES[name][:2], "bilinear", data_format="channels_last")
        total = total + 0.5 * norm * maps[name].sum(-1, keepdims=True)
    np.testing.assert_allclose(fusion(maps), total * norm, rtol=1e-5)


def test_segmentation_labels_every_pixel():
    source = inputs()
    model = keras.Model(source, SegmentationHead(11, channels=8)(source))
    assert model.output.shape == (None, 24, 20, 11)
    assert SegmentationHead(3, upsampling=1).compute_output_shape({"stride_4": (1, 6, 5, 8)}) == (1, 6, 5, 3)


@pytest.mark.parametrize("make", [lambda: SegmentationHead(3, 8, seed=0), lambda: DetectionHead(3, 8, seed=0)])
def test_heads_save_and_load(make, tmp_path):
    source = inputs()
    model = keras.Model(source, make()(source))
    model.save(tmp_path / "head.keras")
    loaded = keras.saving.load_model(tmp_path / "head.keras")
    for left, right in zip(keras.tree.flatten(model(features())), keras.tree.flatten(loaded(features())), strict=True):
        np.testing.assert_array_equal(left, right)


def test_detection_answers_at_the_finest_stride_and_expects_few_objects():
    answers = DetectionHead(3, channels=8, seed=0)(features())
    assert answers["heatmap"].shape == (2, 6, 5, 3)
    assert answers["box"].shape == (2, 6, 5, 4)
    assert np.asarray(answers["box"]).min() >= 0
    zeros = {name: np.zeros_like(values) for name, values in features().items()}
    probabilities = keras.ops.sigmoid(DetectionHead(3, channels=8, seed=0)(zeros)["heatmap"])
    np.testing.assert_allclose(probabilities, 0.01, rtol=1e-5)


@pytest.mark.parametrize("head", [SegmentationHead, DetectionHead])
def test_bad_arguments_are_named(head):
    with pytest.raises(ValueError, match="num_classes: expected an integer >= 1, got 0"):
        head(0)
    with pytest.raises(ValueError, match="expected a dict such as feature_extractor returns"):
        head(2)(np.zeros((1, 4, 4, 8), np.float32))


BOX = (6.0, 4.0, 18.0, 20.0)  # of 12 x 16 pixels; its centre (12, 12) lies in cell (3, 3) of stride 4


def targets():
    return detection_targets([[BOX], []], [[1], []], (6, 5), 4, 2)


def test_targets_are_a_bell_and_the_distances_of_the_centres_cell():
    found = targets()
    assert found["heatmap"][0, 3, 3, 1] == 1
    assert found["heatmap"][0, :, :, 0].max() == 0
    np.testing.assert_allclose(found["heatmap"][0, 3, 4, 1], np.exp(-0.5 * (SPREAD / 3) ** 2), rtol=1e-6)
    np.testing.assert_allclose(found["heatmap"][0, 4, 3, 1], np.exp(-0.5 * (SPREAD / 4) ** 2), rtol=1e-6)
    # The cell's centre is (14, 14): 8 from the left, 10 from the top, 4 from the right, 6 from the bottom.
    np.testing.assert_allclose(found["box"][0, 3, 3], [2, 2.5, 1, 1.5, 1])
    assert found["box"].sum() == 8
    assert found["heatmap"][1].max() == 0


def test_losses_are_their_formulas():
    truth = targets()
    logits = np.random.default_rng(0).normal(size=(2, 6, 5, 2)).astype(np.float32)
    p, y = 1 / (1 + np.exp(-logits.astype(np.float64))), truth["heatmap"].astype(np.float64)
    expected = np.where(y == 1, -((1 - p) ** 2) * np.log(p), -((1 - y) ** 4) * p**2 * np.log(1 - p)).sum()  # one object
    np.testing.assert_allclose(HeatmapLoss()(truth["heatmap"], logits), expected, rtol=1e-5)
    box = np.full((2, 6, 5, 4), 2.0, np.float32)
    np.testing.assert_allclose(BoxLoss()(truth["box"], box), (0 + 0.5 + 1 + 0.5) / 4)
    nothing = np.zeros_like(truth["box"])
    assert float(BoxLoss()(nothing, box)) == 0


def test_decoding_gives_back_what_the_targets_came_from():
    truth = targets()
    heatmap = np.log((truth["heatmap"] + 1e-4) / (1 - truth["heatmap"] + 1e-4))
    found = decode_detections({"heatmap": heatmap, "box": truth["box"][..., :4]}, 4, max_detections=3)
    boxes, scores, classes = (np.asarray(found[name]) for name in ("boxes", "scores", "classes"))
    np.testing.assert_allclose(boxes[0, 0], BOX)
    assert classes[0, 0] == 1
    assert scores[0, 0] > 0.99
    assert scores[0, 1] < 0.01  # the bell's other cells are no peaks
    assert scores[1].max() < 0.01
    assert boxes.shape == (2, 3, 4)
