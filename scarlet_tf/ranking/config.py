"""RankingConfig: the number of compared networks and the length of each one's own training. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from scarlet_tf.errors import InputError
from scarlet_tf.scaling import Scaling
from scarlet_tf.training.settings import check_ranges

if TYPE_CHECKING:
    from scarlet_tf.training.network_config import RetrainConfig

LEAST_ARCHITECTURES = 3  # with two networks tau is always -1 or 1


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

    architectures: int = 20
    strata: int = 5
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    warmup_epochs: float | None = None
    recalibration_batches: int = 20
    validation_batch_size: int = 128
    bootstrap_resamples: int = 2000
    seed: int = 0

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    def __post_init__(self):
        whole = ("architectures", "strata", "recalibration_batches", "validation_batch_size", "bootstrap_resamples")
        check_ranges("ranking", self, at_least_1=whole, whole=("seed",))
        check_ranges("ranking", self, at_least_1=self._given("epochs", "batch_size"))
        check_ranges("ranking", self, positive=self._given("learning_rate"), at_least_0=self._given("warmup_epochs"))
        if self.architectures < LEAST_ARCHITECTURES:
            raise InputError(
                f"ranking.architectures: expected a whole number >= {LEAST_ARCHITECTURES}, got {self.architectures}"
            )
        if self.strata > self.architectures:
            raise InputError(
                f"ranking.strata: expected at most ranking.architectures, which is {self.architectures},"
                f" got {self.strata}"
            )

    def training(self, retrain: RetrainConfig) -> RetrainConfig:
        """Settings of each network's own training: `retrain` with this section's values, from scratch and not scaled.

        Raises InputError if the warm-up would not end before the training does.
        """
        given: dict[str, Any] = {
            key: getattr(self, key) for key in self._given("epochs", "batch_size", "learning_rate", "warmup_epochs")
        }
        as_searched = dataclasses.asdict(Scaling())
        settings = dataclasses.replace(retrain, **given, **as_searched, init="scratch", pick="best")
        if settings.warmup_epochs >= settings.epochs:
            raise InputError(
                f"ranking.warmup_epochs: expected less than the {settings.epochs} epochs of each network,"
                f" got {settings.warmup_epochs:g} (where it is null, retrain.warmup_epochs counts)"
            )
        # The accuracy is measured once, at the end.
        return dataclasses.replace(settings, validate_every_epochs=settings.epochs + 1)

    def _given(self, *keys: str) -> tuple[str, ...]:
        return tuple(key for key in keys if getattr(self, key) is not None)
