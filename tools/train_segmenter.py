"""Worked example of segmentation: a network's features of stride 4 to 32, a SegmentationHead, the pixels of digits labelled.

    python tools/train_segmenter.py
    python tools/train_segmenter.py --network scarlet_c --steps 600

Trains everything from random weights with Keras' own fit and prints one JSON object: the CPU time of that, and the mean
intersection over union, over background and the ten digits, on scenes whose digits were not trained on, beside that of
calling everything background.
"""

from __future__ import annotations

import argparse
import json
import time

import keras
import numpy as np

from digit_scenes import NUM_CLASSES, Scenes, make_scenes
from example_network import features_of
from scarlet_tf.models.features import SegmentationHead
from scene_metrics import mean_iou

LABELS = 1 + NUM_CLASSES
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
    started = time.process_time()
    losses = train(model, arguments.steps, arguments.size, arguments.seed)
    print(
        json.dumps(
            {
                "example": "segmentation",
                "network": arguments.network,
                "parameters": model.count_params(),
                "steps": arguments.steps,
                "cpu_seconds": round(time.process_time() - started, 1),
                "first_loss": losses[0],
                "last_loss": losses[-1],
                "test_scenes": arguments.test_scenes,
                "mean_iou_all_background": round(mean_iou(np.zeros_like(test.masks), test.masks, LABELS), 4),
                "mean_iou": measure(model, test),
            }
        )
    )


def build(network: str, size: int, seed: int) -> keras.Model:
    """Images [B, size, size, 3] -> logits [B, size, size, 11]."""
    features = features_of(network, size, seed)
    return keras.Model(features.input, SegmentationHead(LABELS, channels=48, seed=seed, name="head")(features.output))


def train(model: keras.Model, steps: int, size: int, seed: int) -> list[float]:
    """Fit the model; the loss of each epoch of up to 100 steps."""
    scenes = make_scenes(BATCH * min(steps, 100), size, seed)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    epochs = max(1, BATCH * steps // len(scenes.images))
    history = model.fit(scenes.images, scenes.masks, batch_size=BATCH, epochs=epochs, verbose=0)
    return [round(value, 4) for value in history.history["loss"]]


def measure(model: keras.Model, scenes: Scenes) -> float:
    """Mean intersection over union."""
    found = model.predict(scenes.images, batch_size=50, verbose=0).argmax(-1)
    return round(mean_iou(found, scenes.masks, LABELS), 4)


if __name__ == "__main__":
    main()
