"""Cosine similarity of the outputs of a layer's choices for the same input (SCARLET-NAS v2, figure 5)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from scarlet_tf.assessment.store import Store
from scarlet_tf.evaluation.batch_norm import moving_statistics
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import Architecture, SearchSpace
from studies import plots
from studies.one_shot import random_paths
from studies.summary import over_seeds
from studies.workshop import Workshop

_FIGURES = ["mean", "with_skip", "without_skip"]


def run(shop: Workshop) -> dict:
    """The table: a row for each supernet, seed and layer, then means over seeds."""
    study, settings = shop.study, shop.study.sections["similarity"]
    wanted = {"layers": list(settings.layers), "prefixes": settings.prefixes, "images": settings.images}
    images = _images(shop)
    paths = random_paths(study.space, min(settings.prefixes, study.space.size), settings.seed)
    rows, matrices = [], []
    for name, seed, config, supernet in shop.supernets():
        store = Store(shop.cache, "similarity", {**wanted, "seed": settings.seed, **shop.context(config)})
        for layer in settings.layers:
            found = store.get(
                f"layer{layer}",
                functools.partial(_measured, supernet, images, layer, paths),
            )
            rows.append({"supernet": name, "seed": seed, "layer": layer, **_describe(study.space, found["cosine"])})
            matrices.append({"supernet": name, "seed": seed, "layer": layer, "cosine": found["cosine"]})
        table = shop.save(
            rows,
            over_seeds(rows, ["supernet", "layer"], _FIGURES),
            len(rows) == len(study.seeds) * len(study.supernets) * len(settings.layers),
            matrices=matrices,
            choices=[choice.label for choice in study.space.choices],
        )
        plots.heatmaps(shop.folder / "similarity.png", matrices, [choice.label for choice in study.space.choices])
    return table


def _measured(supernet: Supernet, images, layer: int, paths: Sequence[Architecture]) -> dict:
    return {"cosine": similarity(supernet, images, layer, paths).tolist()}


def similarity(supernet: Supernet, images, layer: int, paths: Sequence[Architecture]) -> np.ndarray:
    """Cosines [m, m] between the outputs of the m choices of `layer`, in the mean over `images` [B, H, W, C] and paths.

    Each path goes through the layers in front; each output [H, W, C] of an image is one vector. BN normalises by the
    batch, as in training, so no path's statistics are used for another's; moving statistics do not change.
    """
    count = supernet.space.num_choices
    total = np.zeros((count, count))
    with _statistics_kept(supernet):
        stem = supernet.stem(images, training=True)
        block = supernet.choice_blocks[layer]
        for path in paths:
            x = stem
            for before, choice in zip(supernet.choice_blocks[:layer], path.choices, strict=False):
                x = before.run(choice, x, training=True)
            outputs = [block.run(choice, x, training=True) for choice in range(count)]
            total = total + cosines(np.stack([keras.ops.convert_to_numpy(output) for output in outputs]))
    return total / len(paths)


def cosines(features: np.ndarray) -> np.ndarray:
    """[m, m] from features [m, B, ...]: the cosine of each pair's vectors, in the mean over B; zero for a zero vector."""
    flat = features.reshape(*features.shape[:2], -1).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    return np.einsum("mbf,nbf->mn", flat, flat) / flat.shape[1]


@contextlib.contextmanager
def _statistics_kept(supernet: Supernet) -> Iterator[None]:
    candidates = [candidate for block in supernet.choice_blocks for candidate in block.candidates]
    statistics = moving_statistics([supernet.stem, supernet.tail, *candidates])
    before = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in statistics]
    try:
        yield
    finally:
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)


def _images(shop: Workshop):
    """The first validation images as one batch [B, H, W, C]."""
    for images, _ in shop.data.validation.batches(shop.study.sections["similarity"].images).take(1):
        return images


def _describe(space: SearchSpace, matrix) -> dict:
    """Means over pairs of different choices: all, those with a skip in them, those without; None where there are none."""
    matrix = np.asarray(matrix)
    skip = np.array([choice.is_skip for choice in space.choices])
    pairs = np.triu(np.ones(matrix.shape, bool), 1)
    with_skip = pairs & (skip[:, None] | skip[None, :])
    groups = {"mean": pairs, "with_skip": with_skip, "without_skip": pairs & ~with_skip}
    return {name: float(matrix[chosen].mean()) if chosen.any() else None for name, chosen in groups.items()}
