"""Views: how the page shows what distinguishes the methods of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from scarlet_tf.report.blocks import BAD, FAIR, GOOD, UNKNOWN, Card, Note
from scarlet_tf.report.record import Record, View
from scarlet_tf.report.search_plots import comparison_plot, hypervolume_plot, operators_plot, tau_in_words
from scarlet_tf.report.supernet_plots import alpha_plot, importance_plot
from scarlet_tf.training.sampling import SANDWICH_RANDOM, update_counts

MONITORED_PATHS = "supernet.monitor_paths=32"

STRONG_TAU, WEAK_TAU = 0.7, 0.4
"""Kendall's tau from which an order is called good, and below which poor: at 0.4 of ten pairs seven are in order. [reading]"""


class SearchView(View):
    """Runs that search a fair supernet."""

    sections: ClassVar[tuple[str, ...]] = (
        "front",
        "race",
        "network",
        "files",
        "supernet",
        "ranking",
        "search",
        "settings",
    )

    def trust(self, record: Record) -> list[Card]:
        label = "Can the ranking be trusted?"
        if record.ranking is not None:
            return [_measured(label, record)]
        if record.supernet is not None and record.supernet.not_learning:
            text = "The supernet's training learned nothing by its end, so there is nothing to rank."
            return [Card(label, "no", text, BAD)]
        if record.race is not None and record.race.tau is not None:
            return [_raced(label, record.race.tau)]
        return [self._unmeasured(label, record)]

    def _unmeasured(self, label: str, record: Record) -> Card:
        if record.monitor is None:
            text = "Neither monitored nor measured. To measure it:"
            return Card(label, "not known", text, UNKNOWN, record.command("rank"))
        verdict = record.monitor.verdict
        value, tone = {True: ("nothing against it", FAIR), False: ("no", BAD), None: ("undecided", UNKNOWN)}[
            verdict.trusted
        ]
        return Card(label, value, f"The monitor: {verdict.text}. To measure it:", tone, record.command("rank"))

    def supernet_note(self, record: Record) -> Note:
        if record.supernet is None and not record.epochs:
            command = record.command("train-supernet", "--set", MONITORED_PATHS)
            return Note("To watch one-shot accuracies from the first epoch on:", command)
        return Note(
            "The training was not monitored, so one-shot accuracies are known from the search alone. A run that is:",
            record.new_run_command("monitored", "--set", MONITORED_PATHS),
        )

    def search(self, record: Record) -> Iterator[Any]:
        yield from (hypervolume_plot(record), operators_plot(record))
        yield comparison_plot(record) or Note(
            "This search was not compared with random draws. This compares them:", record.command("search", "--compare")
        )

    def update_counts(self, record: Record) -> np.ndarray | None:
        if record.monitor is not None:
            return np.array(record.monitor.update_counts)
        if record.supernet is None:
            return None
        settings, seed = record.settings["supernet"], record.seeds["supernet"]
        num_random = settings.get("sandwich_random", SANDWICH_RANDOM)
        return update_counts(settings["sampling"], record.space, seed, 0, record.supernet.steps, num_random)


class BetaNASView(SearchView):
    """Runs that decide by importances."""

    kept = ("supernet",)
    has_histogram = False

    def _unmeasured(self, label: str, record: Record) -> Card:
        text = "BetaNAS decides by importances that are trained with the weights. Their quality is not measured."
        return Card(label, "no ranking", text, UNKNOWN)

    def supernet_note(self, record: Record) -> Note:
        return Note("BetaNAS drops choices, so there is no fixed panel of paths that could be watched.")

    def search(self, record: Record) -> Iterator[Any]:
        yield from (importance_plot(record), alpha_plot(record), comparison_plot(record))

    def update_counts(self, record: Record) -> np.ndarray | None:
        found = record.supernet.importances if record.supernet is not None else None
        return None if found is None else np.array(found["trained"])


class FinetuneView(SearchView):
    """Runs that fine-tune a network, without a supernet and a search."""

    sections = ("network", "files", "settings")
    is_searched = False
    verb = training = "fine-tuned"

    def trust(self, record: Record) -> list[Card]:
        return []


_SCORES = {
    "predicted": "accuracy predicted from the other networks'",
    "score": "the score that the search compares by",
    "loss": "one-shot loss",
    "recalibrated": "one-shot accuracy",
}


def _measured(label: str, record: Record) -> Card:
    assert record.ranking is not None
    known, networks = record.ranking.tau, len(record.ranking.networks)
    by_model = record.known_by == "predicted" or record.settings["search"].get("score") == "predictor"
    name = next(name for name in _SCORES if name in known and (by_model or name != "predicted"))
    tau = known[name]
    if tau["tau"] is None:
        return Card(label, "undefined", f"The {networks} networks that were compared are all equal.", UNKNOWN)
    interval = "" if tau["low"] is None else f" (95 %: {tau['low']:.2f} to {tau['high']:.2f})"
    found = f"Kendall's tau{interval} between {_SCORES[name]} and the accuracy of {networks} networks trained on their own: "
    return _judged(label, tau, found)


def _raced(label: str, tau: Mapping[str, Any]) -> Card:
    text = tau_in_words(tau)
    return Card(label, "undefined", f"{text}.", UNKNOWN) if tau["tau"] is None else _judged(label, tau, f"{text}; ")


def _judged(label: str, tau: Mapping[str, Any], text: str) -> Card:
    if tau["low"] is not None and tau["low"] <= 0:
        return Card(label, f"tau {tau['tau']:.2f}", text + "it may be chance.", BAD)
    if tau["tau"] >= STRONG_TAU:
        return Card(label, f"tau {tau['tau']:.2f}", text + "the order is good.", GOOD)
    if tau["tau"] >= WEAK_TAU:
        return Card(label, f"tau {tau['tau']:.2f}", text + "the order is rough.", FAIR)
    return Card(label, f"tau {tau['tau']:.2f}", text + "the order is poor.", BAD)
