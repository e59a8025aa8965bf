"""Learning: says when a training learns nothing, or breaks down, with the key to change and a value to try.

A network that ignores its images can do no better than predict each class by its frequency. The cross-entropy of that
constant prediction is known beforehand; a training whose mean loss over an epoch is not below it has learned nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scarlet_tf.base.errors import NotFiniteError
from scarlet_tf.base.files import write_result

logger = logging.getLogger("scarlet_tf")

FILE = "not_learning.json"
LEAST_GAIN = 0.001
"""Of what there is to gain over constant predictions, the share from which a training counts as learning: more than rounding,
and than the few images that an epoch's last, incomplete batch leaves out. [reading]"""

LEAST_STEPS = 10
"""Before so many steps nobody can have learned; the first one's loss is that of a network that was never trained. [reading]"""

USUAL_RATES = {"sgd": 0.1, "rmsprop": 0.016, "adamw": 1e-3}
"""Learning rates that train most networks, for steps of one path and up to 256 images. [reading]"""
TOO_SMALL = 0.01
"""A rate below this share of the usual one is rather too small than too great. [reading]"""


@dataclasses.dataclass(frozen=True)
class Reference:
    """Losses to compare with: of the best constant prediction, and of a network that knows every label."""

    constant: float
    perfect: float = 0.0

    @property
    def threshold(self) -> float:
        """A mean loss has to be below this."""
        return self.constant - LEAST_GAIN * (self.constant - self.perfect)

    @classmethod
    def of(cls, split, num_classes: int, label_smoothing: float = 0.0) -> Reference:
        """The entropy of the smoothed class frequencies of a split's labels, and the mean one of its smoothed labels.

        A split without `labels`, as a tf.data.Dataset, does not tell its frequencies: then all classes count as equally
        frequent, whose entropy ln(num_classes) is the greatest that there is.
        """
        labels = getattr(split, "labels", None)
        shares = np.eye(num_classes) if labels is None else np.asarray(labels)
        if shares.ndim == 1:  # every class once, each with its weight
            weights, shares = (
                np.bincount(shares.astype(np.int64), minlength=num_classes) / len(shares),
                np.eye(num_classes),
            )
        else:
            weights = np.full(len(shares), 1 / len(shares))
        smoothed = (1 - label_smoothing) * shares + label_smoothing / num_classes
        return cls(float(_entropy(weights @ smoothed)), float(weights @ _entropy(smoothed)))


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=-1)


class Learning:
    """Judges each epoch that begins after a training's warm-up; logs a warning where nothing is learned.

    Args:
        section: "supernet", "retrain" or "finetune"; its keys are named.
        config: of that section.
        reference: what the loss is compared with.
        num_paths: whose gradients a step sums.
        folder: where FILE says it for as long as it holds, to the report; None for nowhere.
    """

    def __init__(self, section: str, config: Any, reference: Reference, num_paths: int = 1, folder=None):
        self.section, self.config, self.reference, self.num_paths = section, config, reference, num_paths
        self.file = None if folder is None else pathlib.Path(folder) / FILE
        self._told = False

    def judge(self, epoch: int, steps: int, logs: Mapping[str, float]) -> dict[str, Any]:
        """{"not_learning": {"text", "loss", "constant", "try"}} for an epoch, counted from 0, that learned nothing, else {}.

        `steps`: how many the training has done by the epoch's end.
        The loss is the mean cross-entropy of one path, smoothed as the labels are, without L2: "loss" in `logs`, or
        "cross_entropy" where the loss has a teacher's part besides.
        """
        loss = logs.get("cross_entropy", logs.get("loss"))
        too_early = epoch < self.config.warmup_epochs or steps < LEAST_STEPS
        if loss is None or too_early or self.reference.constant <= 0:
            return {}
        if loss < self.reference.threshold:
            self._take_back(epoch, loss)
            return {}
        constant, remedies = self.reference.constant, self._remedies()
        text = (
            f"{self.section}: nothing is learned: the mean loss of epoch {epoch + 1} is {loss:.4f}, not below the {constant:.4f}"
            f" of constant class frequencies; {self._advice(remedies)}; if that does not help, see whether the labels"
            " belong to the images"
        )
        found = {"text": text, "loss": float(loss), "constant": constant, "try": remedies}
        if not self._told:  # once, for the epochs to come would say the same
            logger.warning("%s", text)
        self._told = True
        self._write(found)
        return {"not_learning": found}

    def check_finite(self, step: int, logs: Mapping[str, float]) -> None:
        """NotFiniteError, with what to change, where a loss of a step, counted from 0, is not a finite number."""
        for name, value in logs.items():
            if name.endswith("loss") and not math.isfinite(value):
                remedies = self._remedies()
                first = "no weight has moved yet: see whether all values of the images are finite numbers; else "
                text = (
                    f"{self.section}: the {name.replace('_', ' ')} became {value} at step {step + 1};"
                    f" {'' if step else first}{self._advice(remedies)}; the last checkpoint is kept"
                )
                self._write({"text": text, "step": step + 1, "try": remedies})
                raise NotFiniteError(text)

    def _take_back(self, epoch: int, loss: float) -> None:
        if self._told:
            logger.info("%s: learns from epoch %d on: its mean loss is %.4f", self.section, epoch + 1, loss)
        self._told = False
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _write(self, found: Mapping[str, Any]) -> None:
        if self.file is not None:
            write_result(self.file, found)

    def _remedies(self) -> dict[str, Any]:
        """Values to try, by key, the likeliest first."""
        config, rate, usual = self.config, self.config.learning_rate, self._usual_rate
        if rate < TOO_SMALL * usual:
            return {f"{self.section}.learning_rate": _rounded(usual)}
        lower = min(rate / (self.num_paths if self.num_paths > 1 else 3), usual)
        values: dict[str, Any] = {"learning_rate": _rounded(lower)}
        values |= {"warmup_epochs": max(1.0, 2 * config.warmup_epochs)} if config.clip_norm else {"clip_norm": 1.0}
        if config.precision == "mixed_float16":
            values["precision"] = "float32"
        return {f"{self.section}.{key}": value for key, value in values.items()}

    @property
    def _usual_rate(self) -> float:
        usual = USUAL_RATES[getattr(self.config, "optimizer", "sgd")]
        return usual * max(1.0, self.config.batch_size / 256) / self.num_paths

    def _advice(self, remedies: Mapping[str, Any]) -> str:
        rate, *others = (f"{key}: {value}" for key, value in remedies.items())
        paths = f", and a step sums the gradients of {self.num_paths} paths" if self.num_paths > 1 else ""
        further = f", or else {' or '.join(others)}" if others else ""
        return f"try {rate} (it is {self.config.learning_rate:g}{paths}){further}, in a new run folder"


def _rounded(value: float) -> float:
    """To two significant digits."""
    return float(f"{value:.2g}")
