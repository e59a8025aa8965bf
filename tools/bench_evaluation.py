"""Benchmark of a population's evaluation along its prefix tree, against one path after another and against Keras models.

    python tools/bench_evaluation.py

Space S1 with fresh weights, 96 pixels, random images, 70 different paths, each with batch normalisation recalibrated; 1 thread.
Two populations: `random` is drawn uniformly; `converging` are children of five random parents, of which two are crossed at
one point and one gene of the child is then redrawn. `*_bound` is the factor by which the tree has fewer multiply-adds;
`search_bound` is that of the children in the 60th generation of a search whose accuracy is a made-up sum over the choices.

`*_speedup`: time one path after another over time along the tree, both with the same compiled functions, traced before; the two
alternate, and the median over the rounds counts (`*_speedup_rounds` has all). Times are processor seconds of this process,
which has one thread, so that waiting for a busy processor does not count; `*_speedup_wall` is of seconds on the clock.

`keras_evaluate_speedup`: the random population as Keras models over the tree, tracing included on both sides. A Keras model is
built with its weights (`extract`), recalibrated on the same batches and evaluated (`compile`, `evaluate`); that is done
for `--networks` networks, and their mean counts for all 70. `keras_steady_speedup` leaves out building and tracing, as with
many images. `max_logit_difference`: the greatest between those networks' logits and the tree's, over the greatest logit.

Everything is measured with TF_ENABLE_ONEDNN_OPTS=0 and =1, in a process each. Prints one JSON object: `results` has an entry for
each, and the figures of the one that TensorFlow takes by default on this machine are those of the object itself, too.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from measuring import MODES, ROUNDS, alternate, by_mode, parse, report, round_ratios
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.population import Populations
from scarlet_tf.evaluation.prefix_tree import multiply_adds
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import Architecture, SearchSpace

NUM_CLASSES = 1000
PARENTS = 5
GENERATION = 60


def main() -> None:
    """Measure both modes of oneDNN, a process each."""
    arguments = parse(
        __doc__,
        pixels=96,
        population=70,
        batch_size=16,
        recalibration_batches=1,
        validation_batches=1,
        networks=(3, "networks that are measured as Keras models"),
        rounds=(4, ROUNDS),
        seed=0,
        onednn=MODES,
    )
    results = by_mode(arguments.onednn, run, arguments, threads=1)
    settings = {key: value for key, value in vars(arguments).items() if key != "onednn"}
    report("evaluation", **settings, **results[0], results=results)


def run(arguments) -> dict:
    """Measure all figures in this process's mode."""
    return Bench(arguments).run()


class Bench:
    """One supernet, two populations and a few batches of images."""

    def __init__(self, arguments):
        self.arguments = arguments
        rng = np.random.default_rng(arguments.seed)
        self.space = SearchSpace.from_name("s1")
        shape = (arguments.pixels, arguments.pixels, 3)
        self.supernet = Supernet(self.space, shape, NUM_CLASSES)
        self.populations = {
            "random": random_paths(self.space, arguments.population, rng),
            "converging": children(self.space, arguments.population, rng),
        }

        def batches(count: int) -> list:
            size = arguments.batch_size
            images = (tf.constant(rng.normal(size=(size, *shape)), tf.float32) for _ in range(count))
            return [(batch, tf.constant(rng.integers(NUM_CLASSES, size=size), tf.int32)) for batch in images]

        self.recalibration = batches(arguments.recalibration_batches)
        self.validation = batches(arguments.validation_batches)

    def run(self) -> dict:
        """Measure all figures."""
        rounds, networks = self.arguments.rounds, self.arguments.networks
        with progress_bar("evaluation", 2 + networks + 4 * rounds) as bar:
            self.measured = Populations(self.supernet)
            first = seconds(lambda: self.along_the_tree("random"))[0]
            bar.advance()
            self.along_the_tree("converging")
            bar.advance()
            keras_figures = []
            for path in self.populations["random"][:networks]:
                keras_figures.append(self.as_keras_model(path))
                bar.advance()
            ways = {"alone": self.one_after_another, "tree": self.along_the_tree}
            turns = {
                (name, way): functools.partial(seconds, functools.partial(run, name))
                for name in self.populations
                for way, run in ways.items()
            }
            figures = alternate(turns, rounds, bar.advance)
        return self.summary(figures, first, keras_figures)

    def along_the_tree(self, name: str) -> list[dict]:
        return self.measured.measure(self.populations[name], self.recalibration, self.validation)

    def one_after_another(self, name: str) -> list[dict]:
        measure = self.measured.measure
        return [measure([path], self.recalibration, self.validation)[0] for path in self.populations[name]]

    def as_keras_model(self, path) -> dict:
        """Seconds with building and tracing, seconds without, and the greatest relative difference of logits."""
        made = []

        def build():
            network = extract(self.supernet, Architecture(path, self.space))
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            network.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
            made.append(network)
            measure()

        def measure():
            network = made[0]
            recalibrate(lambda x: network(x, training=True), self.recalibration, moving_statistics(network))
            network.evaluate(dataset, verbose=0)

        images, labels = (tf.concat(parts, axis=0) for parts in zip(*self.validation, strict=True))
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(self.arguments.batch_size)
        first, steady = seconds(build)[0], seconds(measure)[0]
        expected = made[0](images).numpy()
        difference = np.abs(self.measured.logits([path], self.recalibration, images)[0] - expected).max()
        return {"first": first, "steady": steady, "difference": float(difference / np.abs(expected).max())}

    def summary(self, figures: dict, first: float, keras_figures: list[dict]) -> dict:
        found: dict[str, Any] = {}
        for name in self.populations:
            # (processor, wall) seconds of each round
            alone, tree = (list(zip(*figures[name, way], strict=True)) for way in ("alone", "tree"))
            found[f"{name}_speedup"], found[f"{name}_speedup_rounds"] = round_ratios(alone[0], tree[0])
            found[f"{name}_bound"] = self.bound(self.populations[name])
            found[f"{name}_speedup_wall"] = round_ratios(alone[1], tree[1])[0]
            found[f"{name}_seconds"] = statistics.median(tree[0])
        count, means = self.arguments.population, ("first", "steady")
        whole, steady = (count * statistics.fmean(row[key] for row in keras_figures) for key in means)
        found["search_bound"] = self.bound(searched_paths(self.space, self.arguments))
        found |= {"keras_evaluate_speedup": whole / first, "keras_steady_speedup": steady / found["random_seconds"]}
        found |= {"keras_seconds": whole, "first_seconds": first}
        return {**found, "max_logit_difference": max(row["difference"] for row in keras_figures)}

    def bound(self, paths) -> float:
        alone, shared = multiply_adds(self.space, paths, self.arguments.pixels, NUM_CLASSES)
        return alone / shared


def random_paths(space: SearchSpace, count: int, rng: np.random.Generator) -> list[tuple]:
    """Different paths, sorted."""
    paths: set[tuple] = set()
    while len(paths) < count:
        paths.add(space.sample(rng).choices)
    return sorted(paths)


def children(space: SearchSpace, count: int, rng: np.random.Generator) -> list[tuple]:
    """Different children of PARENTS random paths: two crossed at one point, then one gene redrawn; sorted."""
    parents = np.array(random_paths(space, PARENTS, rng))
    paths: set[tuple] = set()
    while len(paths) < count:
        one, other = parents[rng.choice(PARENTS, 2, replace=False)]
        cut, gene = rng.integers(1, space.num_layers), rng.integers(space.num_layers)
        child = np.concatenate([one[:cut], other[cut:]])
        child[gene] = (child[gene] + rng.integers(1, space.num_choices)) % space.num_choices
        paths.add(tuple(child.tolist()))
    return sorted(paths)


def searched_paths(space: SearchSpace, arguments) -> list[tuple]:
    """The different children of a search's generation GENERATION, by random values of each choice; sorted."""
    worth = np.random.default_rng(arguments.seed).normal(size=(space.num_layers, space.num_choices))
    costs = cost_table(space, arguments.pixels, NUM_CLASSES)
    algorithm = WeightedNSGA2(costs, arguments.population, max(GENERATION, 3), seed=arguments.seed)
    while not algorithm.finished:
        genomes = np.asarray(algorithm.ask())
        sums = worth[np.arange(space.num_layers), genomes].sum(axis=1)
        algorithm.tell([{"accuracy": float(accuracy)} for accuracy in 1 / (1 + np.exp(-sums / 8))])
    return sorted(set(map(tuple, genomes.tolist())))


def seconds(run: Callable) -> tuple[float, float]:
    """(processor, wall)."""
    processor, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - processor, time.perf_counter() - wall


if __name__ == "__main__":
    main()
