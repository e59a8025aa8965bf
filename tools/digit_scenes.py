"""Scenes for the worked examples of detection and segmentation: handwritten digits pasted onto noise.

The digits are scikit-learn's 8 x 8 ones, enlarged to 16 to 28 pixels. Those of test scenes are in no training scene.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NUM_CLASSES = 10
TRAIN_SHARE = 0.8
SIDES = (16, 28)
INK = 0.4
"""From which brightness on a pixel counts as the digit's, on a scale from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class Scenes:
    """images float32 [N, S, S, 3] in -1..1; masks int32 [N, S, S], 0 background, else 1 + digit; boxes a list of float32
    [K, 4] (left, top, right, bottom) in pixels around the digits' ink; labels a list of int32 [K], the digits.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: list[np.ndarray]
    labels: list[np.ndarray]


def make_scenes(count: int, size: int = 96, seed: int = 0, test: bool = False, most_digits: int = 4) -> Scenes:
    """`count` scenes of `size` pixels with 1 to `most_digits` digits that do not overlap; a function of the arguments."""
    rng = np.random.default_rng((seed, int(test)))
    digits, labels = _digits(test)
    scenes = [_scene(digits, labels, size, rng, most_digits) for _ in range(count)]
    images, masks, boxes, names = zip(*scenes, strict=True)
    return Scenes(np.stack(images), np.stack(masks), list(boxes), list(names))


def _digits(test: bool) -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    border = int(TRAIN_SHARE * len(found.target))
    part = slice(border, None) if test else slice(border)
    return (found.images[part] / 16).astype(np.float32), found.target[part].astype(np.int32)


def _scene(digits, labels, size: int, rng, most_digits: int):
    canvas = rng.uniform(0.0, 0.35) + rng.normal(0, 0.08, (size, size)).astype(np.float32)
    mask = np.zeros((size, size), np.int32)
    taken = np.zeros((size, size), bool)
    boxes: list = []
    names: list = []
    wanted = rng.integers(1, most_digits + 1)
    for _ in range(20 * wanted):  # tries; a full canvas holds fewer digits
        if len(boxes) == wanted:
            break
        index, side = rng.integers(len(digits)), int(rng.integers(SIDES[0], SIDES[1] + 1))
        top, left = (int(value) for value in rng.integers(0, size - side + 1, 2))
        place = (slice(top, top + side), slice(left, left + side))
        if taken[place].any():
            continue
        taken[place] = True
        digit = np.asarray(Image.fromarray(digits[index]).resize((side, side), Image.Resampling.BILINEAR))
        canvas[place] = np.maximum(canvas[place], digit)
        ink = digit >= INK
        mask[place][ink] = 1 + labels[index]
        rows, columns = np.nonzero(ink)
        box = (left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1)
        boxes.append(box)
        names.append(labels[index])
    image = np.repeat(np.clip(canvas, 0, 1)[..., np.newaxis], 3, -1) * 2 - 1
    return image.astype(np.float32), mask, np.array(boxes, np.float32), np.array(names, np.int32)
