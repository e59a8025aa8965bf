import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.front import Candidate, best_of, front_of, non_dominated, pick_equispaced
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()


def test_non_dominated_keeps_equal_rows():
    objectives = np.array([[1.0, 1], [1, 1], [2, 2], [0, 3], [0, 4]])
    assert non_dominated(objectives).tolist() == [0, 1, 3]


def candidate(accuracy, multiply_adds, params=1, **others):
    return Candidate(Architecture((0, 0, 0, 0), SPACE), accuracy, multiply_adds, params, others)


def test_the_best_is_the_most_accurate_and_of_equals_the_cheapest():
    front = [candidate(0.5, 100), candidate(0.9, 300, 1), candidate(0.9, 200, 0), candidate(0.7, 150)]
    assert best_of(front) is front[2] and best_of(front[:1]) is front[0]
    scored = [candidate(0.9, 100, score=0.4), candidate(0.5, 200, score=0.6)]
    assert best_of(scored) is scored[1] and front_of(scored) == scored
    assert front_of([candidate(0.9, 100, score=0.4), candidate(0.95, 200, score=0.4)]) == scored[:1]
    with pytest.raises(InputError, match="best: expected a network within the search's bounds"):
        best_of([])


@pytest.mark.parametrize("weights", [(0.4, 0.4, 0.2), {"accuracy": 0, "params": 1, "latency_ms": 1}])
def test_the_best_of_the_front_is_the_best_of_everything_within_the_bounds(rng, weights):
    """Also where accuracy has no weight: dominance is not weighted. Few levels, so that there are ties."""
    objectives = Objectives(weights, upper_bounds={"multiply_adds": 8, "latency_ms": 8}, lower_bounds={"params": 1})
    for _ in range(50):
        evaluated = [
            candidate(a / 5, *costs[:2], latency_ms=costs[2])
            for a, *costs in rng.integers([0, 1, 0, 1], [5, 10, 10, 10], (30, 4)).tolist()
        ]
        within = [c for c in evaluated if c.multiply_adds < 8 and c.others["latency_ms"] < 8 and c.params > 1]
        best = best_of(front_of([c for c in evaluated if objectives.violation(c.metrics) <= 0], objectives))
        assert best in within and best.accuracy == max(c.accuracy for c in within)
        if "multiply_adds" in objectives.names:
            assert best.multiply_adds == min(c.multiply_adds for c in within if c.accuracy == best.accuracy)


def test_picks_are_equispaced_by_arc_length():
    # Scaled to 0..1 the legs are 0.1, 0.1, 0.3, 0.5 long in each of the two objectives that vary.
    front = np.array([[-0.5, 100, 0], [-0.55, 110, 0], [-0.6, 120, 0], [-0.75, 150, 0], [-1.0, 200, 0]])
    shuffled = front[[3, 0, 4, 2, 1]]
    assert pick_equispaced(shuffled, 3) == [1, 0, 2]  # 0, 0.5, 1 of the way
    assert pick_equispaced(shuffled, 1) == [0]
    assert pick_equispaced(shuffled, 2) == [1, 2]
    assert pick_equispaced(shuffled, 4) == [1, 3, 0, 2]  # a third of the way: 0.2 and 0.5 are nearest, in order
    assert pick_equispaced(shuffled, 9) == [1, 4, 3, 0, 2]


def test_picks_never_repeat_when_models_coincide():
    front = np.zeros((5, 3))
    assert sorted(pick_equispaced(front, 3)) == [0, 1, 2]
    with pytest.raises(InputError, match=r"picks: expected an integer >= 1, got 0"):
        pick_equispaced(front, 0)
