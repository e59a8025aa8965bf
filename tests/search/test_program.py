"""The integer program: the best of all networks within bounds, against trying every one."""

import itertools

import numpy as np
from tiny import tiny_space

from scarlet_tf.search.objectives import CostModel, make_objectives
from scarlet_tf.search.program import PathProgram
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.equivalence import canonical
from scarlet_tf.space.metric_table import MetricTable, parts

SPACE = tiny_space()
COSTS = CostTable(SPACE, 8, 5)
EVERY = np.array(list(itertools.product(range(4), repeat=4)))
ALL = np.ones((4, 4), bool)


def table(rng) -> MetricTable:
    entries = {key: [rng.uniform(0.1, 1.0)] for key, _, _ in parts(SPACE, 8, 5)}
    return MetricTable(SPACE, 8, 5, ["latency_ms"], entries)


def objectives(**bounds):
    return make_objectives((0.4, 0.4, 0.2), bounds.pop("max_multiply_adds", None), None, **bounds)


def test_without_bounds_it_is_the_best_choice_of_each_layer(rng):
    scores = rng.normal(size=(4, 4))
    found = PathProgram(CostModel(COSTS)).find(scores, np.ones((4, 4), bool), objectives())
    assert found == tuple(scores.argmax(axis=1))


def test_it_is_the_best_of_all_networks_within_several_bounds(rng):
    """Against trying all 256; costs depend on the channels that skips leave, so layers cannot be decided one by one."""
    figures = CostModel(COSTS, table(rng))
    program, all_figures, none = PathProgram(figures), figures.of(EVERY), 0
    for _ in range(40):
        scores, allowed = rng.normal(size=(4, 4)), rng.random((4, 4)) < 0.7
        allowed[np.arange(4), rng.integers(4, size=4)] = True
        bounds = objectives(
            max_multiply_adds=rng.uniform(*figures.bounds["multiply_adds"]),
            upper_bounds={"latency_ms": rng.uniform(*figures.bounds["latency_ms"])},
            lower_bounds={"params": figures.bounds["params"][0] * rng.uniform(0.9, 1.5)},
        )
        fits = allowed[np.arange(4), EVERY].all(axis=1) & bounds.meets(all_figures)
        found = program.find(scores, allowed, bounds)
        if not fits.any():
            none += 1
            assert found is None
            continue
        assert fits[(found == EVERY).all(axis=1)][0]
        np.testing.assert_allclose(
            scores[np.arange(4), found].sum(), scores[np.arange(4), EVERY[fits]].sum(axis=1).max()
        )
    assert 0 < none < 40


def test_a_network_at_the_limit_itself_does_not_keep_it(rng):
    """Limits are to be stayed below, which a solver's tolerance alone would not tell."""
    scores = rng.normal(size=(4, 4))
    best = tuple(scores.argmax(axis=1))
    cost = COSTS.count_one(best)[0]
    program = PathProgram(CostModel(COSTS))
    assert program.find(scores, np.ones((4, 4), bool), objectives(max_multiply_adds=cost + 1)) == best
    found = program.find(scores, np.ones((4, 4), bool), objectives(max_multiply_adds=cost))
    assert found != best and COSTS.count_one(found)[0] < cost


def test_lines_exclusions_and_canonical_forms_are_kept(rng):
    """Against trying all 256: sums with a share of the cost, three layers away from two networks, one form of equal ones."""
    figures = CostModel(COSTS)
    costs, own_form = figures.of(EVERY)["multiply_adds"], (canonical(EVERY, SPACE) == EVERY).all(axis=1)
    program, plain, others = PathProgram(figures, only_canonical=True), PathProgram(figures), 0
    for _ in range(10):
        scores, rises = rng.normal(size=(4, 4)), rng.normal(size=2) / costs.std()
        lines = [(rise, -rise * costs.mean()) for rise in rises]
        limit, excluded = rng.uniform(*figures.bounds["multiply_adds"]), EVERY[rng.integers(256, size=2)]
        away = ((EVERY[:, None] != excluded).sum(axis=2) >= 3).all(axis=1)
        sums = scores[np.arange(4), EVERY].sum(axis=1) + (rises[:, None] * (costs - costs.mean())).min(axis=0)
        for fits, searched in ((away & own_form & (costs < limit), program), (away & (costs < limit), plain)):
            found = searched.find(scores, ALL, objectives(max_multiply_adds=limit), lines, excluded.tolist(), differ=3)
            assert (found is None) == (not fits.any())
            if found is not None:
                place = (found == EVERY).all(axis=1)
                assert fits[place][0]
                np.testing.assert_allclose(sums[place][0], sums[fits].max(), atol=1e-5)
                others += found != tuple(scores.argmax(axis=1))
    assert others > 5
