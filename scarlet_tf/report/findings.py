"""Findings: a run's outcome in a few sentences and a few cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.base.words import kibibytes, millions, percent, plural
from scarlet_tf.report.blocks import BAD, FAIR, GOOD, UNKNOWN, Card, metric_name
from scarlet_tf.report.record import Record

MOST_DROP = 0.01
"""A file is recommended while its top-1 is no further below its network's than this. [reading]"""


def headline(record: Record) -> str:
    """The run in one sentence."""
    network, dataset = record.network, record.dataset
    images = f" of {dataset.name}" if dataset else ""
    following = f" Unfinished: the next stage is {record.next_stage.name}." if record.next_stage else ""
    if network is None:
        return following.strip()
    test = network.test
    return (
        f"The run {record.view.verb} a network of {millions(network.multiply_adds)} multiply-adds that recognises"
        f" {percent(test.accuracy)} of {plural(test.num_examples, 'test image')}{images}.{following}"
    )


def cards(record: Record) -> list[Card]:
    """Accuracy, budget, the file to deploy, what the search was worth, and the reliability of the ranking."""
    return [_accuracy(record), _budget(record), _file(record), *_worth(record), *record.view.trust(record)]


def _accuracy(record: Record) -> Card:
    label, network = "How accurate is it?", record.network
    if network is None:
        return Card(label, "not known yet", "No network was trained on its own yet.", UNKNOWN)
    test, validation = network.test, network.validation
    text = f"top-1 on {plural(test.num_examples, 'test image')}; {percent(validation.accuracy)} on validation images"
    if chance := test.warning:
        return Card(label, f"{percent(test.accuracy)}: not better than chance", f"{text}; {chance}.", BAD)
    return Card(label, percent(test.accuracy), text, FAIR)


def _budget(record: Record) -> Card:
    figures, is_searched = (record.certificate or record.network) if record.network else None, record.view.is_searched
    label = "Does it meet the budget?" if is_searched else "What does it cost?"
    if figures is None:
        bounds = bounds_in_words(record) or "nothing in particular"
        return Card(label, "not known yet", f"Asked for: {bounds}.", UNKNOWN)
    costs = f"{millions(figures.multiply_adds)} multiply-adds, {millions(figures.params)} parameters"
    if not is_searched:
        return Card(label, millions(figures.multiply_adds), costs, FAIR)
    if not record.bounds:
        return Card(label, "no budget", costs, UNKNOWN)
    text = f"{costs}; asked for: {bounds_in_words(record)}"
    if record.network is not None and record.network.as_searched:
        text += f". As searched: {record.network.as_searched}"
    return Card(label, "yes", text, GOOD) if record.keeps_bounds else Card(label, "no", text, BAD)


def _worth(record: Record) -> list[Card]:
    """The race's verdict, if there was a race."""
    race = record.race
    if race is None:
        return []
    label, text = "Was the search worth it?", " ".join(f"{text[:1].upper()}{text[1:]}." for text in race.verdict)
    rivals = [row for row in race.gains if row["kind"] == "rival"]
    if race.is_upset:
        return [Card(label, f"no: {race.row(race.winner)['words']} won", text, BAD)]
    if not rivals:
        return [Card(label, "not known", text or "No rival reached the last rung.", UNKNOWN)]
    if any(row["high"] < 0 for row in rivals):
        return [Card(label, "no", text, BAD)]
    if all(row["low"] > 0 for row in rivals):
        return [Card(label, "yes", text, GOOD)]
    return [Card(label, "not distinguishable", text, FAIR)]


def bounds_in_words(record: Record) -> str:
    """Such as "multiply-adds < 4.00 M"."""
    parts = (bound.partition(" ") for bound in record.bounds)
    return ", ".join(f"{metric_name(name)} {rest}" for name, _, rest in parts)


def recommended(files: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The file of a certificate's to deploy on a phone: passed, hardly less accurate, run as one piece, then the smallest."""
    rows = [row for row in files if row["file"].endswith(".tflite") and passed(row)]
    rows = [row for row in rows if row["verification"]["top1_delta"] >= -MOST_DROP]
    return min(rows, key=lambda row: (row["verification"]["partitions"] or 99, row["bytes"]), default=None)


def passed(row: Mapping[str, Any]) -> bool | None:
    """True if a file of the certificate passed its checks; None if it was not verified."""
    return None if row["verification"] is None else row["verification"]["passed"]


def _file(record: Record) -> Card:
    label, certificate = "Which file goes on the phone?", record.certificate
    if certificate is None:
        return Card(label, "none yet", "The network is not exported.", UNKNOWN)
    row = recommended(certificate.files)
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


def way_on(record: Record) -> str | None:
    """The command that completes an unfinished run."""
    return None if record.next_stage is None else record.command("run")
