"""Choices: all that a drafted configuration rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.drafting.schedule import HoldOut, Schedule
from scarlet_tf.drafting.sizing import Sizing


@dataclasses.dataclass(frozen=True)
class Choices:
    """Where the images are, what was seen of them, what was chosen for them; `budget`: multiply-adds.

    forecast: {stage: seconds}, by a step of `step_seconds` that was measured; empty where none was.
    """

    data: DataConfig
    facts: DatasetFacts
    sizing: Sizing
    held_out: HoldOut
    plan: Schedule
    budget: float
    has_gpu: bool
    forecast: Mapping[str, float] = dataclasses.field(default_factory=dict)
    step_seconds: float = 0.0
