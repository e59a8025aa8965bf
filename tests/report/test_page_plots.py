"""The figures behind the plots, against values computed by hand."""

import json

import numpy as np
import pytest
from made_run import SIZES, SPACE, figures, made_record, unfinished_record

from scarlet_tf.report import search_plots, supernet_plots
from scarlet_tf.report.blocks import Note, Plot
from scarlet_tf.report.front import MOST_EVALUATED, found_networks, front_plot
from scarlet_tf.report.sections import sections
from scarlet_tf.report.views import BetaNASView


def traces(plot):
    return {trace.get("name"): trace for trace in json.loads(plot.figure)["data"]}


def test_the_front_lies_at_its_costs_and_the_rest_behind_it():
    record = made_record()
    found = traces(front_plot(record, found_networks(record)))
    assert found["front"]["x"] == [0.1, 0.3] and found["front"]["y"] == [20.0, 60.0]
    assert found["front"]["customdata"] == [1, 2]
    assert found["evaluated"]["x"] == [0.39] and found["evaluated"]["customdata"] == [None]
    assert found["retrained"]["customdata"] == [2]
    assert "1,3,0,2" in found["front"]["hovertext"][1] and "60.00 %" in found["front"]["hovertext"][1]


def test_each_cost_has_a_view_and_the_limit_is_drawn_in_its_own():
    record = made_record()
    plot = front_plot(record, found_networks(record))
    views = {view.label: view for view in plot.views}
    assert list(views) == ["multiply-adds", "parameters"]
    assert views["parameters"].traces["x"][1] == [0.001, 0.003]
    assert views["parameters"].layout["shapes"] == []
    assert views["multiply-adds"].layout["shapes"][0]["x0"] == pytest.approx(0.4)
    assert json.loads(plot.figure)["layout"]["shapes"][0]["x0"] == pytest.approx(0.4)


def test_no_more_evaluated_networks_are_drawn_than_a_page_bears():
    record = made_record(evaluated=[made_record().evaluated[2]] * (2 * MOST_EVALUATED + 1))
    drawn = traces(front_plot(record, found_networks(record)))["evaluated"]["x"]
    assert MOST_EVALUATED / 2 < len(drawn) <= MOST_EVALUATED


def test_hypervolume_goes_by_generations_of_which_the_first_tell_has_two():
    plot = search_plots.hypervolume_plot(made_record())
    trace = traces(plot)["hypervolume"]
    assert trace["x"] == [2, 3] and trace["y"] == [0.125, 0.25]
    assert "From 0.125 to 0.250" in plot.text


def test_input_sizes_that_were_searched_are_listed_before_the_search_that_followed():
    found = {section.identifier: section for section in sections(made_record(sizes=SIZES))}
    note, table, *_ = found["search"].blocks
    assert note.text == (
        "2 sizes of the images, within the same bounds, had a short search each. The best network was found at 8 pixels,"
        " where the search went on."
    )
    assert table.rows == [
        ["6 pixels", "briefly", "8", "0.400", "50.00 %", "0.390 M", "1,1,1,1"],
        ["8 pixels", "to the end", "9", "0.600", "60.00 %", "0.300 M", "1,3,0,2"],
    ]


def test_hypervolume_of_a_baseline_goes_by_what_it_was_told():
    settings = {"search": {"algorithm": "random"}}
    plot = search_plots.hypervolume_plot(made_record(front=None, hypervolume=[0.1, 0.2, 0.4], settings=settings))
    assert traces(plot)["hypervolume"]["x"] == [1, 2, 3]


def test_operators_are_counted_by_what_became_of_their_children():
    plot = search_plots.operators_plot(made_record())
    assert traces(plot)["reached the front"]["y"] == [1, 4]
    assert "prior's: 4 of 8" in plot.text
    assert plot.table.rows[0] == ["random", "8", "6", "3", "1", "0", "+1.25 points"]


def test_the_band_is_a_deviation_wide_on_both_sides():
    found = traces(supernet_plots.training_plot(made_record()))
    x, y = (np.array(found["± one deviation"][axis]) for axis in "xy")
    assert x.tolist() == [1, 2, 3, 3, 2, 1]
    mean = np.array(found["one-shot, mean of the panel"]["y"])
    assert mean.tolist() == [0, 20, 40]
    assert y[:3] - mean == pytest.approx([0, 8, 16]) and y[:2:-1] - mean == pytest.approx([0, -8, -16])


def test_the_histogram_counts_every_network_once():
    found = traces(supernet_plots.histogram_plot(made_record()))
    assert sum(found["random paths, epoch 3"]["y"]) == 3
    assert sum(found["evaluated by the search"]["y"]) == 3


def test_fair_counts_are_said_in_a_sentence_and_unfair_ones_drawn():
    note, table = supernet_plots.fairness(made_record())
    assert isinstance(note, Note) and "each of the 16 choices was trained in 6 steps" in note.text
    assert table.rows[0] == ["1", "6", "6", "6", "6"]
    counts = [[1, 2, 3, 4]] * 4
    (plot,) = supernet_plots.fairness(
        made_record(monitor={**figures()["supernet/monitor.json"], "update_counts": counts})
    )
    assert isinstance(plot, Plot)
    cells = json.loads(plot.figure)["data"][0]
    assert cells["z"][0] == [1] * 4 and cells["y"] == [choice.label for choice in SPACE.choices]


def test_without_a_monitor_the_counts_follow_from_the_sampling():
    note, _ = supernet_plots.fairness(made_record(monitor=None))
    assert "in 6 steps" in note.text


def test_the_ranking_shows_both_measurements_over_the_same_trainings():
    found = traces(search_plots.ranking_plot(made_record()))
    assert found["one-shot, BN recalibrated"]["x"] == pytest.approx([50, 90, 80])
    assert found["one-shot, running BN statistics"]["y"] == pytest.approx([10, 50, 40])


def betanas_record():
    alpha = [[0.0, np.log(2.0), 0.0, 5.0]] + [[0.0] * 4] * 3
    dropped = [[-1, -1, -1, 40]] + [[-1] * 4] * 3
    found = {"alpha": alpha, "dropped_at": dropped, "trained": [[1, 2, 3, 4]] * 4}
    epochs = [{"epoch": e, "loss": 1.0, "accuracy": 0.1, **found} for e in range(2)]
    return made_record(view=BetaNASView(), supernet={"importances": found, "steps": 80}, epochs=epochs, monitor=None)


def test_importances_are_probabilities_of_what_remains():
    plot = supernet_plots.importance_plot(betanas_record())
    cells = json.loads(plot.figure)["data"][0]
    assert [column[0] for column in cells["z"]] == pytest.approx([25.0, 50.0, 25.0, None])
    assert cells["text"][3][0] == "×"
    assert plot.table.rows[0] == ["1", "25.0 %", "50.0 %", "25.0 %", "dropped at step 40"]


def test_alpha_has_a_view_a_layer_and_ends_where_a_choice_was_dropped():
    plot = supernet_plots.alpha_plot(betanas_record())
    assert [view.label for view in plot.views] == ["layer 1", "layer 2", "layer 3", "layer 4"]
    assert plot.views[0].traces["y"][1] == pytest.approx([0.69315, 0.69315], abs=1e-5)
    assert plot.views[0].traces["y"][3] == [None, None]


def test_how_often_betanas_trained_a_choice_is_drawn():
    (plot,) = supernet_plots.fairness(betanas_record())
    assert json.loads(plot.figure)["data"][0]["z"][3] == [4] * 4


def test_nothing_is_plotted_before_there_is_anything():
    record = unfinished_record()
    makers = (search_plots.hypervolume_plot, search_plots.operators_plot, search_plots.comparison_plot)
    makers += (supernet_plots.training_plot, supernet_plots.histogram_plot, search_plots.ranking_plot)
    assert [maker(record) for maker in makers] == [None] * 6
    assert supernet_plots.fairness(record) == []
