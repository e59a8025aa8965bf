"""Benchmark of training on several workers: each of one thread, under MultiWorkerMirroredStrategy, against one worker.

    python tools/bench_training_workers.py
    python tools/bench_training_workers.py --trainings lanes --pixels 96 --workers 4

Trainings: a supernet's strictly fair steps, `sequential` (and, if asked for, in `lanes`), and `retrain`, steps of the space's
largest network; on random images, by the package's own loop, in processes that get TF_CONFIG as local_cluster.py sets it. A
round of a training is three jobs: one worker; the workers with the same global batch, cut among them (`global`); the workers
with that batch for each (`each`). Workers need as many idle cores.

`seconds`: [one, workers] of a step on the clock, the median of a job's steps after the first two; a list of them for several
rounds. `speedup`: images a second of the workers over those of the one, the median over the rounds; `cpu_speedup`: the same of
processor seconds, the workers' mean, in which waiting for each other hardly counts. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from bench_gpu import SPACES
from local_cluster import run_training
from measuring import ROUNDS, command_line, report
from scarlet_tf.base.host import with_faster

TRAININGS = ("sequential", "lanes", "retrain")
BATCHES = ("global", "each")
NUM_CLASSES = 1000
WARM_UP = 2  # steps, in which functions are traced


def main() -> int:
    """Measure all trainings."""
    parser = command_line(
        __doc__,
        trainings={"nargs": "+", "default": ["sequential", "retrain"], "choices": TRAININGS},
        space={"default": "s1", "choices": SPACES},
        pixels=64,
        batch_size=(32, "images of the one worker's batch"),
        steps=(8, "of each job, the first two included"),
        workers=2,
        threads=(1, "of each worker"),
        rounds=(1, ROUNDS),
        member={"help": argparse.SUPPRESS},
    )
    arguments = parser.parse_args()
    if arguments.member:
        member(json.loads(arguments.member))
        return 0
    if arguments.workers < 2 or arguments.batch_size < 1 or arguments.batch_size % arguments.workers:
        parser.error("expected --workers >= 2 and a --batch-size that they can share evenly")
    if arguments.steps <= WARM_UP or arguments.rounds < 1 or arguments.threads < 1:
        parser.error(f"expected --steps > {WARM_UP}, --rounds >= 1 and --threads >= 1")
    results = [row for training in arguments.trainings for row in rows(training, arguments)]
    settings = {name: getattr(arguments, name) for name in ("space", "pixels", "batch_size", "workers", "threads")}
    report("training_workers", **settings, results=results)
    return 0


def rows(training: str, arguments) -> list[dict]:
    """Measure one training: a row for each way to share batches."""
    batches = {"one": 1, "global": 1, "each": arguments.workers}
    rounds = []
    for _ in range(arguments.rounds):
        jobs = {}
        for name, times in batches.items():
            case = {name: getattr(arguments, name) for name in ("space", "pixels", "steps")}
            case |= {"training": training, "batch_size": times * arguments.batch_size}
            jobs[name] = run(case, 1 if name == "one" else arguments.workers, arguments.threads)
        rounds.append(jobs)
    return [row(training, batch, batches[batch], rounds) for batch in BATCHES]


def row(training: str, batch: str, times: int, rounds: list[dict]) -> dict:
    """The figures of one way to share batches; `times`: the workers' global batch over that of the one."""

    def speedup(clock: str) -> float:
        return statistics.median(times * jobs["one"][clock] / jobs[batch][clock] for jobs in rounds)

    seconds = [[jobs[name]["seconds"] for name in ("one", batch)] for jobs in rounds]
    return {
        "training": training,
        "batch": batch,
        "speedup": speedup("seconds"),
        "cpu_speedup": speedup("cpu_seconds"),
        "seconds": seconds[0] if len(seconds) == 1 else seconds,
    }


def run(case: dict, workers: int, threads: int) -> dict:
    """{"seconds", "cpu_seconds"} of a step of a job: the chief's clock, and the workers' mean."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--member", json.dumps({**case, "folder": folder})]
        environment = with_faster({**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads)})
        with mock.patch.dict(os.environ, environment), tempfile.TemporaryFile("w+", errors="replace") as said:
            if code := run_training(command, workers, stdout=said, stderr=said):
                said.seek(0)
                raise RuntimeError(f"a worker of {case} ended with {code}: {said.read()[-3000:]}")
        found = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("worker-*.json"))]
    return {"seconds": found[0]["seconds"], "cpu_seconds": statistics.mean(f["cpu_seconds"] for f in found)}


# -- inside a worker: TensorFlow is imported there alone -----------------------------------------------------------


def member(case: dict) -> None:
    """Train with whatever workers TF_CONFIG names, and write this worker's seconds of a step into the folder."""
    from scarlet_tf.training.devices import strategy_from_environment

    strategy = strategy_from_environment()  # before any operation
    import keras
    import numpy as np

    class Clock(keras.callbacks.Callback):
        """Notes clock and processor time of this process at the end of each step."""

        def on_train_batch_end(self, batch, logs=None):
            times.append((time.perf_counter(), time.process_time()))

    times: list[tuple[float, float]] = []
    rng, side = np.random.default_rng(0), case["pixels"]
    count = case["steps"] * case["batch_size"]
    images = rng.normal(size=(count, side, side, 3)).astype(np.float32)
    data = (images, rng.integers(NUM_CLASSES, size=count))
    train(case, data, strategy, Clock())
    clocks = np.diff(np.array(times[WARM_UP - 1 :]), axis=0)
    figures = {"seconds": float(np.median(clocks[:, 0])), "cpu_seconds": float(np.mean(clocks[:, 1]))}
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    (pathlib.Path(case["folder"]) / f"worker-{index:03}.json").write_text(json.dumps(figures))


def train(case: dict, data, strategy, clock) -> None:
    """One epoch of the case's training."""
    from fair_paths import skip_of, space_named
    from scarlet_tf.space.search_space import Architecture
    from scarlet_tf.training.config import SupernetConfig
    from scarlet_tf.training.network import retrain
    from scarlet_tf.training.sampling import largest_path
    from scarlet_tf.training.supernet import new_supernet, train_supernet

    space, shape = space_named(case["space"]), (case["pixels"], case["pixels"], 3)
    shared = {"epochs": 1, "batch_size": case["batch_size"], "learning_rate": 0.001}
    if case["training"] == "retrain":
        neutral = {"warmup_epochs": 0, "optimizer": "sgd", "ema": 0, "recalibration_batches": 0}
        network = Architecture(largest_path(space), space).lower(shape, NUM_CLASSES, dropout=0.0)
        few = tuple(part[: case["batch_size"]] for part in data)
        retrain(network, data, few, {**shared, **neutral}, strategy=strategy, callbacks=[clock])
        return
    config = SupernetConfig(**shared, execution=case["training"], skip=skip_of(case["space"]))
    if strategy is None:
        supernet = new_supernet(config, space, shape, NUM_CLASSES)
    else:
        with strategy.scope():
            supernet = new_supernet(config, space, shape, NUM_CLASSES)
    train_supernet(supernet, data, config, strategy, callbacks=[clock])


if __name__ == "__main__":
    sys.exit(main())
