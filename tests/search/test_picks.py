import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.front import Candidate, check_picks, check_picks_of, pick_models
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()
GOALS = Objectives()


def candidate(number, accuracy, multiply_adds, params):
    return Candidate(
        Architecture((number, 0, 0, 0), SPACE), accuracy, multiply_adds, params, {"latency_ms": 10.0 - number}
    )


FRONT = [candidate(0, 0.5, 100, 10), candidate(1, 0.7, 200, 20), candidate(2, 0.8, 400, 30)]
DOMINATED = candidate(3, 0.4, 500, 5)


def pick(**picks):
    found = pick_models(FRONT, [*FRONT, DOMINATED], GOALS, picks)
    return {name: model.architecture.choices[0] for name, model in found.items()}


def test_a_number_picks_along_the_front():
    found = pick_models(FRONT, FRONT, GOALS, 2)
    assert list(found) == ["0", "1"] and list(found.values()) == [FRONT[0], FRONT[2]]


def test_bounds_pick_the_most_accurate_model_within_them():
    found = pick(
        small={"multiply_adds": 300}, tight={"multiply_adds": 200}, quick={"latency_ms": 9.5}, rich={"params": 25}
    )
    assert found == {"small": 1, "tight": 0, "quick": 2, "rich": 2}


def test_a_floor_on_accuracy_picks_the_cheapest_model_above_it():
    assert pick(enough={"accuracy": 0.6}) == {"enough": 1}


def test_choices_pick_an_evaluated_model_whether_or_not_it_is_on_the_front(caplog):
    assert pick(mine="3, 0,0,0", other="2,2,2,2") == {"mine": 3}
    assert "search.picks.other: 2,2,2,2 was not evaluated" in caplog.text


def test_what_no_model_meets_is_left_out_and_said_with_the_reach(caplog):
    assert pick(none={"multiply_adds": 100}) == {}
    assert "search.picks.none: no model of the front is within its bounds" in caplog.text
    assert "the front reaches multiply_adds of 100" in caplog.text


def test_a_metric_that_nothing_measured_is_left_out(caplog):
    assert pick(a={"energy": 3}) == {}
    assert "search.picks.a: nothing was measured of energy" in caplog.text


@pytest.mark.parametrize(
    "picks, message",
    [
        (0, r"search\.picks: expected an integer >= 1, or a mapping of names to bounds, got 0"),
        (True, r"search\.picks: .* got True"),
        ({}, r"search\.picks: expected at least one name"),
        ({3: {"params": 1}}, r"search\.picks: expected names, got 3"),
        ({"3": {"params": 1}}, r"search\.picks\.3: expected a name that is neither a number nor best"),
        ({"a": {"params": "x"}}, r"search\.picks\.a\.params: expected a finite number, got 'x'"),
        ({"a": {}}, r"search\.picks\.a: expected bounds such as"),
    ],
)
def test_bad_picks_are_named(picks, message):
    with pytest.raises(InputError, match=message):
        check_picks(picks)


def test_named_picks_are_checked_before_a_search():
    check_picks_of({"a": {"params": 1}, "b": "0,1,2,3"}, SPACE, ("accuracy", "params"))
    check_picks_of(3, SPACE, ())
    with pytest.raises(
        InputError, match=r"search\.picks\.a\.energy: unknown metric; expected some of accuracy, params"
    ):
        check_picks_of({"a": {"energy": 3}}, SPACE, ("accuracy", "params"))
    with pytest.raises(InputError, match=r"search\.picks\.b: "):
        check_picks_of({"b": "0,4"}, SPACE, ())
