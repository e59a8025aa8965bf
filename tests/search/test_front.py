import numpy as np
import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.search.front import non_dominated, pick_equispaced


def test_non_dominated_keeps_equal_rows():
    objectives = np.array([[1.0, 1], [1, 1], [2, 2], [0, 3], [0, 4]])
    assert non_dominated(objectives).tolist() == [0, 1, 3]


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
