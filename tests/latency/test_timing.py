"""Timing: medians, deviations and ratios worked out by hand; turns that are taken one after another."""

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.latency import timing
from scarlet_tf.latency.timing import Timing, time_interpreters


class FakeInterpreter:
    """Takes a given time by the fake clock for each run."""

    def __init__(self, name, seconds, clock, dtype=np.float32):
        self.name, self.seconds, self.clock, self.dtype = name, seconds, clock, dtype
        self.inputs = {}

    def get_input_details(self):
        return [{"index": 7, "shape": np.array([1, 2, 2, 3]), "dtype": self.dtype}]

    def set_tensor(self, index, values):
        self.inputs[index] = values

    def invoke(self):
        self.clock.now += self.seconds
        self.clock.order.append(self.name)


class Clock:
    def __init__(self):
        self.now, self.order = 0.0, []


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    return clock


def test_median_deviation_and_count_are_those_worked_out_by_hand():
    found = Timing((np.array([1.0, 2.0, 9.0]), np.array([3.0, 4.0])))
    assert (found.milliseconds, found.deviation, found.num_runs) == (3.0, 1.0, 5)


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    slow_in_the_last_round = Timing((np.array([2.0]), np.array([3.0]), np.array([40.0])))
    base = Timing((np.array([1.0]), np.array([1.0]), np.array([10.0])))
    assert slow_in_the_last_round.ratio(base) == 3.0


def test_networks_take_turns_and_their_times_are_told_apart(clock):
    fast, slow = FakeInterpreter("fast", 0.001, clock), FakeInterpreter("slow", 0.5, clock)
    turns = []
    found = time_interpreters([fast, slow], 2, 0.1, lambda: turns.append(len(clock.order)))
    assert [round(each.milliseconds, 6) for each in found] == [1.0, 500.0]
    assert len(turns) == 4
    least = timing.LEAST_RUNS + 1
    assert clock.order[-least:] == ["slow"] * least and clock.order[-least - 1] == "fast"
    assert len(found[0].rounds) == 2 and 95 <= len(found[0].rounds[0]) <= 101


def test_integer_inputs_are_filled_over_their_whole_range(clock):
    network = FakeInterpreter("int8", 0.01, clock, np.int8)
    time_interpreters([network], 1, 0.01)
    assert network.inputs[7].dtype == np.int8 and np.ptp(network.inputs[7].astype(int)) > 100


@pytest.mark.parametrize("options", [{"rounds": 0}, {"seconds_per_round": 0.0}, {"seconds_per_round": float("nan")}])
def test_no_rounds_and_no_time_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        time_interpreters([], **options)
