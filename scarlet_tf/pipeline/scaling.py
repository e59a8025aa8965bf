"""Effect of scaling on the costs of the retrained network, reported before its training."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from scarlet_tf.cost import count, count_spec
from scarlet_tf.pipeline.run import Run
from scarlet_tf.space import Architecture
from scarlet_tf.words import millions

logger = logging.getLogger("scarlet_tf")


def scaling_figures(run: Run, architecture: Architecture) -> dict:
    """SCALING_KEYS of retrain/result.json: the network's scaling and its costs before it; {} if it is not scaled.

    The search's bounds, `search.max_multiply_adds` among them, apply to the network before scaling. The scaled one
    may exceed them, and a warning says so; bounds on a table's metrics, such as latency, cannot be checked for it.
    """
    scaling, classes = run.config.retrain.scaling, run.data.num_classes
    if scaling.is_none:
        return {}
    searched = count(architecture, run.config.data.image_size, classes)
    scaled = count_spec(scaling.apply(architecture, run.input_shape, classes))
    logger.info(
        "retrain: %s: %s -> %s multiply-adds, %s -> %s params",
        scaling,
        *(millions(cost.multiply_adds) for cost in (searched, scaled)),
        *(millions(cost.params) for cost in (searched, scaled)),
    )
    goals = run.config.search.objectives()
    if not goals.meets({name: np.array([value]) for name, value in dataclasses.asdict(scaled).items()})[0]:
        logger.warning(
            "retrain: the scaled network does not keep %s: the search's bounds are about the network as searched",
            ", ".join(goals.bounds_in_words()),
        )
    return {
        "scaling": dataclasses.asdict(scaling),
        "searched_multiply_adds": searched.multiply_adds,
        "searched_params": searched.params,
    }
