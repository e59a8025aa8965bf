"""Choice of a supernet's execution if its configuration leaves that open."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import memory
from scarlet_tf.training.footprint import least_activation_bytes
from scarlet_tf.words import gibibytes

if TYPE_CHECKING:
    from scarlet_tf.training.config import SupernetConfig

logger = logging.getLogger("scarlet_tf")

# Peak memory of a step as lanes over `least_activation_bytes`: 2.6 GB over 0.32 GB for S1, 64 px, batch 32
# (`python tools/bench_fair_step.py`); graph and gradients are in it.
LANES_OVER_LEAST = 8
# Of the machine's memory: the rest is for weights, images and everybody else.
SHARE = 0.5


def choose_execution(supernet: Supernet, config: SupernetConfig) -> Literal["sequential", "lanes"]:
    """`config.execution`, and for "auto" the quicker one that fits: lanes where their memory surely suffices.

    That is judged by what the machine has, not by what is free, so that a run which is resumed goes on as it began. A
    GPU's memory cannot be asked for beforehand, so there, as for uniform sampling, it is sequential.
    """
    if config.execution != "auto":
        return config.execution
    if config.jit_compile:
        return "lanes"
    if config.sampling == "uniform" or memory.gpu_names():
        return "sequential"
    needed = LANES_OVER_LEAST * least_activation_bytes(supernet, config.batch_size, "lanes")
    chosen: Literal["sequential", "lanes"] = "lanes" if needed <= SHARE * memory.limit_bytes() else "sequential"
    text = "supernet execution: %s, since lanes may need %s of the %s of memory"
    logger.info(text, chosen, gibibytes(needed), gibibytes(memory.limit_bytes()))
    return chosen
