"""Figures of the worked examples: average precision of boxes, mean intersection over union of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M] of boxes [N, 4] and [M, 4], each (left, top, right, bottom)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)


def mean_average_precision(found: Sequence[dict], truth: Sequence[dict], num_classes: int, iou: float = 0.5) -> float:
    """Mean over the classes that occur of the area under precision against recall, with precision made monotonic.

    found: an image's {"boxes" [N, 4], "scores" [N], "classes" [N]}; truth: its {"boxes" [K, 4], "classes" [K]}. In the order of
    their scores, detections claim the object of their class that they overlap most, each object once, from `iou` on.
    """
    values = [average_precision(found, truth, label, iou) for label in range(num_classes)]
    return float(np.mean([value for value in values if value is not None]))


def average_precision(found: Sequence[dict], truth: Sequence[dict], label: int, iou: float = 0.5) -> float | None:
    """The same of one class; None where it has no object."""
    objects = [image["boxes"][image["classes"] == label] for image in truth]
    total = sum(map(len, objects))
    if not total:
        return None
    claims = [
        (float(score), index, box)
        for index, image in enumerate(found)
        for box, score, name in zip(image["boxes"], image["scores"], image["classes"], strict=True)
        if name == label
    ]
    claims.sort(key=lambda claim: -claim[0])
    claimed, hits = [np.zeros(len(boxes), bool) for boxes in objects], []
    for _, index, box in claims:
        overlaps = box_iou(box[None], objects[index])[0] if len(objects[index]) else np.zeros(1)
        best = int(overlaps.argmax())
        hit = overlaps[best] >= iou and not claimed[index][best]
        hits.append(hit)
        if hit:
            claimed[index][best] = True
    return _area(np.array(hits, bool), total)


def _area(hits: np.ndarray, total: int) -> float:
    """Area under precision against recall, where each precision is the greatest at that recall or a higher one."""
    if not len(hits):
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision[hits].sum() / total)


def mean_iou(found: np.ndarray, truth: np.ndarray, num_classes: int) -> float:
    """Mean over the classes that `truth` holds of |both| / |either|, for label maps of one shape, over all pixels together."""
    pairs = np.bincount(truth.ravel() * num_classes + found.ravel(), minlength=num_classes**2)
    both = pairs.reshape(num_classes, num_classes).astype(float)
    of_truth, common = both.sum(1), np.diag(both)
    either = of_truth + both.sum(0) - common
    return float((common / np.maximum(either, 1))[of_truth > 0].mean())
