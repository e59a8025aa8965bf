"""Overhead of oracle and tuner beside evaluation: CPU time per trial, also relative to stock KerasTuner's, and reloading.

    python tools/bench_search.py

Two whole searches of S2, population 70 and 120 generations, with an evaluation that does nothing, in a process each: as
configured by default, whose mutation trains a controller, and with uniform mutation. Prints one JSON object: the figures of the
default search and, under `uniform`, of the second.

cpu_ms_per_trial_1000 and cpu_ms_per_trial_8400 are CPU time (milliseconds, user and system) of the first 1,000 trials and of
all, by trial, cpu_ms_per_trial_last_1000 of the last 1,000; imports are not in it.
reload_seconds_8400 is how long a new process takes to repeat the finished search from its journal, without imports, and
reload_cpu_seconds_8400 its CPU time.

The rival, `keras_tuner`, is a stock BaseTuner with the stock random oracle: the same hyperparameters, as many trials as our
default search has, the same made-up scores. It prints nothing; its usual tables, for which it sorts all trials, would cost
more. It ends after `--rival-seconds` with the trials that it has made by then: `complete` says whether those are all.
`ratio_to_keras_tuner` is our CPU time a trial over the rival's, at the greatest number of trials that both have
(`ratio_trials`), and `ratio_to_keras_tuner_1000` at 1,000. Nothing is extrapolated.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
import types
from typing import Literal

from measuring import in_child, parse, report
from scarlet_tf.base import logs

logs.quiet_frameworks()

import keras_tuner  # noqa: E402
from keras_tuner.engine.base_tuner import BaseTuner  # noqa: E402

from scarlet_tf.search.config import MutationConfig, SearchConfig  # noqa: E402
from scarlet_tf.search.oracle import ArchitectureOracle  # noqa: E402
from scarlet_tf.search.run import new_algorithm  # noqa: E402
from scarlet_tf.search.trials import TrialMaker  # noqa: E402
from scarlet_tf.search.tuner import SupernetTuner  # noqa: E402
from scarlet_tf.space.cost import cost_table  # noqa: E402
from scarlet_tf.space.search_space import SearchSpace  # noqa: E402

SUPERNET = types.SimpleNamespace(space=SearchSpace.from_name("s2"), image_shape=(224, 224, 3), num_classes=1000)
MARK = 1000  # trials
MUTATIONS: tuple[Literal["hierarchical", "uniform"], ...] = ("hierarchical", "uniform")


class Clock:
    """An evaluation that returns a function of the choices and records the CPU time every MARK // 20 trials.

    Not for each trial, because reading the CPU time takes long relative to a trial's overhead.
    """

    def __init__(self):
        self.trials = 0
        self.times: dict[int, float] = {}  # CPU time since the start when so many trials had been made
        self._started = time.process_time()

    def evaluate(self, choices) -> dict:
        if self.trials % (MARK // 20) == 0:
            self.times[self.trials] = self.elapsed()
        self.trials += 1
        return {"accuracy": sum((i + 1) * (gene * 7 % 13) for i, gene in enumerate(choices)) % 997 / 997}

    def elapsed(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._started

    def stop(self) -> None:
        """The last trial has ended."""
        self.times[self.trials] = self.elapsed()

    def milliseconds(self) -> dict[int, float]:
        """{trials: CPU time a trial of so many}, for all marks and the end."""
        return {trials: 1e3 * seconds / trials for trials, seconds in self.times.items() if trials}


class StockTuner(BaseTuner):
    """Stock KerasTuner, with a time limit."""

    def __init__(self, oracle, clock: Clock, seconds: float, **kwargs):
        super().__init__(oracle, **kwargs)
        self._clock, self._deadline = clock, time.monotonic() + seconds

    def run_trial(self, trial):
        return self._clock.evaluate(trial.hyperparameters.values.values())

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        if time.monotonic() > self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)


def main() -> None:
    """Run the searches and the rival, each in a process of its own."""
    limit = (360.0, "seconds after which stock KerasTuner ends")
    arguments = parse(__doc__, population=70, generations=120, rival_seconds=limit)
    searches = {}
    for mutation in MUTATIONS:
        sizes = {"population_size": arguments.population, "generations": arguments.generations}
        config = SearchConfig(**sizes, mutation=MutationConfig(mutation))
        with tempfile.TemporaryDirectory() as folder:
            searches[mutation] = in_child(measure, config, folder)
            searches[mutation]["figures"] |= in_child(reload, config, folder)
    rival = in_child(stock, searches["hierarchical"]["figures"]["trials"], arguments.rival_seconds)
    default, uniform = (with_ratios(searches[mutation], rival) for mutation in MUTATIONS)
    report("search", **default, uniform=uniform, keras_tuner=rival["figures"])


def with_ratios(ours: dict, rival: dict) -> dict:
    """Our figures, and the CPU time a trial over the rival's at the greatest number of trials that both have."""
    own, other = ours["milliseconds"], rival["milliseconds"]
    ratios = {trials: own[trials] / other[trials] for trials in own.keys() & other.keys()}
    last = max(ratios)
    at_last = {"ratio_to_keras_tuner": ratios[last], "ratio_trials": last}
    return {**ours["figures"], **at_last, "ratio_to_keras_tuner_1000": ratios.get(MARK)}


# -- inside a process of its own -----------------------------------------------------------------------------------


def measure(config: SearchConfig, folder: str) -> dict:
    """{figures, milliseconds: {trials: CPU time a trial of so many}} of a search."""
    clock = Clock()
    tuner = new_tuner(config, folder, clock)
    tuner.search()
    clock.stop()
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    figures = {**per_trial(clock), "trials": clock.trials, "evaluations": tuner.oracle.evaluations}
    figures |= {"files": sorted(path.name for path in files), "bytes": sum(path.stat().st_size for path in files)}
    return {"figures": figures, "milliseconds": clock.milliseconds()}


def per_trial(clock: Clock) -> dict:
    """CPU time a trial of the first MARK trials, of all and of the last MARK."""
    milliseconds, last = clock.milliseconds(), max((m for m in clock.times if m <= clock.trials - MARK), default=0)
    seconds = clock.times[clock.trials] - clock.times.get(last, 0)
    return {
        "cpu_ms_per_trial_1000": milliseconds.get(MARK, milliseconds[clock.trials]),
        "cpu_ms_per_trial_8400": milliseconds[clock.trials],
        "cpu_ms_per_trial_last_1000": 1e3 * seconds / (clock.trials - last),
    }


def stock(trials: int, seconds: float) -> dict:
    """Run stock KerasTuner for so many trials or seconds, whichever ends first; returns the same as `measure`."""
    clock, objective = Clock(), keras_tuner.Objective("accuracy", "max")
    hyperparameters = TrialMaker(SUPERNET.space).hyperparameters
    oracle = keras_tuner.oracles.RandomSearchOracle(objective, trials, hyperparameters=hyperparameters, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        tuner = StockTuner(oracle, clock, seconds, directory=folder, project_name="stock")
        oracle.verbose = 0
        tuner.search()
        clock.stop()
        files = sum(path.is_file() for path in pathlib.Path(folder).rglob("*"))
    complete, milliseconds = clock.trials == trials, clock.milliseconds()
    figures = {
        "cpu_ms_per_trial_1000": milliseconds.get(MARK),
        "cpu_ms_per_trial_8400": milliseconds[clock.trials] if complete else None,
        "cpu_ms_per_trial": milliseconds[clock.trials],
    }
    figures |= {"trials": clock.trials, "complete": complete, "files": files}
    return {"figures": figures, "milliseconds": milliseconds}


def reload(config: SearchConfig, folder: str) -> dict:
    """Seconds to load a finished search of an earlier process with its front."""
    clock = Clock()
    started = time.perf_counter()
    tuner = new_tuner(config, folder, clock)
    tuner.search()
    assert tuner.oracle.pareto_front() and not clock.trials
    return {"reload_seconds_8400": time.perf_counter() - started, "reload_cpu_seconds_8400": clock.elapsed()}


def new_tuner(config: SearchConfig, folder: str, clock: Clock) -> SupernetTuner:
    """The tuner, which loads the folder's content."""
    costs = cost_table(SUPERNET.space, SUPERNET.image_shape[0], SUPERNET.num_classes)
    oracle = ArchitectureOracle(new_algorithm(config, costs), seed=config.seed)
    return SupernetTuner(oracle, SUPERNET, folder, "search", evaluator=clock)


if __name__ == "__main__":
    main()
