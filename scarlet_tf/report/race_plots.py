"""The race on the page: every network's learning curve, their table, the winner's gains, and the ranking that it measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.base.words import millions, percent, plural
from scarlet_tf.report.blocks import QUIET, SERIES, Note, Plot, Table, counted, figure_json, line, safe
from scarlet_tf.report.record import Record
from scarlet_tf.results import RaceResult


def race_blocks(record: Record) -> Iterator[Any]:
    """Verdict, plot and tables; a note where the run has no race."""
    race = record.race
    if race is None:
        yield Note(
            "No networks raced: the search's best alone was trained, so nothing is known of what the search was worth."
            if record.network is not None
            else "The race has not ended yet."
        )
        return
    yield Note(f"Won by {race.row(race.winner)['words']}. {_sentences(race)}")
    yield _curves(race)
    if race.gains:
        yield _gains(race)
    if race.tau is not None:
        yield Note(f"{tau_in_words(race.tau)}.")


def _sentences(race: RaceResult) -> str:
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in (*race.verdict, *race.notes))


def tau_in_words(tau: Mapping[str, Any]) -> str:
    """Kendall's tau of the search's scores and the accuracies after the first rung, in a sentence."""
    if tau["tau"] is None:
        return f"The {tau['networks']} networks that raced are all equal in score or accuracy, so tau is undefined"
    interval = "" if tau["low"] is None else f" (95 %: {tau['low']:.2f} to {tau['high']:.2f})"
    return (
        f"Kendall's tau{interval} between the search's score of {plural(tau['networks'], 'network')} and their accuracy after"
        f" the race's first rung: {tau['tau']:.2f}"
    )


def _curves(race: RaceResult) -> Plot:
    """Validation accuracy of every network by epoch; those that were dropped are grey."""
    traces, colours = [], iter(SERIES)
    for row in sorted(race.entrants, key=lambda row: row["dropped"] is None):
        known = [each for each in row["history"] if each.get("val_accuracy") is not None]
        colour = QUIET if row["dropped"] is not None else next(colours, SERIES[-1])
        values = [100 * each["val_accuracy"] for each in known]
        traces.append(line([each["epoch"] + 1 for each in known], values, safe(row["words"]), colour))
    longest = max((row["history"] for row in race.entrants), key=len)
    figure = figure_json(traces, "epoch", "accuracy on validation images (%)", 380, xaxis=counted(longest))
    last = race.row(race.winner)["rungs"]
    text = f"{plural(len(race.entrants), 'network')} raced in {plural(len(race.goals), 'rung')}"
    if last:
        text += f"; the winner recognises {percent(last[-1]['accuracy'])} of the validation images at the end"
    return Plot("race", "The race", figure, f"{text}. Curves of networks that were dropped are grey.", _table(race))


def _table(race: RaceResult) -> Table:
    rows = []
    for row in race.table:
        end = "won" if row["won"] else "-" if row["dropped"] is None else f"dropped after rung {row['dropped']}"
        entrant = race.row(row["name"])
        rungs = [f"{each['loss']:.3f} ({percent(each['accuracy'])})" for each in entrant["rungs"]]
        rungs += ["-"] * (len(race.goals) - len(rungs))
        cells = [entrant["words"], end, row["architecture"] or "-", millions(row["multiply_adds"])]
        rows.append(
            [*cells, percent(entrant["score"]), *rungs, *([percent(row["int8"])] if race.judge == "int8" else [])]
        )
    epochs = [f"loss (accuracy) after {goal / race.steps_per_epoch:.3g} epochs" for goal in race.goals]
    columns = ["network", "end", "choices", "multiply-adds", "score of the search", *epochs]
    return Table(
        "Networks of the race", [*columns, *(["int8 file"] if race.judge == "int8" else [])], rows, words=(0, 1, 2)
    )


def _gains(race: RaceResult) -> Table:
    rows = [
        [
            race.row(row["against"])["words"],
            f"{100 * row['gain']:+.2f} points",
            f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}",
            str(row["only_first"]),
            str(row["only_second"]),
            f"{row['images']:,}",
        ]
        for row in race.gains
    ]
    columns = [
        "against",
        "gain",
        "95 % interval",
        "recognised by the winner alone",
        "by the other alone",
        "test images",
    ]
    return Table("The winner's gains", columns, rows)
