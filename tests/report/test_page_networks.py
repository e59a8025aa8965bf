"""The networks of the front, and the commands that take them."""

import pathlib
import shlex

from made_run import figures, made_record, row

from scarlet_tf.report.front import found_networks, front_table, shown_first


def test_networks_keep_the_order_of_the_front_and_know_their_picks():
    networks = found_networks(made_record())
    assert [(n.number, n.choices, list(n.picks), n.is_retrained) for n in networks] == [
        (1, "3,3,3,3", ["0"], False),
        (2, "1,3,0,2", ["best", "1"], True),
    ]
    assert networks[1].figures == [
        ("estimated accuracy", "60.00 %"),
        ("multiply-adds", "0.300 M"),
        ("parameters", "0.003 M"),
    ]
    assert shown_first(networks, None) == 2


def test_a_pick_that_is_not_on_the_front_comes_behind_it():
    front = figures()["pareto.json"]
    picks = [*front["picks"], row("1,1,1,1", name="mine")]
    networks = found_networks(made_record(front={**front, "picks": picks}))
    assert [(n.choices, n.on_front) for n in networks][-1] == ("1,1,1,1", False)


def test_the_retrained_network_needs_no_command_and_others_get_a_folder_of_their_own():
    other, retrained = found_networks(made_record())
    assert retrained.command is None
    assert retrained.note.startswith("This is the network that was retrained, best: the best network found")
    words = shlex.split(other.command)
    assert words[:4] == ["mkdir", "-p", "runs/made_network_1", "&&"]
    assert words[4:10] == ["cp", "-r", "runs/made/supernet", "runs/made/search", "runs/made_network_1", "&&"]
    assert words[10:] == [
        *("scarlet", "run", "runs/made/config.yaml", "--run-dir", "runs/made_network_1"),
        *("--set", 'search.picks={chosen: "3,3,3,3"}', "--set", "retrain.pick=chosen"),
    ]


def test_before_retraining_the_wanted_network_is_had_by_going_on():
    networks = found_networks(made_record(network=None, certificate=None))
    assert networks[1].command == "scarlet run runs/made/config.yaml --run-dir runs/made"
    assert shown_first(networks, "1,3,0,2") == 2


def test_commands_quote_names_that_a_shell_would_take_apart():
    record = made_record(folder=pathlib.PurePosixPath("my runs/$(x)"))
    assert "'my runs/$(x)/supernet'" in found_networks(record)[0].command


def test_the_table_of_the_front_has_a_row_a_network():
    table = front_table(found_networks(made_record()))
    assert list(table.columns) == ["network", "pick", "estimated accuracy", "multiply-adds", "parameters", "choices"]
    assert table.rows[1] == ["2", "best, 1 (retrained)", "60.00 %", "0.300 M", "0.003 M", "1,3,0,2"]
