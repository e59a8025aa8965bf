"""The simulation of many workers: its clock by hand, and searches that end alike whatever dies."""

import json
import sys

import pytest

import simulate_workers

SMALL = ("--population", "6", "--generations", "4", "--restart-seconds", "1")
# Every group takes one second, and nothing else takes any.
SECONDS = ("--group-seconds", "1", "--giga-seconds", "0", "--worker-trial-seconds", "0", "--chief-trial-seconds", "0")


def simulated(capsys, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["simulate_workers.py", *SMALL, *options])
    simulate_workers.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_time_by_hand(capsys, monkeypatch):
    """Alone, a second for the first twelve networks and for each generation of six after them; so with a worker for each."""
    found = simulated(capsys, monkeypatch, *SECONDS, "--workers", "1", "64", "--deaths-per-hour", "0")
    assert found["alone_seconds"] == 3 and found["equal"] and 0 < found["hypervolume"] < 1
    one, many = found["workers"]
    assert one["seconds"] == int(one["seconds"]) > 3  # of whole groups, several a generation
    pauses = 2 * simulate_workers.LONGEST_PAUSE  # idle workers ask after the second and the third generation
    assert 3 <= many["seconds"] <= 3 + pauses
    assert many["efficiency"] == pytest.approx(3 / (64 * many["seconds"])) and many["deaths"] == 0


@pytest.mark.parametrize("frozen", ["0", "0.5"])
def test_deaths_of_workers_and_of_the_chief_cost_time_alone(frozen, capsys, monkeypatch):
    often = ("--deaths-per-hour", "1200", "--frozen", frozen)
    found = simulated(capsys, monkeypatch, *SECONDS, "--workers", "2", "3", *often)
    assert found["equal"]
    for row in found["workers"]:
        assert row["deaths"] >= 2 and row["seconds_with_deaths"] > row["seconds"]


def test_a_search_that_a_death_changed_is_told(capsys, monkeypatch):
    simulate, outcomes = simulate_workers.Problem.simulate, []

    def changed(problem, workers, rate):
        outcomes.append(simulate(problem, workers, rate))
        if rate:
            trial = next(iter(outcomes[-1].results))
            outcomes[-1].results[trial] = None
        return outcomes[-1]

    monkeypatch.setattr(simulate_workers.Problem, "simulate", changed)
    assert not simulated(capsys, monkeypatch, "--workers", "2")["equal"]
