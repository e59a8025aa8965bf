"""Phases: which step of a training is of which phase."""

from __future__ import annotations

import dataclasses

from scarlet_tf.search.betanas_config import BetaNASConfig


@dataclasses.dataclass(frozen=True)
class Phases:
    """The order of a training's steps: a warm-up of weight steps, then weight and importance steps in turn.

    Everything is a function of the step's number, so a training that is resumed goes on as it would have.
    """

    total_steps: int
    config: BetaNASConfig

    @property
    def warmup_steps(self) -> int:
        return round(self.config.warmup * self.total_steps)

    def is_importance(self, step: int) -> bool:
        """True if `step`, counted from 0, trains the importances."""
        behind, cycle = step - self.warmup_steps, self.config.weight_steps + self.config.importance_steps
        return behind >= 0 and behind % cycle >= self.config.weight_steps

    def name(self, step: int) -> str:
        """Name of the phase of `step`, counted from 0."""
        return "importance" if self.is_importance(step) else "weight"

    def importance_steps(self, step: int) -> int:
        """Number of the first `step` steps that train the importances."""
        cycle = self.config.weight_steps + self.config.importance_steps
        cycles, rest = divmod(max(0, step - self.warmup_steps), cycle)
        return cycles * self.config.importance_steps + max(0, rest - self.config.weight_steps)

    def weight_steps(self, step: int) -> int:
        """Number of the first `step` steps that train weights."""
        return step - self.importance_steps(step)

    def is_check(self, step: int) -> bool:
        """True if choices may be dropped after `step`: `drop_checks` times, at equal distances, the last step among them."""
        behind, steps = step - self.warmup_steps, self.total_steps - self.warmup_steps
        checks = self.config.drop_checks
        return behind >= 0 and (behind + 1) * checks // steps > behind * checks // steps
