"""Fine-tuning against training from scratch, at equal epochs on few images of classes that were never seen before.

    python tools/bench_finetuning.py

A small network learns scikit-learn's digits 0 to 4. Then 5 to 9 are learned from a few images of each: from scratch, and from
that network, in three ways. Prints one JSON object: for each way the top-1 accuracies on the remaining images of 5 to 9, of
each seed and their mean.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.datasets import load_digits

from measuring import parse, report
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import FinetuneConfig
from scarlet_tf.training.network import finetune, retrain

ARCHITECTURE = Architecture(
    (0, 0, 3, 0, 3, 0),
    SearchSpace(
        "digits",
        stages=(Stage(16, 2, 1), Stage(24, 2, 2), Stage(32, 2, 2)),
        choices=SearchSpace.from_name("s1").choices,
        stem_channels=16,
        first_channels=16,
        tail_channels=128,
        input_size=16,
    ),
)
WAYS: dict[str, dict] = {
    "finetuned": {},
    "finetuned_rate_decay": {"rate_decay": 0.8},
    "finetuned_frozen_bn": {"freeze_bn": True},
    "finetuned_classifier_only": {"train_from": "classifier"},
}


def main() -> None:
    """Train every way with every seed."""
    arguments = parse(
        __doc__, epochs=(5, "of each way"), pretraining_epochs=12, images=(20, "of each new class"), seeds=3
    )
    started, settings = time.perf_counter(), {key: value for key, value in vars(arguments).items() if key != "seeds"}
    found = [compare(**settings, seed=seed) for seed in range(arguments.seeds)]
    rows = {name: [round(one[name], 4) for one in found] for name in found[0]}
    top1 = {name: {"mean": round(float(np.mean(row)), 4), "seeds": row} for name, row in rows.items()}
    report("finetuning", **settings, top1=top1, seconds=round(time.perf_counter() - started, 1))


def compare(epochs: int, pretraining_epochs: int, images: int, seed: int) -> dict[str, float]:
    """Top-1 of each way, and of the pretraining on its own classes."""
    old, new = (digits(range(first, first + 5), seed) for first in (0, 5))
    source, figures = retrain(ARCHITECTURE, *_held_out(*old, 80), settings(pretraining_epochs, seed))
    few = _held_out(*new, images)
    found = {"pretraining": figures["validation"]["accuracy"]}
    found["scratch"] = retrain(ARCHITECTURE, *few, settings(epochs, seed))[1]["validation"]["accuracy"]
    for name, way in WAYS.items():
        config = settings(epochs, seed) | way
        found[name] = finetune(source, *few, config)[1]["validation"]["accuracy"]
    return found


def settings(epochs: int, seed: int) -> dict:
    """Settings of all trainings, valid as RetrainConfig's and FinetuneConfig's fields."""
    shared = FinetuneConfig(epochs=epochs, batch_size=20, learning_rate=0.03, seed=seed, recalibration_batches=5)
    keys = ("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "ema", "seed", "recalibration_batches")
    return {key: getattr(shared, key) for key in keys} | {"warmup_epochs": 0.5}


def digits(classes: range, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 16, 16, 3] in -1..1 of these digits, in an order drawn from the seed, and labels from 0 on."""
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    order = order[np.isin(found.target[order], classes)]
    pixels = np.repeat(np.repeat(found.images[order], 2, 1), 2, 2)[..., None] / 8 - 1
    return np.repeat(pixels, 3, -1).astype(np.float32), (found.target[order] - classes[0]).astype(np.int32)


def _held_out(images: np.ndarray, labels: np.ndarray, per_class: int) -> tuple[tuple, tuple]:
    """((images, labels) with `per_class` images of each class, the rest)."""
    chosen = np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return (images[chosen], labels[chosen]), (images[rest], labels[rest])


if __name__ == "__main__":
    main()
