"""Choices: the values that a drafted configuration is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.drafting.schedule import HoldOut, Schedule
from scarlet_tf.drafting.sizing import Sizing


@dataclasses.dataclass(frozen=True)
class Choices:
    """Source of the images, facts about them, and the settings chosen for them; `budget`: multiply-adds.

    forecast: {stage: seconds}, from a measured step of `step_seconds`; empty without a measurement.
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
