import pytest

import scarlet_tf as st
import study_parents
from scarlet_tf.search.budget import shortened, with_shortcut
from study_parents import means, plain

LIMIT = 18_800_000


@pytest.fixture(scope="module")
def parent():
    return st.parent("lite0")


@pytest.mark.parametrize("way", ["smaller", "shallower", "skipped"])
def test_plain_ways_are_within_the_budget_and_a_step_more_is_not(parent, way):
    network = plain(way, parent, LIMIT)
    space = network.space
    assert st.count(network, space.input_size, 10).multiply_adds <= LIMIT
    skips = [i for i, choice in enumerate(network.choices) if space.choices[choice].is_skip]
    residual = with_shortcut(space)
    assert len(residual) == 9
    if way == "shallower":
        assert space.input_size == study_parents.SIDE and set(skips) < set(residual)
        before = shortened(space)[shortened(space).index(network.choices) - 1]
        assert st.count(st.Architecture(before, space), 64, 10).multiply_adds > LIMIT
    else:
        assert skips == ([] if way == "smaller" else residual)
        assert st.count(network, space.input_size + 4, 10).multiply_adds > LIMIT


def test_means_and_their_errors():
    rows = [
        {"way": "smaller", "budget": 1.0, "epochs": 5, "images": 9, "seed": s, "top1": top1, "multiply_adds": 3}
        for s, top1 in enumerate([0.5, 0.6, 0.7])
    ]
    (row,) = means(rows)
    assert row["top1"] == pytest.approx(0.6) and row["standard_error"] == pytest.approx(0.1 / 3**0.5)
