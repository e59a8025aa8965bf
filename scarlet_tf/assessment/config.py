"""RankingConfig: the number of compared networks and the length of each one's own training. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import Count, NonNegative, Positive, Whole, validated
from scarlet_tf.space.scaling import Scaling

if TYPE_CHECKING:
    from scarlet_tf.training.config import RetrainConfig

LEAST_ARCHITECTURES = 3  # with two networks tau is always -1 or 1


@validated("ranking")
@dataclasses.dataclass(frozen=True)
class RankingConfig:
    """Settings of `scarlet rank`.

    Args:
        architectures: networks drawn, at least 3, as evenly as possible from the strata.
        strata: parts of equal size of the space's distribution of multiply-adds.
        epochs, batch_size, learning_rate, warmup_epochs: of each network's own training; null takes the value of `retrain`,
        which also sets everything else of that training.
        recalibration_batches: training batches for BN recalibration before the recalibrated measurement.
        validation_batch_size: images a batch, in evaluation and recalibration.
        bootstrap_resamples: for the 95 % confidence intervals.
        seed: of the draw and the bootstrap.
    """

    architectures: Annotated[int, Ge(LEAST_ARCHITECTURES)] = 20
    strata: Count = 5
    epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: Positive | None = None
    warmup_epochs: NonNegative | None = None
    recalibration_batches: Count = 20
    validation_batch_size: Count = 128
    bootstrap_resamples: Count = 2000
    seed: Whole = 0

    def __post_init__(self):
        if self.strata > self.architectures:
            raise InputError(
                f"ranking.strata: expected at most ranking.architectures, which is {self.architectures},"
                f" got {self.strata}"
            )

    def training(self, retrain: RetrainConfig) -> RetrainConfig:
        """Settings of each network's own training: `retrain` with this section's values, from scratch and not scaled.

        Raises InputError if the warm-up would not end before the training does.
        """
        own = {key: getattr(self, key) for key in ("epochs", "batch_size", "learning_rate", "warmup_epochs")}
        own = {key: value for key, value in own.items() if value is not None}
        as_searched = dataclasses.asdict(Scaling())
        settings = dataclasses.replace(retrain, **own, **as_searched, init="scratch", pick="best")
        if settings.warmup_epochs >= settings.epochs:
            raise InputError(
                f"ranking.warmup_epochs: expected less than the {settings.epochs} epochs of each network,"
                f" got {settings.warmup_epochs:g} (where it is null, retrain.warmup_epochs counts)"
            )
        # The accuracy is measured once, at the end.
        return dataclasses.replace(settings, validate_every_epochs=settings.epochs + 1)
