"""Plots of searches, of networks trained on their own and of the race: hypervolume, operators, a training, the ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import plotly.graph_objects as go

from scarlet_tf.assessment.plots import series_of, tau_text
from scarlet_tf.base.words import interval, millions, percent, plural
from scarlet_tf.report.blocks import QUIET, SERIES, Note, Plot, Table, counted, figure_json, line, safe, wrapped
from scarlet_tf.report.record import Record
from scarlet_tf.results import RaceResult


def hypervolume_plot(record: Record) -> Plot | None:
    """Hypervolume after each tell; None if there is only one value."""
    values = record.hypervolume
    if len(values) < 2:
        return None
    # NSGA-II's first tell is of 2 N networks, which count as two generations.
    first, step = (2, "generation") if record.settings["search"]["algorithm"] == "nsga2" else (1, "told")
    steps = list(range(first, first + len(values)))
    figure = figure_json(
        [line(steps, values, "hypervolume", SERIES[0])], step, "hypervolume (share)", 320, xaxis=counted(steps)
    )
    rise = values[-1] - values[len(values) // 2]
    text = (
        f"From {values[0]:.3f} to {values[-1]:.3f} of the box that space and bounds fix; the second half of the search"
        f" added {rise:.3f}."
    )
    table = Table(
        "Hypervolume", [step, "hypervolume"], [[str(s), f"{v:.4f}"] for s, v in zip(steps, values, strict=True)]
    )
    return Plot("hypervolume", "Hypervolume of the front", figure, text, table)


_FATES = {"children": "children", "evaluated": "evaluated", "survived": "survived", "front": "reached the front"}


def operators_plot(record: Record) -> Plot | None:
    """Outcome of each operator's children; None for a search without operators."""
    operators = record.front.details.get("operators") if record.front is not None else None
    if not operators:
        return None
    names = list(operators)
    bars = [
        go.Bar(x=names, y=[operators[name][key] for name in names], name=label, marker={"color": SERIES[i]})
        for i, (key, label) in enumerate(_FATES.items())
    ]
    rows = [
        [name, *(str(row[key]) for key in (*_FATES, "failed")), _points(row["mean_accuracy_change"])]
        for name, row in operators.items()
    ]
    table = Table(
        "Children of each operator", ["operator", *_FATES.values(), "failed", "mean change of accuracy"], rows
    )
    best = max(names, key=lambda name: operators[name]["front"] / max(1, operators[name]["children"]))
    row = operators[best]
    text = f"The greatest share of children on the front is {best}'s: {row['front']} of {row['children']}."
    figure = figure_json(bars, "", "networks", 340, barmode="group")
    return Plot("operators", "Mutation operators", figure, text, table)


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f} points"


def comparison_plot(record: Record) -> Plot | None:
    """Hypervolume against evaluations, a line for each search of `scarlet search --compare`."""
    compared = record.comparison
    if compared is None:
        return None
    traces: list[Any] = []
    for number, (name, row) in enumerate(compared.algorithms.items()):
        for search in row.searches:
            steps = {"x": [at for at, _ in search["hypervolume"]], "y": [value for _, value in search["hypervolume"]]}
            colour = {"color": SERIES[number % len(SERIES)], "shape": "hv", "width": 1.5}
            first = search is row.searches[0]
            label = f"{safe(name)}, seed {search['seed']}"
            traces.append(
                go.Scatter(
                    **steps, mode="lines", line=colour, name=safe(name), legendgroup=name, showlegend=first, text=label
                )
            )
    target = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": compared.target, "y1": compared.target}
    target["line"] = {"color": QUIET, "dash": "dash", "width": 1.5}
    figure = figure_json(traces, "evaluations", "hypervolume (share)", shapes=[target], xaxis={"type": "log"})
    rows = [
        [
            name,
            str(row.seeds),
            interval(row.hypervolume, ".4f"),
            interval(row.evaluations_to_target, ".0f"),
            interval(row.ratio_to_random, ".2f"),
        ]
        for name, row in compared.algorithms.items()
    ]
    columns = ["search", "seeds", "hypervolume", "evaluations to target", "ratio to random"]
    text = (
        f"{len(rows)} kinds of search with {plural(compared.evaluations, 'evaluation')} each; the dashed line is the target"
        f" of {compared.target:.4f}. Medians over seeds with 95 % intervals are in the table."
    )
    return Plot("comparison", "Searches compared", figure, text, Table("Medians over seeds", columns, rows))


def retraining_plot(record: Record) -> Plot | None:
    """Accuracy of the network that was retrained or fine-tuned, epoch by epoch."""
    network = record.network
    if network is None or not network.history:
        return None
    rows = network.history
    series = {"accuracy": "training images", "val_accuracy": "validation images"}
    traces, cells = [], []
    for number, (key, label) in enumerate(series.items()):
        known = [row for row in rows if row.get(key) is not None]
        values = [100 * row[key] for row in known]
        traces.append(line([row["epoch"] + 1 for row in known], values, label, SERIES[1 - number]))
    for row in rows:
        cells.append([str(row["epoch"] + 1), f"{row['loss']:.3f}", *(percent(row.get(key)) for key in series)])
    last, test = network.validation, network.test
    text = (
        f"After {plural(len(rows), 'epoch')} it recognises {percent(last.accuracy)} of"
        f" {plural(last.num_examples, 'validation image')} and {percent(test.accuracy)} of"
        f" {plural(test.num_examples, 'test image')}."
    )
    figure = figure_json(traces, "epoch", "accuracy (%)", 340, xaxis=counted(rows))
    table = Table("Epochs", ["epoch", "loss", *series.values()], cells)
    return Plot("retraining", "Its training", figure, text, table)


def ranking_plot(record: Record) -> Plot | None:
    """Accuracies told beforehand against those of networks' own trainings, where some were trained."""
    ranking = record.ranking
    if ranking is None:
        return None
    rows, symbols, told = ranking.networks, ("circle", "x", "cross"), series_of(ranking.tau)
    traces = [
        go.Scatter(
            x=[100 * row["stand_alone"] for row in rows],
            y=[100 * row[key] for row in rows],
            mode="markers",
            name=safe(label),
            marker={"color": SERIES[number], "size": 10, "symbol": symbols[number]},
            hovertext=[wrapped(row["architecture"]) for row in rows],
            hovertemplate="%{hovertext}<br>alone %{x:.2f} %, told beforehand %{y:.2f} %<extra></extra>",
        )
        for number, (key, _, label) in enumerate(told.values())
    ]
    figure = figure_json(traces, "accuracy, trained on its own (%)", "accuracy told beforehand (%)")
    labels = {name: label for name, (*_, label) in told.items()}
    labels |= {"loss": "by the one-shot loss", "score": "by the score that the search compares one-shot figures by"}
    found = "; ".join(
        f"{label}: {tau_text(ranking.tau[name])}" for name, label in labels.items() if name in ranking.tau
    )
    text = (
        f"{plural(len(rows), 'network')} of the space, from cheap to expensive, each trained on its own. Kendall's tau with its"
        f" 95 % interval: {found}. 1 is the same order, 0 none."
    )
    columns = ["choices", "M multiply-adds", "trained on its own", *(label for *_, label in told.values())]
    cells = [
        [
            row["architecture"],
            f"{row['multiply_adds'] / 1e6:.2f}",
            percent(row["stand_alone"]),
            *(percent(row[key]) for key, *_ in told.values()),
        ]
        for row in rows
    ]
    return Plot(
        "one-shot-against-alone", "Told beforehand, and trained", figure, text, Table("The networks", columns, cells)
    )


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
