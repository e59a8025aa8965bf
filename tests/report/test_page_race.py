"""The race on the page."""

import json

import pytest
from made_run import STAGES, made_record, race

from scarlet_tf.report.blocks import BAD, FAIR, GOOD, QUIET, UNKNOWN, Note
from scarlet_tf.report.findings import cards
from scarlet_tf.report.record import StageState
from scarlet_tf.report.render import page
from scarlet_tf.report.search_plots import race_blocks
from scarlet_tf.report.sections import sections

RACED = [StageState(name, True) for name in (*STAGES[:2], "race", *STAGES[2:])]


def worth(**changes):
    return cards(made_record(race=race(**changes), ranking=None, stages=RACED))[3]


def test_curves_of_networks_that_were_dropped_are_grey():
    note, plot, gains, tau = race_blocks(made_record(race=race()))
    assert note.text == (
        "Won by finalist 2 of the search. Better than the uniform network by 2.0 points (1.0 to 3.0). Few images."
    )
    traces = {trace["name"]: trace for trace in json.loads(plot.figure)["data"]}
    colours = {name: trace["line"]["color"] for name, trace in traces.items()}
    assert [name for name, colour in colours.items() if colour == QUIET] == ["finalist 1 of the search"]
    assert traces["the uniform network"]["x"] == [1, 2] and traces["the uniform network"]["y"] == pytest.approx(
        [55.0, 85.0]
    )
    assert "the winner recognises 90.00 % of the validation images at the end" in plot.text
    assert plot.table.rows == [
        ["finalist 2 of the search", "won", "1,3,0,2", "0.300 M", "60.00 %", "1.000 (60.00 %)", "1.000 (90.00 %)"],
        ["the uniform network", "-", "1,1,1,1", "0.300 M", "50.00 %", "1.000 (55.00 %)", "1.000 (85.00 %)"],
        ["finalist 1 of the search", "dropped after rung 1", "3,3,3,3", "0.300 M", "70.00 %", "1.000 (50.00 %)", "-"],
    ]
    assert gains.rows == [["the uniform network", "+2.00 points", "+1.00 to +3.00", "20", "12", "400"]]
    assert "(95 %: -1.00 to 1.00)" in tau.text and tau.text.endswith("first rung: -0.33.")


def test_the_last_comparison_of_int8_files_has_its_column():
    raced = race(judge="int8")
    raced["entrants"][1]["rungs"][-1]["int8"] = 0.875
    _, plot, *_ = race_blocks(made_record(race=raced))
    assert plot.table.columns[-1] == "int8 file" and plot.table.rows[0][-1] == "87.50 %"
    assert plot.table.rows[1][-1] == "-"


@pytest.mark.parametrize(
    ("changes", "value", "tone"),
    [
        ({}, "yes", GOOD),
        ({"gains": [{**race()["gains"][0], "low": -0.01}]}, "not distinguishable", FAIR),
        ({"gains": [{**race()["gains"][0], "low": -0.03, "high": -0.01}]}, "no", BAD),
        ({"winner": "uniform"}, "no: the uniform network won", BAD),
        ({"gains": [], "verdict": ["the race was ended by its limit on hours"]}, "not known", UNKNOWN),
    ],
)
def test_what_the_search_was_worth_is_a_card(changes, value, tone):
    card = worth(**changes)
    assert (card.label, card.value, card.tone) == ("Was the search worth it?", value, tone)


def test_the_races_trainings_say_how_the_search_ranks():
    card = cards(made_record(race=race(), ranking=None, monitor=None))[-1]
    assert card.value == "tau -0.33" and card.tone == BAD and "may be chance" in card.text
    assert cards(made_record(race=race(tau=None), ranking=None, monitor=None))[-1].value == "not known"


def test_a_run_without_a_race_has_no_section_and_one_before_it_says_so():
    assert "race" not in [section.identifier for section in sections(made_record())]
    [note] = race_blocks(made_record(race=None))
    assert isinstance(note, Note) and "nothing is known of what the search was worth" in note.text
    [note] = race_blocks(made_record(race=None, network=None))
    assert note.text == "The race has not ended yet."
    text = page(made_record(race=race(), stages=RACED))
    assert "Better than the uniform network by 2.0 points" in text and 'id="race"' in text
