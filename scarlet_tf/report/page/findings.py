"""Findings: a run's outcome in a few sentences and four cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from scarlet_tf.report.page.record import Record
from scarlet_tf.report.page.wording import metric_name
from scarlet_tf.words import before_scaling, chance_warning, kibibytes, millions, percent, plural

GOOD, FAIR, BAD, UNKNOWN = "good", "fair", "bad", "unknown"

MOST_DROP = 0.01
"""A file is recommended while its top-1 is no further below its network's than this. [reading]"""

STRONG_TAU, WEAK_TAU = 0.7, 0.4
"""Kendall's tau from which an order is called good, and below which poor: at 0.4 of ten pairs seven are in order. [reading]"""


@dataclasses.dataclass(frozen=True)
class Card:
    """One finding: a question's `label`, its answer in short, and a sentence; `tone` is GOOD, FAIR, BAD or UNKNOWN."""

    label: str
    value: str
    text: str
    tone: str
    command: str | None = None


def headline(record: Record) -> str:
    """The run in one sentence."""
    retrained, dataset = record.retrained, record.dataset
    images = f" of {dataset['name']}" if dataset else ""
    following = f" Unfinished: the next stage is {record.next_stage.name}." if record.next_stage else ""
    if not retrained:
        return following.strip()
    verb = "found" if record.is_searched else "fine-tuned"
    test = retrained["test"]
    return (
        f"The run {verb} a network of {millions(retrained['multiply_adds'])} multiply-adds that recognises"
        f" {percent(test['accuracy'])} of {plural(test['num_examples'], 'test image')}{images}.{following}"
    )


def cards(record: Record) -> list[Card]:
    """Accuracy, budget, the file to deploy, and the reliability of the ranking."""
    found = [_accuracy(record), _budget(record), _file(record)]
    return [*found, _trust(record)] if record.is_searched else found


def _accuracy(record: Record) -> Card:
    label, retrained = "How accurate is it?", record.retrained
    if not retrained:
        return Card(label, "not known yet", "No network was trained on its own yet.", UNKNOWN)
    test, validation = retrained["test"], retrained["validation"]
    text = (
        f"top-1 on {plural(test['num_examples'], 'test image')}; {percent(validation['accuracy'])} on validation images"
    )
    if chance := chance_warning(test):
        return Card(label, f"{percent(test['accuracy'])}: not better than chance", f"{text}; {chance}.", BAD)
    return Card(label, percent(test["accuracy"]), text, FAIR)


def _budget(record: Record) -> Card:
    figures = record.certificate if record.retrained and record.certificate else record.retrained
    label = "Does it meet the budget?" if record.is_searched else "What does it cost?"
    if not figures:
        bounds = bounds_in_words(record) or "nothing in particular"
        return Card(label, "not known yet", f"Asked for: {bounds}.", UNKNOWN)
    costs = f"{millions(figures['multiply_adds'])} multiply-adds, {millions(figures['params'])} parameters"
    if not record.is_searched:
        return Card(label, millions(figures["multiply_adds"]), costs, FAIR)
    if not record.bounds:
        return Card(label, "no budget", costs, UNKNOWN)
    text = f"{costs}; asked for: {bounds_in_words(record)}"
    if "scaling" in record.retrained:
        text += f". As searched: {before_scaling(record.retrained)}"
    return Card(label, "yes", text, GOOD) if record.keeps_bounds else Card(label, "no", text, BAD)


def bounds_in_words(record: Record) -> str:
    """Such as "multiply-adds < 4.00 M"."""
    parts = (bound.partition(" ") for bound in record.bounds)
    return ", ".join(f"{metric_name(name)} {rest}" for name, _, rest in parts)


def recommended(certificate: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row of the file to deploy on a phone: passed, hardly less accurate, run as one piece, then the smallest."""
    rows = [row for row in certificate["files"] if row["file"].endswith(".tflite") and passed(row)]
    rows = [row for row in rows if row["verification"]["top1_delta"] >= -MOST_DROP]
    return min(rows, key=lambda row: (row["verification"]["partitions"] or 99, row["bytes"]), default=None)


def passed(row: Mapping[str, Any]) -> bool | None:
    """True if a file of the certificate passed its checks; None if it was not verified."""
    if row["verification"] is None:
        return None
    return row["verification"].get("passed", True)  # certificates of version 1 had no checks


def _file(record: Record) -> Card:
    label, certificate = "Which file goes on the phone?", record.certificate
    if not certificate:
        return Card(label, "none yet", "The network is not exported.", UNKNOWN)
    row = recommended(certificate)
    if row is None:
        text = f"No .tflite file passed its checks within {100 * MOST_DROP:g} point of the network's accuracy."
        return Card(label, "none", text, BAD)
    found, folder = row["verification"], record.folder / "export"
    pieces = "in one piece" if found["partitions"] == 1 else f"in {found['partitions']} pieces"
    text = (
        f"{kibibytes(row['bytes'])}, {percent(found['top1'])} of {plural(found['num_images'], 'test image')}, runs {pieces}"
        f" under XNNPACK. In {folder}. Not measured on a phone."
    )
    return Card(label, row["file"], text, GOOD)


def _trust(record: Record) -> Card:
    label = "Can the ranking be trusted?"
    if record.ranking:
        return _measured_trust(label, record.ranking)
    if record.supernet.get("not_learning"):
        return Card(
            label, "no", "The supernet's training learned nothing by its end, so there is nothing to rank.", BAD
        )
    verdict = record.monitor.get("verdict")
    if record.is_betanas:
        text = "BetaNAS decides by importances that are trained with the weights. Their quality is not measured."
        return Card(label, "no ranking", text, UNKNOWN)
    if verdict is not None:
        value, tone = {True: ("nothing against it", FAIR), False: ("no", BAD), None: ("undecided", UNKNOWN)}[
            verdict["trusted"]
        ]
        text = f"The monitor: {verdict['text']}. To measure it:"
        return Card(label, value, text, tone, record.command("rank"))
    return Card(label, "not known", "Neither monitored nor measured. To measure it:", UNKNOWN, record.command("rank"))


def _measured_trust(label: str, ranking: Mapping[str, Any]) -> Card:
    tau, networks = ranking["tau"]["recalibrated"], len(ranking["networks"])
    if tau["tau"] is None:
        return Card(label, "undefined", f"The {networks} networks that were compared are all equal.", UNKNOWN)
    interval = "" if tau["low"] is None else f" (95 %: {tau['low']:.2f} to {tau['high']:.2f})"
    text = f"Kendall's tau{interval} between one-shot and stand-alone accuracy of {networks} networks: "
    if tau["low"] is not None and tau["low"] <= 0:
        return Card(label, f"tau {tau['tau']:.2f}", text + "it may be chance.", BAD)
    if tau["tau"] >= STRONG_TAU:
        return Card(label, f"tau {tau['tau']:.2f}", text + "the order is good.", GOOD)
    if tau["tau"] >= WEAK_TAU:
        return Card(label, f"tau {tau['tau']:.2f}", text + "the order is rough.", FAIR)
    return Card(label, f"tau {tau['tau']:.2f}", text + "the order is poor.", BAD)


def way_on(record: Record) -> str | None:
    """The command that completes an unfinished run."""
    return None if record.next_stage is None else record.command("run")
