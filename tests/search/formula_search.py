"""A small search of a formula, for the oracle's tests: one process, no model."""

import contextlib

import numpy as np

from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.oracle import WeightedNSGA2Oracle
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import SearchSpace

TINY = SearchSpace(
    "tiny", (Stage(8, 2, 2), Stage(16, 2, 2)), (Choice(3, 3), Choice(6, 5, True), Choice()), input_size=32
)
BIG = SearchSpace("big", (Stage(8, 4, 2), Stage(16, 4, 2)), tuple(Choice(e, 3) for e in range(1, 7)), input_size=32)


def accuracy(choices) -> float:
    """A known, rugged function of the choices, 0..1."""
    return sum((i + 1) * (gene * 7 % 5) for i, gene in enumerate(choices)) % 97 / 97


def make(folder, space=BIG, **changes):
    """An oracle over `folder`/search."""
    settings = {"population_size": 4, "generations": 5, "max_multiply_adds": 1e9, "num_classes": 10}
    oracle = WeightedNSGA2Oracle(space, **{**settings, "mutation": UniformMutation(), **changes})
    oracle._set_project_dir(str(folder), "search")  # what every KerasTuner tuner calls
    return oracle


def choices_of(trial):
    """The choice indices of a trial."""
    values = trial.hyperparameters.values
    return tuple(values[name] for name in sorted(values) if name.startswith("layer_"))


def complete(oracle, trial, **metrics):
    """Reports metrics, by default the formula's, and ends the trial."""
    oracle.update_trial(trial.trial_id, metrics or {"accuracy": accuracy(choices_of(trial))})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def fail(oracle, trial, message="Traceback\nValueError: broken"):
    """Ends a trial as one whose evaluation raised; the oracle may say that this was one too many."""
    trial.status, trial.message = "INVALID", message
    with contextlib.suppress(RuntimeError):
        oracle.end_trial(trial)


def run(oracle, trials=10**6, tuner="tuner0"):
    """Runs up to `trials` trials; returns how many ran."""
    for count in range(trials):
        trial = oracle.create_trial(tuner)
        if trial.status == "STOPPED":
            return count
        assert trial.status == "RUNNING"
        complete(oracle, trial)
    return trials


def state(algorithm):
    """What the rest of a search depends on, in values that compare."""
    rng = getattr(algorithm, "rng", None) or getattr(algorithm, "_rng", None)
    names = ("genomes", "scores", "violation", "rank", "crowding", "pending", "told")
    arrays = {name: np.array(value).tolist() for name in names if (value := getattr(algorithm, name, None)) is not None}
    mutation = getattr(getattr(algorithm, "mutation", None), "statistics", dict)()
    return {
        "evaluations": algorithm.evaluations,
        "generation": algorithm.generation,
        "hypervolume": list(algorithm.hypervolume),
        "metrics": list(getattr(algorithm, "metrics", [])),
        "mutation": mutation,
        "rng": rng and rng.bit_generator.state,
        **arrays,
    }


def answer(oracle):
    """What a search found and the state that it ended in."""
    return [c.to_dict() for c in oracle.pareto_front()], state(oracle.algorithm)
