"""Four networks that share no weights, two and two, or all four: their order under each kind of sharing (BetaNAS, figure 6).

The four are a quadruple: they agree but in two layers, with two choices at each. Each supernet trains its networks alone, a
step for one of them at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import logging
import shutil
from collections.abc import Sequence

import numpy as np

from scarlet_tf.assessment.ranking import train_alone
from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.assessment.store import Store, name_of
from scarlet_tf.data.inputs import training_batches
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.learning import Learning, Reference
from scarlet_tf.training.loop import Run, train
from scarlet_tf.training.optimizers import Loss
from scarlet_tf.training.supernet import new_supernet, supernet_optimizer
from studies import plots
from studies.settings import SharingConfig
from studies.workshop import Workshop, over_seeds

logger = logging.getLogger("scarlet_tf")
Quadruple = tuple[Architecture, Architecture, Architecture, Architecture]

# Which of a quadruple's networks are in one supernet. [reading] Two-way: those with the same choice in the earlier of
# the two layers in which the four differ.
GROUPS = {"none": ((0,), (1,), (2,), (3,)), "two_way": ((0, 1), (2, 3)), "four_way": ((0, 1, 2, 3),)}
_FIGURES = ["tau", "best_found", "mean_accuracy", "spread"]


def run(shop: Workshop) -> dict:
    """The table: a row for each quadruple, seed and kind of sharing, then means over seeds, last over all quadruples."""
    study, config = shop.study, shop.study.sections["sharing"]
    quadruples = draw_quadruples(study.space, config.quadruples, config.seed)
    references = [_reference(shop, networks) for networks in quadruples]
    rows, histories = [], []
    for seed, number, sharing in itertools.product(study.seeds, range(len(quadruples)), GROUPS):
        logger.info("%s: quadruple %d, sharing %s, seed %d", study.name, number, sharing, seed)
        place = {"quadruple": number, "seed": seed, "sharing": sharing}
        history = _trained(shop, quadruples[number], sharing, seed)
        truth = references[number]["mean"]
        rows.append({**place, **agreement(history["accuracies"][-1], truth)})
        taus = [agreement(accuracies, truth)["tau"] for accuracies in history["accuracies"]]
        histories.append({**place, **history, "tau": taus})
        total = len(study.seeds) * len(quadruples) * len(GROUPS)
        table = shop.save(rows, summary(rows), total, references=references, histories=histories)
        plots.sharing_curves(shop.folder / "curves.png", histories, references)
        plots.sharing_taus(shop.folder / "tau.png", rows)
    return table


def agreement(accuracies: Sequence[float], reference: Sequence[float]) -> dict:
    """Kendall's tau-b with the reference, True if both have the same best network; mean accuracy, greatest minus least."""
    return {
        "tau": kendall(accuracies, reference, resamples=0)["tau"],
        "best_found": bool(np.argmax(accuracies) == np.argmax(reference)),
        "mean_accuracy": float(np.mean(accuracies)),
        "spread": float(np.ptp(accuracies)),
    }


def summary(rows: Sequence[dict]) -> list[dict]:
    """Over seeds for each quadruple and sharing; then of the quadruples' means, so that deviations are those of seeds."""
    means = [{**row, "quadruple": "all"} for row in over_seeds(rows, ["seed", "sharing"], _FIGURES)]
    return [row for some in (rows, means) for row in over_seeds(some, ["quadruple", "sharing"], _FIGURES)]


def _trained(shop: Workshop, networks: Quadruple, sharing: str, seed: int) -> dict:
    """{"steps": [T], "accuracies": [T][4]} under one kind of sharing."""
    config = dataclasses.replace(shop.study.sections["supernet"], seed=seed)
    parts = [
        train_group(shop, [networks[member] for member in group], config, shop.study.sections["sharing"])
        for group in GROUPS[sharing]
    ]
    accuracies = np.concatenate([part["accuracies"] for part in parts], axis=1)
    return {"steps": parts[0]["steps"], "accuracies": accuracies.tolist()}


def _reference(shop: Workshop, networks: Quadruple) -> dict:
    """Accuracies [4] of stand-alone trainings to the end, "runs" with one seed each and their "mean".

    tau: between the runs, the mean over their pairs: the agreement of the reference with itself; None with one run.
    """
    retrain = shop.study.sections["retrain"]
    runs = []
    for number in range(shop.study.sections["sharing"].references):
        # The accuracy is measured once, at the end.
        settings = dataclasses.replace(retrain, seed=retrain.seed + number, validate_every_epochs=retrain.epochs + 1)
        data, size = shop.data, (shop.input_shape, shop.data.num_classes)
        found = train_alone(networks, data.train, data.validation, settings, shop.cache, *size, shop.data_context)
        runs.append([figures["accuracy"] for figures in found])
    taus = [kendall(*pair, resamples=0)["tau"] for pair in itertools.combinations(runs, 2)]
    taus = [tau for tau in taus if tau is not None]
    return {
        "networks": [network.to_string() for network in networks],
        "mean": np.mean(runs, axis=0).tolist(),
        "runs": runs,
        "tau": float(np.mean(taus)) if taus else None,
    }


def draw_quadruples(space: SearchSpace, count: int, seed: int) -> list[Quadruple]:
    """`count` different quadruples, at most as many as the space has, drawn uniformly with `seed`.

    In lexicographic order, so the first two of a quadruple share the choice of the earlier of its two layers, and so do
    the last two.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[tuple, Quadruple] = {}
    while len(drawn) < count:
        quadruple = _draw(space, rng)
        drawn.setdefault(tuple(network.choices for network in quadruple), quadruple)
    return list(drawn.values())


def _draw(space: SearchSpace, rng: np.random.Generator) -> Quadruple:
    choices = list(space.sample(rng).choices)
    first, second = sorted(rng.choice(space.num_layers, 2, replace=False).tolist())
    pairs = [sorted(rng.choice(space.num_choices, 2, replace=False).tolist()) for _ in range(2)]
    networks = []
    for choices[first] in pairs[0]:
        for choices[second] in pairs[1]:
            networks.append(Architecture(tuple(choices), space))
    one, two, three, four = networks
    return one, two, three, four


def train_group(
    shop: Workshop, networks: Sequence[Architecture], config: SupernetConfig, sharing: SharingConfig
) -> dict:
    """{"steps": [T], "accuracies": [T][n]} of n networks trained in one supernet, measured T times.

    steps: each network's own steps so far, `config.epochs` epochs' worth at the end, however many share the
    supernet; the learning rate's schedule and its warm-up extend over the group's own steps. accuracies: on the
    validation images, BN recalibrated for each network. Equal seeds mean equal initial weights, whatever the group. The
    figures are kept in the cache; an interrupted training resumes from its last checkpoint.
    """
    measurement = {key: getattr(sharing, key) for key in ("measure_every", "recalibration_batches", "batch_size")}
    known = {**shop.context(config), "networks": [name_of(network) for network in networks], "measured": measurement}
    store = Store(shop.cache, "sharing", known)
    work = store.folder / "training"
    found = store.get("figures", functools.partial(_train, shop, networks, config, sharing, work))
    shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
    gc.collect()  # the graphs of a supernet no longer needed refer to each other
    return found


def turn(networks: Sequence[Architecture], seed: int, step: int) -> np.ndarray:
    """int32 [1, num_layers]: the network whose turn it is, a pure function of the arguments.

    Every n steps each of the n networks has its turn once, in a newly drawn order, so that at a measurement all have had
    equally many. [reading] Uniform draws, as in BetaNAS, would be equal in the mean only.
    """
    cycle, place = divmod(step, len(networks))
    order = np.random.default_rng((seed, cycle)).permutation(len(networks))
    return np.array([networks[order[place]].choices], np.int32)


def _train(shop: Workshop, networks: Sequence[Architecture], config: SupernetConfig, sharing: SharingConfig, work):
    data, size = shop.data, len(networks)
    steps = data.train.steps_per_epoch(config.batch_size)
    supernet = new_supernet(config, shop.study.space, shop.input_shape, data.num_classes)
    optimizer = supernet_optimizer(config, steps * size, config.epochs * steps * size)
    optimizer.build(supernet.trainable_variables)
    options = {key: getattr(sharing, key) for key in ("recalibration_batches", "batch_size")}
    evaluator = Evaluator(supernet, data.validation, recalibration_data=data.train, **options)

    def measure(epoch: int) -> dict:
        own, rest = divmod(epoch + 1, size)
        if rest or own % sharing.measure_every:
            return {}
        evaluator.forget()
        evaluator.begin_generation(networks)
        return {name_of(network): evaluator.evaluate(network)["accuracy"] for network in networks}

    # A loop's epoch has as many steps as the images have batches, the warm-up counts those of the whole group.
    in_epochs_of_the_loop = dataclasses.replace(config, warmup_epochs=config.warmup_epochs * size)
    reference = Reference.of(data.train, data.num_classes, config.label_smoothing)
    loss = Loss(data.num_classes, config.batch_size, config.label_smoothing)
    run = Run(
        name=f"{size} in one supernet" if size > 1 else "one alone",
        model=supernet,
        optimizer=optimizer,
        step=SupernetStep(supernet, optimizer, loss, "sequential", config.weight_decay, clip_norm=config.clip_norm),
        batches=functools.partial(training_batches, data.train, config.batch_size, config.seed),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs * size,
        learning=Learning("supernet", in_epochs_of_the_loop, reference, folder=work),
        extra=functools.partial(turn, networks, config.seed),
        folder=work,
        checkpoint_seconds=config.checkpoint_seconds,
        on_epoch_end=measure,
        compiled=False,
    )
    measured = [row for row in train(run) if name_of(networks[0]) in row]
    return {
        "steps": [(row["epoch"] + 1) * steps // size for row in measured],
        "accuracies": [[row[name_of(network)] for network in networks] for row in measured],
    }
