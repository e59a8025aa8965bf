"""Four networks that share no weights, two and two, or all four: their order under each kind of sharing (BetaNAS, figure 6)."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence

import numpy as np

from scarlet_tf.assessment.ranking import train_alone
from scarlet_tf.assessment.statistics import kendall
from studies import plots
from studies.quadruples import Quadruple, draw_quadruples
from studies.shared_training import train_group
from studies.summary import over_seeds
from studies.workshop import Workshop

logger = logging.getLogger("scarlet_tf")

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
        table = shop.save(
            rows,
            summary(rows),
            len(rows) == len(study.seeds) * len(quadruples) * len(GROUPS),
            references=references,
            histories=histories,
        )
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
