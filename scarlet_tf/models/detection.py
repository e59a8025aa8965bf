"""Targets and losses for training a DetectionHead, and the decoding of its outputs to boxes.

Boxes are (left, top, right, bottom) in pixels, float32. An object belongs to the one cell that contains its centre; high
outputs of the cells around it are penalised less than those far away (CornerNet's focal loss).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

SPREAD = 6.0
"""A target's bell is box side / SPREAD wide (one standard deviation), so it fades out at the object's border [reading]."""


def detection_targets(boxes: Sequence, labels: Sequence, grid: tuple[int, int], stride: int, num_classes: int) -> dict:
    """Targets of `HeatmapLoss` and `BoxLoss` for B images.

    Args:
        boxes, labels: of each image, [N, 4] in pixels and [N].
        grid: (height, width) of the head's output; `stride`: pixels of a cell's side.

    Returns {"heatmap": float32 [B, height, width, num_classes], "box": float32 [B, height, width, 5]}; the box's last entry is
    1 in cells with an object, else 0.
    """
    heatmap = np.zeros((len(boxes), *grid, num_classes), np.float32)
    distances = np.zeros((len(boxes), *grid, 5), np.float32)
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    for image, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
        for (left, top, right, bottom), label in zip(np.asarray(image_boxes) / stride, image_labels, strict=True):
            row = min(int((top + bottom) / 2), grid[0] - 1)
            column = min(int((left + right) / 2), grid[1] - 1)
            squares = ((columns - column) / (right - left)) ** 2 + ((rows - row) / (bottom - top)) ** 2
            bell = np.exp(-0.5 * squares * SPREAD**2)
            heatmap[image, ..., label] = np.maximum(heatmap[image, ..., label], bell)
            middle = (column + 0.5 - left, row + 0.5 - top, right - column - 0.5, bottom - row - 0.5)
            distances[image, row, column] = (*middle, 1.0)
    return {"heatmap": heatmap, "box": distances}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class HeatmapLoss(keras.losses.Loss):
    """CornerNet's focal loss of heatmap logits, a sum over cells and classes divided by the batch's number of objects.

    At a centre -(1 - p)^2 log p; elsewhere -(1 - y)^4 p^2 log(1 - p), where y is the target's bell.
    """

    def __init__(self, name: str = "heatmap_loss", **kwargs):
        super().__init__(name=name, **{"reduction": None, **kwargs})

    def call(self, y_true, y_pred):
        ops = keras.ops
        y_pred = ops.cast(y_pred, "float32")
        probability = ops.sigmoid(y_pred)
        centre = ops.cast(y_true >= 1.0, "float32")
        hits = ops.square(1 - probability) * ops.log_sigmoid(y_pred)
        others = (1 - y_true) ** 4 * ops.square(probability) * ops.log_sigmoid(-y_pred)
        total = ops.sum(centre * hits + (1 - centre) * others)
        return -total / ops.maximum(ops.sum(centre), 1.0)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class BoxLoss(keras.losses.Loss):
    """Mean absolute error of the four distances in cells with an object."""

    def __init__(self, name: str = "box_loss", **kwargs):
        super().__init__(name=name, **{"reduction": None, **kwargs})

    def call(self, y_true, y_pred):
        ops = keras.ops
        weight = y_true[..., 4:]
        error = weight * ops.abs(y_true[..., :4] - ops.cast(y_pred, "float32"))
        return ops.sum(error) / ops.maximum(4 * ops.sum(weight), 1.0)


def decode_detections(outputs: dict, stride: int, max_detections: int = 20) -> dict:
    """The best objects of each image from a DetectionHead's outputs.

    A cell counts if no neighbour has a higher probability of the same class. Returns tensors {"boxes": [B, N, 4] in pixels,
    "scores": [B, N] from 0 to 1, descending, "classes": int32 [B, N]} with N = max_detections, or all where there are fewer.
    """
    ops = keras.ops
    scores = ops.sigmoid(ops.convert_to_tensor(outputs["heatmap"]))
    boxes = ops.convert_to_tensor(outputs["box"])
    batch, height, width, num_classes = scores.shape
    highest = ops.max_pool(scores, 3, 1, "same", "channels_last")
    peaks = ops.where(scores >= highest, scores, ops.zeros_like(scores))
    flat = ops.reshape(peaks, (batch, height * width * num_classes))
    best, places = ops.top_k(flat, min(max_detections, flat.shape[1]))
    places = ops.cast(places, "int32")
    cells, classes = places // num_classes, places % num_classes
    distances = ops.take_along_axis(ops.reshape(boxes, (batch, height * width, 4)), cells[..., None], axis=1)
    x, y = (ops.cast(part, "float32") + 0.5 for part in (cells % width, cells // width))
    centres = ops.stack([x, y, x, y], axis=-1)
    signs = ops.convert_to_tensor([-1.0, -1.0, 1.0, 1.0])
    return {"boxes": stride * (centres + signs * distances), "scores": best, "classes": classes}
