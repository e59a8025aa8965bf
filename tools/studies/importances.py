"""Alpha and training of a layer's choices over time, balanced and gradient-driven (BetaNAS, figure 5)."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

from scarlet_tf.betanas.importances import Phases
from studies import importance_plots
from studies.betanas import find
from studies.summary import over_seeds
from studies.workshop import Workshop

logger = logging.getLogger("scarlet_tf")
_FIGURES = [
    "most_trained_share",
    "early_most_trained_share",
    "entropy",
    "early_leader_wins",
    "rank_correlation",
    "winner_most_trained",
    "dropped",
    "one_shot",
    "multiply_adds",
]


def run(shop: Workshop) -> dict:
    """The table: a row for each variant and seed, then means over seeds."""
    study, settings, search = shop.study, shop.study.sections["importances"], shop.study.sections["search"]
    labels = [choice.label for choice in study.space.choices]
    rows, histories = [], []
    for seed in study.seeds:
        config = dataclasses.replace(study.supernets["betanas"], seed=seed)
        for name in settings.variants:
            logger.info("%s: %s, seed %d", study.name, name, seed)
            found = find(shop, config, settings.variant(name, search))
            gc.collect()  # the graphs of a supernet no longer needed refer to each other
            one_shot = {**found.network, "one_shot": found.network["accuracy"]}
            kept = {key: one_shot[key] for key in ("architecture", "one_shot", "multiply_adds", "params")}
            figures = describe(found.history, found.phases, settings.early)
            rows.append({"variant": name, "seed": seed, **figures, **kept, "cpu_seconds": found.cpu_seconds})
            histories.append({"variant": name, "seed": seed, "history": found.history})
            table = shop.save(
                rows,
                over_seeds(rows, ["variant"], _FIGURES),
                len(rows) == len(study.seeds) * len(settings.variants),
                choices=labels,
                histories=histories,
            )
            importance_plots.layer(shop.folder / "layer.png", histories, settings.layer, labels)
            importance_plots.summary(shop.folder / "summary.png", rows)
    return table


def describe(history: Sequence[Mapping], phases: Phases, early: float) -> dict:
    """Course of a training, from its epochs' rows.

    Epochs count from the first that ends after the warm-up; `early` is the share of these before the early look.
    Means over layers: most_trained_share, the share of a layer's weight steps that its most trained choice had,
    and early_most_trained_share, the same up to the early look; entropy, of the shares, 1 where all are equal;
    rank_correlation, Spearman's, between the choices' standings then and at the end. Shares of the layers:
    early_leader_wins, whose leader then is the winner; winner_most_trained, whose winner was trained most. dropped: choices.
    """
    alpha, trained, dropped = (np.array([row[key] for row in history]) for key in ("alpha", "trained", "dropped_at"))
    warm = math.ceil(phases.warmup_steps * len(history) / phases.total_steps)
    look = min(warm + max(1, round(early * (len(history) - warm))), len(history)) - 1
    before = trained[warm - 1] if warm else np.zeros_like(trained[0])
    shares, first = (_shares(trained[end] - before) for end in (-1, look))
    then, last = (standing(alpha[end], dropped[end]) for end in (look, -1))
    winner = last.argmax(axis=1)
    return {
        "most_trained_share": float(shares.max(axis=1).mean()),
        "early_most_trained_share": float(first.max(axis=1).mean()),
        "entropy": float(entropy(shares).mean()),
        "early_leader_wins": float((then.argmax(axis=1) == winner).mean()),
        "rank_correlation": float(np.mean([spearmanr(*pair).statistic for pair in zip(then, last, strict=True)])),
        "winner_most_trained": float((shares.argmax(axis=1) == winner).mean()),
        "dropped": int((dropped[-1] >= 0).sum()),
    }


def standing(alpha: np.ndarray, dropped_at: np.ndarray) -> np.ndarray:
    """Ranks of each layer's choices, 0 the lowest: the dropped ones in the order of dropping, then the others by alpha."""
    gone_at = np.where(dropped_at < 0, np.inf, dropped_at)
    order = np.lexsort((alpha, gone_at), axis=-1)
    return order.argsort(axis=-1)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy of each row [num_layers, num_choices] that sums to 1, divided by that of equal shares."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1) / np.log(shares.shape[1])


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)
