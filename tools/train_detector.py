"""Worked example of detection: a network's features of stride 4 to 32, a DetectionHead, digits found on noise.

    python tools/train_detector.py
    python tools/train_detector.py --network scarlet_c --steps 600

Trains everything from random weights with Keras' own fit and prints one JSON object: the CPU time of that, and the mean
average precision at an overlap of 0.5 on scenes whose digits were not trained on, beside that before the training.
"""

from __future__ import annotations

import argparse
import json
import time

import keras
import numpy as np

from digit_scenes import NUM_CLASSES, Scenes, make_scenes
from example_network import features_of
from scarlet_tf.models.detection import BoxLoss, HeatmapLoss, decode_detections, detection_targets
from scarlet_tf.models.features import DetectionHead
from scene_metrics import mean_average_precision

STRIDE = 4
BATCH = 16


def main() -> None:
    """Parse, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="small", help="small (default) or a name of the zoo, such as scarlet_c")
    parser.add_argument("--steps", type=int, default=800, help="of 16 scenes each")
    parser.add_argument("--size", type=int, default=64, help="side of the scenes in pixels, a multiple of 32")
    parser.add_argument("--test-scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    model = build(arguments.network, arguments.size, arguments.seed)
    test = make_scenes(arguments.test_scenes, arguments.size, arguments.seed, test=True)
    untrained = precision(model, test)
    started = time.process_time()
    losses = train(model, arguments.steps, arguments.size, arguments.seed)
    print(
        json.dumps(
            {
                "example": "detection",
                "network": arguments.network,
                "parameters": model.count_params(),
                "steps": arguments.steps,
                "cpu_seconds": round(time.process_time() - started, 1),
                "first_loss": losses[0],
                "last_loss": losses[-1],
                "test_scenes": arguments.test_scenes,
                "average_precision_untrained": untrained,
                "average_precision": precision(model, test),
            }
        )
    )


def build(network: str, size: int, seed: int) -> keras.Model:
    """Images [B, size, size, 3] -> the outputs of a DetectionHead at stride 4."""
    features = features_of(network, size, seed)
    return keras.Model(features.input, DetectionHead(NUM_CLASSES, channels=48, seed=seed, name="head")(features.output))


def train(model: keras.Model, steps: int, size: int, seed: int) -> list[float]:
    """Fit the model; the loss of each epoch of up to 100 steps."""
    scenes = make_scenes(BATCH * min(steps, 100), size, seed)
    targets = targets_of(scenes, size)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss={"heatmap": HeatmapLoss(), "box": BoxLoss()})
    epochs = max(1, BATCH * steps // len(scenes.images))
    history = model.fit(scenes.images, targets, batch_size=BATCH, epochs=epochs, verbose=0)
    return [round(value, 4) for value in history.history["loss"]]


def targets_of(scenes: Scenes, size: int) -> dict:
    """Targets of the losses."""
    cells = size // STRIDE
    return detection_targets(scenes.boxes, scenes.labels, (cells, cells), STRIDE, NUM_CLASSES)


def precision(model: keras.Model, scenes: Scenes) -> float:
    """Mean average precision at an overlap of 0.5."""
    found = decode_detections(model.predict(scenes.images, batch_size=50, verbose=0), STRIDE)
    arrays = {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}
    rows = [{name: values[index] for name, values in arrays.items()} for index in range(len(scenes.images))]
    truth = [{"boxes": b, "classes": np.asarray(c)} for b, c in zip(scenes.boxes, scenes.labels, strict=True)]
    return round(mean_average_precision(rows, truth, NUM_CLASSES), 4)


if __name__ == "__main__":
    main()
