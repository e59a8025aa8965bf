"""Rank correlation of scores before any training with accuracies after it, of networks cut from a parent, on CIFAR-10.

    python tools/study_parent_scores.py --data DIR --out runs/scores

The networks are drawn as a search from EfficientNet-Lite0 draws them, half of them of similar cost; the truth is the accuracy
of each after --epochs of fine-tuning. Scores, all from the warm start alone, see docs/design/parents.md:
  accuracy, loss     of the whole path on held-out images, as a search compares them
  probe              the same with a classifier that is fitted to the path's own features of the training images
  searched           the probe's accuracy less what a lower cost lets expect, which a search from a parent takes
  layers, multiply_adds   how much is left of the parent
  features           the error of each layer's output on the parent's own features, relative to its variance, summed
  distilled          the same once every block was trained alone on the parent's features
  one_by_one         what the held-out images lose by each layer alone in the parent, summed
Results are kept in OUT/results.jsonl and not computed again; the last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable

from measuring import Rows, parse, report, use_threads
from scarlet_tf.base.logs import log_to_terminal, quiet_frameworks

quiet_frameworks()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from scipy import stats  # noqa: E402

import scarlet_tf as st  # noqa: E402
from scarlet_tf.assessment.statistics import kendall  # noqa: E402
from scarlet_tf.config import load_config  # noqa: E402
from scarlet_tf.data.datasets import load_dataset  # noqa: E402
from scarlet_tf.evaluation.scoring import evaluate  # noqa: E402
from scarlet_tf.models.network import get_arrays  # noqa: E402
from scarlet_tf.parents.around import parent_path  # noqa: E402
from scarlet_tf.parents.warm_start import warm_start  # noqa: E402
from scarlet_tf.search.budget import Budget, shortened  # noqa: E402
from scarlet_tf.search.objectives import CostModel, Objectives  # noqa: E402
from scarlet_tf.space.cost import cost_table  # noqa: E402
from study_parents import CONFIG, PARENT, SIDE  # noqa: E402

NEAR = (0.5, 0.62)
"""Multiply-adds of half of the networks, as shares of the parent's."""
LEAST = 0.32
DRAWN, POOL = 24, 3000
FITTED = 8
"""Batches of 64 training images that the warm start is fitted to."""
PROBE = 8
"""Batches of 128 that a linear probe is fitted to."""
HALVING_LOSS = 0.035
"""What a search takes off for each halving of the multiply-adds: the default of `search.halving_loss` with a parent."""
KEY = ("draw", "epochs", "images", "held_out", "pixels", "passes", "rate")
"""Options that a result depends on."""
SUMMED = ("accuracy", "loss", "probe_accuracy", "one_by_one_loss")
"""Scores that multiply-adds are added to as well, by ranks."""

Path = tuple[int, ...]


def drawn(space: st.SearchSpace, num_classes: int, count: int, seed: int) -> list[Path]:
    """The first `count` of DRAWN paths, drawn as a search draws them: by turns one within NEAR and one of any other cost.

    Two thirds are of whole blocks, and some of the plain ways to shorten the parent are among them.
    """
    rng, costs = np.random.default_rng(seed), cost_table(space, space.input_size, num_classes)
    pool = Budget(CostModel(costs), Objectives()).sample(POOL, rng)
    plain = len(shortened(space))
    shares = costs.count(pool)[0] / costs.count(pool[:1])[0]
    whole = np.array([all(space.choices[c].share in (0, 1) for c in path) for path in pool.tolist()])
    near = (shares >= NEAR[0]) & (shares < NEAR[1])
    edges = np.linspace(LEAST, 1.0, 1 + DRAWN // 2)
    others = [(shares >= low) & (shares < high) & ~near for low, high in itertools.pairwise(edges)]
    found: list[int] = []
    halves: list[list[int]] = [[], []]
    for index, group in enumerate([near] * (DRAWN // 2) + others):
        wanted = group & (whole if index % 3 else ~whole)
        wanted[:plain] = group[:plain] & (index % 6 == 1)
        members = [i for i in np.flatnonzero(wanted) if i not in found]
        first = [i for i in members if i < plain]
        if members:
            found.append(int(rng.choice(first or members)))
            halves[index >= DRAWN // 2].append(found[-1])
    turns = [i for pair in itertools.zip_longest(*halves) for i in pair if i is not None]
    return [tuple(pool[i].tolist()) for i in turns[:count]]


def trained(supernet: st.Supernet, path: Path, data, settings) -> dict:
    """Figures of a network that is fine-tuned from the warm start."""
    folded, _ = st.fold(st.extract(supernet, st.Architecture(path, supernet.space)))
    model, _ = st.retrain(folded.spec, data.train, data.validation, settings, initial=get_arrays(folded))
    figures = evaluate(model, data.test.batches(100))
    cost = st.count(folded.spec).multiply_adds
    return {"top1": figures["accuracy"], "loss": figures["loss"], "multiply_adds": cost}


def whole_paths(supernet, paths, data, probe_batches: int = 0) -> dict[str, list[float]]:
    """Accuracy and loss of each path on the held-out images, by the supernet's classifier or by one of its own."""
    evaluator = st.Evaluator(supernet, data.validation, data.train, 0, probe_batches=probe_batches)
    evaluator.begin_generation(paths)
    found = [evaluator.evaluate(path) for path in paths]
    return {"accuracy": [f["accuracy"] for f in found], "loss": [-f["loss"] for f in found]}


def sizes(supernet, paths) -> dict[str, list[float]]:
    """Layers that are left, and multiply-adds."""
    space = supernet.space
    costs = cost_table(space, space.input_size, supernet.num_classes)
    layers = [float(sum(not space.choices[c].is_skip for c in path)) for path in paths]
    return {"layers": layers, "multiply_adds": [float(costs.count([path])[0][0]) for path in paths]}


def summed(table: np.ndarray, paths) -> list[float]:
    """Minus the sum of a table [num_layers, num_choices] along each path."""
    return [-float(table[np.arange(len(path)), path].sum()) for path in paths]


def feature_errors(supernet, own: Path, batches) -> np.ndarray:
    """Mean squared error of each choice on the parent's features, over the variance of the parent's output."""
    blocks = supernet.choice_blocks

    @tf.function
    def sums(images):
        x, found = supernet.stem(images), []
        for block, mine in zip(blocks, own, strict=True):
            y = block.candidates[mine](x)
            errors = [tf.reduce_sum((candidate(x) - y) ** 2) for candidate in block.candidates]
            variance = tf.reduce_sum((y - tf.reduce_mean(y, (0, 1, 2))) ** 2)
            found.append(tf.stack([*errors, variance]))
            x = y
        return tf.stack(found)

    total = np.sum([sums(images).numpy() for images, _ in batches], axis=0, dtype=float)
    return total[:, :-1] / total[:, -1:]


def distil(supernet, own: Path, batches, rate: float) -> None:
    """Train every choice that is not the parent's alone, by Adam, to give the parent's output of the parent's features."""
    blocks = supernet.choice_blocks
    rivals = [
        (layer, candidate)
        for layer, (block, mine) in enumerate(zip(blocks, own, strict=True))
        for candidate in block.candidates
        if candidate is not block.candidates[mine]
    ]
    variables = [variable for _, candidate in rivals for variable in candidate.trainable_variables]
    steps = len(batches)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(variables)

    @tf.function
    def step(images):
        inputs = [supernet.stem(images)]
        for block, mine in zip(blocks, own, strict=True):
            inputs.append(block.candidates[mine](inputs[-1]))
        with tf.GradientTape() as tape:
            loss = tf.zeros(())
            for layer, candidate in rivals:
                x, y = map(tf.stop_gradient, inputs[layer : layer + 2])
                variance = tf.reduce_mean((y - tf.reduce_mean(y, (0, 1, 2))) ** 2)
                loss += tf.reduce_mean((candidate(x) - y) ** 2) / variance
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    for images, _ in batches:
        step(images)


def one_by_one(supernet, own: Path, data) -> dict[str, np.ndarray]:
    """Measure the accuracy that held-out images lose, and the loss that they gain, by each choice of each layer alone."""
    changed = {
        (layer, choice): (*own[:layer], choice, *own[layer + 1 :])
        for layer in range(len(own))
        for choice in range(supernet.space.num_choices)
    }
    evaluator = st.Evaluator(supernet, data.validation)
    evaluator.begin_generation(sorted(changed.values()))
    parent = evaluator.evaluate(own)
    tables = {name: np.zeros((len(own), supernet.space.num_choices)) for name in ("accuracy", "loss")}
    for place, path in changed.items():
        found = evaluator.evaluate(path)
        tables["accuracy"][place] = parent["accuracy"] - found["accuracy"]
        tables["loss"][place] = found["loss"] - parent["loss"]
    return tables


def groups(supernet, own: Path, paths, data, batches, passes: int, rate: float) -> dict[str, Callable[[], dict]]:
    """{name: function that computes {score: its value for each path, more is better}}, the cheapest first."""

    def by_features() -> dict:
        return {"features": summed(feature_errors(supernet, own, batches[:FITTED]), paths)}

    def by_layers() -> dict:
        tables = one_by_one(supernet, own, data)
        return prefixed("one_by_one", {name: summed(table, paths) for name, table in tables.items()})

    def distilled() -> dict:  # the last one, since it changes the supernet
        for _ in range(passes):
            distil(supernet, own, batches, rate)
        return prefixed("distilled", {**by_features(), **whole_paths(supernet, paths, data)})

    return {
        "sizes": lambda: sizes(supernet, paths),
        "whole": lambda: whole_paths(supernet, paths, data),
        "features": by_features,
        "one_by_one": by_layers,
        "probe": lambda: prefixed("probe", whole_paths(supernet, paths, data, PROBE)),
        "distilled": distilled,
    }


def prefixed(prefix: str, figures: dict) -> dict:
    """The figures under longer names."""
    return {f"{prefix}_{name}": values for name, values in figures.items()}


def figures_of(scores, truth, shares, rival, resamples: int) -> dict:
    """Rank correlations of scores and truth: of all networks, of similar cost, at constant cost, and beside a rival's scores."""
    scores, truth, shares, rival = (np.asarray(values, float) for values in (scores, truth, shares, rival))
    near = (shares >= NEAR[0]) & (shares < NEAR[1])
    rng = np.random.default_rng(0)
    resampled = [rng.integers(len(truth), size=len(truth)) for _ in range(resamples)]
    beyond = [tau(scores[i], truth[i]) - tau(rival[i], truth[i]) for i in resampled]
    return {
        "tau": kendall(scores.tolist(), truth.tolist(), resamples),
        "tau_similar_cost": kendall(scores[near].tolist(), truth[near].tolist(), resamples) if sum(near) > 1 else None,
        "partial_tau": partial_tau(scores, truth, shares),
        "tau_beyond_accuracy": None if np.isnan(beyond).all() else np.nanquantile(beyond, [0.025, 0.975]).tolist(),
    }


def tau(first, second) -> float:
    """Kendall's tau-b; not a number where one side is constant."""
    return float(stats.kendalltau(first, second).statistic)


def partial_tau(scores, truth, shares) -> float | None:
    """Kendall's tau of score and truth with the cost held constant; None for the cost itself, and for a constant."""
    xy, xz, yz = (tau(*pair) for pair in ((scores, truth), (scores, shares), (truth, shares)))
    rest = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / np.sqrt(rest)) if rest > 0 else None


def with_sums(scores: dict[str, list[float]]) -> dict[str, list[float]]:
    """The scores, the probe's as a search takes it, and sums of ranks with those by multiply-adds."""
    ranks = {name: stats.rankdata(values) for name, values in scores.items()}
    halvings = -np.log2(scores["multiply_adds"])
    taken = {"searched": (np.asarray(scores["probe_accuracy"]) - HALVING_LOSS * halvings).tolist()}
    return (
        scores | taken | {f"{name} + multiply_adds": (ranks[name] + ranks["multiply_adds"]).tolist() for name in SUMMED}
    )


def study(parent: st.Parent, data, training, options, file: pathlib.Path) -> dict:
    """Compute what `file` lacks; {"networks", "scores"} of all."""
    space = st.space_around(parent, input_size=options.pixels)
    own, paths = parent_path(parent, space).choices, drawn(space, data.num_classes, options.networks, options.draw)
    supernet = st.Supernet(space, (options.pixels, options.pixels, 3), data.num_classes, skip="shortcut")
    batches = list(data.train.batches(64, training=True, seed=0, drop_remainder=False))
    warm_start(supernet, parent, batches[:FITTED])
    rows, common = Rows(file), {name: getattr(options, name) for name in KEY}
    networks = []
    for path in paths:
        name = ",".join(map(str, path))
        runs = [
            rows.once(
                {**common, "network": name, "seed": seed},
                functools.partial(trained, supernet, path, data, dataclasses.replace(training, seed=seed)),
            )
            for seed in options.seeds
        ]
        networks.append({**runs[0], "top1": float(np.mean([run["top1"] for run in runs]))})
    values: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for group, compute in groups(supernet, own, paths, data, batches, options.passes, options.rate).items():
        key = {**common, "scores": group, "networks": options.networks}
        row = rows.once(key, lambda: {"values": compute()})  # noqa: B023
        values |= row["values"]
        seconds |= dict.fromkeys(row["values"], row["cpu_seconds"])
    truth = [network["top1"] for network in networks]
    shares = np.array(values["multiply_adds"]) / sizes(supernet, [own])["multiply_adds"][0]
    found = {
        name: {
            **figures_of(scores, truth, shares, values["accuracy"], options.resamples),
            "cpu_seconds": seconds.get(name),
        }
        for name, scores in with_sums(values).items()
    }
    return {"networks": networks, "scores": found}


def main() -> None:
    """Compute what is missing and print the table."""
    options = parse(
        __doc__,
        data=("", "folder of the prepared cifar10"),
        out=("runs/scores", "folder of the results"),
        networks=(24, "how many are trained, at most"),
        draw=(0, "seed of the draw"),
        epochs=(2, "passes over the training images, for the truth"),
        seeds=([0], "of the fine-tuning; the truth is the mean over them"),
        images=(3000, "training images"),
        held_out=(1000, "images that scores are of; the truth is that of 5,000 others"),
        pixels=(SIDE, "side of the images"),
        passes=(1, "passes over the training images of blocks that are trained alone"),
        rate=(1e-3, "their rate of learning"),
        resamples=(2000, "of the intervals"),
        threads=(1, "of TensorFlow's operations"),
    )
    use_threads(options.threads)
    log_to_terminal()
    parent, file = st.parent(PARENT), pathlib.Path(options.out) / "results.jsonl"
    changes = [f"data.max_train_examples={options.images}", f"data.validation_examples={options.held_out}"]
    changes += [f"data.image_size={options.pixels}", *([f"data.directory={options.data}"] if options.data else [])]
    config = load_config(CONFIG, changes)
    training = dataclasses.replace(config.retrain, epochs=options.epochs, teacher=None, init="scratch")
    report("parent_scores", **study(parent, load_dataset(config.data), training, options, file))


if __name__ == "__main__":
    main()
