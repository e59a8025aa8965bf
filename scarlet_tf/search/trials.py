"""KerasTuner's trial objects for architectures, made without what it copies, looks up or draws for each; and its lock."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Mapping

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.objectives import DIRECTIONS
from scarlet_tf.space.search_space import SearchSpace

GROUP = (
    "group"  # a hyperparameter value of a trial that a worker gets together with others: {id: architecture}, as JSON
)
REASON = "failure"  # a hyperparameter value in which a worker's trial carries why its evaluation failed


class TrialMaker:
    """Makes the trials of one space; `layer_00`, `layer_01`, ... are the choice indices of an architecture."""

    def __init__(self, space: SearchSpace):
        self._names = [f"layer_{i:02d}" for i in range(space.num_layers)]
        self.hyperparameters = keras_tuner.HyperParameters()
        for name in self._names:
            self.hyperparameters.Choice(name, list(range(space.num_choices)), ordered=False)

    def values(self, line: str) -> dict[str, int]:
        """Hyperparameter values of an architecture's canonical string; ValueError where it is none of this space."""
        return dict(zip(self._names, decode(line), strict=True))

    def trial(self, values: Mapping[str, int], trial_id: str, status: str = TrialStatus.RUNNING) -> Trial:
        """All trials share one space, of which the stock Oracle makes a deep copy a trial."""
        hyperparameters = copy.copy(self.hyperparameters)
        hyperparameters.values = dict(values)
        return Trial(hyperparameters, trial_id=trial_id, status=status)

    def choices(self, trial: Trial) -> tuple[int, ...]:
        """The choice indices of a trial's architecture."""
        return tuple(int(trial.hyperparameters.values[name]) for name in self._names)

    def line(self, trial: Trial) -> str:
        """The canonical string of a trial's architecture."""
        return ",".join(str(trial.hyperparameters.values[name]) for name in self._names)


def with_group(trial: Trial, lines: Mapping[str, str]) -> Trial:
    """A copy of a trial that names the trials of its group, {id: canonical string}, itself among them."""
    return _like(trial, trial.trial_id, {**trial.hyperparameters.values, GROUP: json.dumps(lines)})


def group_of(trial: Trial) -> list[Trial]:
    """The trials of a trial's group, itself the first; it alone without a group."""
    lines = json.loads(trial.hyperparameters.values.get(GROUP, "{}"))
    names = sorted(name for name in trial.hyperparameters.values if name.startswith("layer_"))
    others = {trial_id: dict(zip(names, decode(line), strict=True)) for trial_id, line in lines.items()}
    return [trial, *(_like(trial, other, values) for other, values in others.items() if other != trial.trial_id)]


def _like(trial: Trial, trial_id: str, values: dict) -> Trial:
    hyperparameters = copy.copy(trial.hyperparameters)
    hyperparameters.values = values
    return Trial(hyperparameters, trial_id=trial_id, status=trial.status)


def report_metrics(trial: Trial, metrics: Mapping[str, float], step: int = 0) -> None:
    """Puts the finite ones of `metrics` in place of all that a trial had."""
    clear_metrics(trial)
    add_metrics(trial, {name: value for name, value in metrics.items() if math.isfinite(value)}, step)


def clear_metrics(trial: Trial) -> None:
    """Forgets a trial's metrics."""
    # The id is given because KerasTuner draws one from Python's global random state otherwise.
    trial.metrics = Trial(trial.hyperparameters, trial_id="").metrics


def add_metrics(trial: Trial, metrics: Mapping[str, float], step: int = 0) -> None:
    """Adds metrics that a trial does not have, with their direction: KerasTuner would search Keras for it by name."""
    for name, value in metrics.items():
        if not trial.metrics.exists(name):
            trial.metrics.register(name, DIRECTIONS.get(name, "min"))
            trial.metrics.metrics[name].update(float(value), step)


def locked(method):
    """Like `keras_tuner.synchronized`, which does not let go of its lock when the method raises; this does."""

    @keras_tuner.synchronized
    def holding_the_lock(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs), None
        except BaseException as error:
            return None, error

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        value, error = holding_the_lock(self, *args, **kwargs)
        if error is not None:
            raise error
        return value

    return call
