"""Worked examples of detection and segmentation: a network's features of stride 4 to 32, and a head on them.

    python tools/train_digit_scenes.py detection
    python tools/train_digit_scenes.py segmentation --network scarlet_c --steps 600

The scenes are scikit-learn's 8 x 8 digits, enlarged to 16 to 28 pixels and pasted onto noise. Trains everything from random
weights with Keras' own fit and prints one JSON object: the CPU time of that, and a figure on scenes whose digits were not trained
on. Detection: mean average precision at an overlap of 0.5, beside that before the training. Segmentation: mean intersection
over union, over background and the ten digits, beside that of calling everything background.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from measuring import command_line
from scarlet_tf.models.detection import BoxLoss, HeatmapLoss, decode_detections, detection_targets
from scarlet_tf.models.features import DetectionHead, SegmentationHead, feature_extractor
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace

NUM_CLASSES = 10
LABELS = 1 + NUM_CLASSES
STRIDE = 4
BATCH = 16
TRAIN_SHARE = 0.8
SIDES = (16, 28)
INK = 0.4
"""From which brightness on a pixel counts as the digit's, on a scale from 0 to 1."""
_SMALL = Architecture(
    (0, 0, 1, 0, 1, 0),
    SearchSpace(
        "example",
        stages=(Stage(16, 1, 2), Stage(24, 2, 2), Stage(40, 2, 2), Stage(64, 1, 2)),
        choices=SearchSpace.from_name("s1").choices,
        stem_channels=16,
        first_channels=16,
        tail_channels=64,
    ),
)


def main(argv=None) -> None:
    """Parse, train, measure, print."""
    parser = command_line(
        __doc__,
        network=("small", "small (default) or a name of the zoo, such as scarlet_c"),
        steps=(800, "of 16 scenes each"),
        size=(64, "side of the scenes in pixels, a multiple of 32"),
        test_scenes=200,
        seed=0,
    )
    parser.add_argument("example", choices=["detection", "segmentation"])
    arguments = parser.parse_args(argv)
    keras.utils.set_random_seed(arguments.seed)
    detection, (size, seed) = arguments.example == "detection", (arguments.size, arguments.seed)
    model = build(arguments.network, size, seed, detection)
    test = make_scenes(arguments.test_scenes, size, seed, test=True)
    if detection:
        figures = {"average_precision_untrained": precision(model, test)}
    else:
        figures = {"mean_iou_all_background": round(mean_iou(np.zeros_like(test.masks), test.masks, LABELS), 4)}
    started = time.process_time()
    losses = train(model, arguments.steps, size, seed, detection)
    cpu = round(time.process_time() - started, 1)
    settings = {"example": arguments.example, "network": arguments.network, "parameters": model.count_params()}
    course = {"steps": arguments.steps, "cpu_seconds": cpu, "first_loss": losses[0], "last_loss": losses[-1]}
    result = {"average_precision": precision(model, test)} if detection else {"mean_iou": overlap(model, test)}
    print(json.dumps({**settings, **course, "test_scenes": arguments.test_scenes, **figures, **result}))


def build(network: str, size: int, seed: int, detection: bool) -> keras.Model:
    """Images [B, size, size, 3] in -1..1 -> the outputs of a DetectionHead at stride 4, or logits [B, size, size, 11].

    The weights are random, the features of strides 4, 8, 16 and 32.
    """
    architecture = _SMALL if network == "small" else ZOO[network].architecture
    features = feature_extractor(architecture, input_shape=(size, size, 3), seed=seed)
    kind, labels = (DetectionHead, NUM_CLASSES) if detection else (SegmentationHead, LABELS)
    return keras.Model(features.input, kind(labels, channels=48, seed=seed, name="head")(features.output))


def train(model: keras.Model, steps: int, size: int, seed: int, detection: bool) -> list[float]:
    """Fit the model; the loss of each epoch of up to 100 steps."""
    scenes, cells = make_scenes(BATCH * min(steps, 100), size, seed), size // STRIDE
    loss, targets = keras.losses.SparseCategoricalCrossentropy(from_logits=True), scenes.masks
    if detection:
        loss = {"heatmap": HeatmapLoss(), "box": BoxLoss()}
        targets = detection_targets(scenes.boxes, scenes.labels, (cells, cells), STRIDE, NUM_CLASSES)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)), loss=loss)
    epochs = max(1, BATCH * steps // len(scenes.images))
    history = model.fit(scenes.images, targets, batch_size=BATCH, epochs=epochs, verbose=0)
    return [round(value, 4) for value in history.history["loss"]]


def precision(model: keras.Model, scenes: Scenes) -> float:
    """Mean average precision at an overlap of 0.5."""
    found = decode_detections(model.predict(scenes.images, batch_size=50, verbose=0), STRIDE)
    arrays = {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}
    rows = [{name: values[index] for name, values in arrays.items()} for index in range(len(scenes.images))]
    truth = [{"boxes": b, "classes": np.asarray(c)} for b, c in zip(scenes.boxes, scenes.labels, strict=True)]
    return round(mean_average_precision(rows, truth, NUM_CLASSES), 4)


def overlap(model: keras.Model, scenes: Scenes) -> float:
    """Mean intersection over union."""
    found = model.predict(scenes.images, batch_size=50, verbose=0).argmax(-1)
    return round(mean_iou(found, scenes.masks, LABELS), 4)


# -- Scenes ----------------------------------------------------------------------------------------------------


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


# -- Figures ---------------------------------------------------------------------------------------------------


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


if __name__ == "__main__":
    main()
