import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from formula_search import state

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import encode
from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.nsga2 import FAILED_VIOLATION, WeightedNSGA2
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace

S2 = SearchSpace.from_name("s2")
TABLE = CostTable(S2, 224, 1000)
TINY = SearchSpace(
    "tiny", (Stage(8, 2, 2), Stage(16, 2, 2)), (Choice(3, 3), Choice(6, 5, True), Choice()), input_size=32
)
TINY_TABLE = CostTable(TINY, 32, 10)


def accuracy(genome) -> float:
    """A known, rugged function of the genome, 0..1."""
    return sum((i + 1) * (gene * 7 % 5) for i, gene in enumerate(genome)) % 97 / 97


def results(genomes):
    return [{"accuracy": accuracy(genome)} for genome in genomes.tolist()]


def finish(search, stop_at=None):
    while not search.finished and search.generation != stop_at:
        search.tell(results(search.ask()))
    return search


def tiny_search(**changes):
    settings = {"population_size": 10, "generations": 8, "max_multiply_adds": 1e9, **changes}
    return WeightedNSGA2(TINY_TABLE, **settings)


def test_survival_takes_rank_before_crowding():
    search = tiny_search(population_size=2)
    rows = [(0.1, 2, 5), (0.2, 3, 6), (0.3, 0, 7), (0.0, 1, 4)]  # the third dominates all others
    search._learn(np.zeros((4, 4), int), [dict(zip(search.objectives.names, row, strict=True)) for row in rows])
    assert search.scores[0].tolist() == [-0.3, 0, -7]
    assert search.rank.tolist() == [0, 1]


# -- the loop ---------------------------------------------------------------------------------------------------


def test_published_schedule_is_8400_evaluations():
    search = WeightedNSGA2(TABLE)
    sizes = []
    while not search.finished:
        genomes = search.ask()
        assert np.all(TABLE.count(genomes)[0] < 500e6)
        sizes.append(len(genomes))
        search.tell(results(genomes))
    assert sizes == [140] + 118 * [70]
    assert search.evaluations == search.total_evaluations == 8400
    assert len(search.hypervolume) == 119


def test_same_seed_same_search_and_seed_zero_counts():
    first, second, other = (finish(tiny_search(seed=seed)) for seed in (0, 0, 1))
    assert state(first) == state(second)
    assert state(first) != state(other)


def test_a_search_by_score_is_the_search_by_an_accuracy_of_that_value():
    """The controller's rewards and all selections included."""
    plain, scored = (tiny_search(mutation=MutationConfig().build(TINY, 0)) for _ in "ab")
    finish(plain)
    while not scored.finished:
        scored.tell(
            [{"accuracy": 1 - found["accuracy"] / 2, "score": found["accuracy"]} for found in results(scored.ask())]
        )
    np.testing.assert_array_equal(scored.genomes, plain.genomes)
    assert scored.hypervolume == plain.hypervolume


def test_ask_repeats_itself_until_told():
    search = tiny_search()
    np.testing.assert_array_equal(search.ask(), search.ask())


@pytest.mark.parametrize("told", range(7))
def test_search_that_is_told_again_what_it_was_told_goes_on_alike(told):
    """How a search is resumed."""
    first, again = tiny_search(min_accuracy=0.2), tiny_search(min_accuracy=0.2)
    for _ in range(told):
        answers = results(first.ask())
        first.tell(answers)
        again.ask()
        again.tell(json.loads(json.dumps(answers)))
    np.testing.assert_array_equal(first.crowding, again.crowding)
    assert state(finish(first)) == state(finish(again))


def test_children_are_new_while_the_space_has_room():
    search = finish(WeightedNSGA2(TABLE, population_size=20, generations=30), stop_at=10)
    children = encode(search.ask())
    assert len({*children, *encode(search.genomes)}) == 40


@pytest.mark.parametrize("seed", range(3))
def test_exhaustive_space_search_finds_the_true_front(seed):
    everything = np.array(list(itertools.product(range(3), repeat=4)))
    multiply_adds, params = TINY_TABLE.count(everything)
    scores = [(-accuracy(g), m, -p) for g, m, p in zip(everything.tolist(), multiply_adds, params, strict=True)]
    dominated = [
        any(o != s and all(a <= b for a, b in zip(o, s, strict=True)) for o in scores) for s in scores
    ]  # fmt: skip
    truth = {line for line, bad in zip(encode(everything), dominated, strict=True) if not bad}
    search = finish(WeightedNSGA2(TINY_TABLE, population_size=len(truth) + 10, generations=12, seed=seed))
    assert set(encode(search.genomes[search.front])) == truth


def test_search_beats_random_draws_of_the_same_number():
    def smooth(genomes):
        multiply_adds, params = TABLE.count(genomes)
        return [{"accuracy": a} for a in 1 - np.exp(-params / 5e6) * (0.5 + multiply_adds / 1e9)]

    search = WeightedNSGA2(TABLE, population_size=20, generations=30)
    while not search.finished:
        search.tell(smooth(search.ask()))
    random_draws = WeightedNSGA2(TABLE, population_size=300, generations=2)
    random_draws.tell(smooth(random_draws.ask()))
    assert search.evaluations == random_draws.evaluations
    assert search.hypervolume[-1] > 1.1 * random_draws.hypervolume[-1]


# -- constraints ------------------------------------------------------------------------------------------------


def test_budget_below_the_cheapest_network_is_refused_with_numbers():
    low = TABLE.bounds["multiply_adds"][0]
    with pytest.raises(
        InputError, match=r"search\.upper_bounds\.multiply_adds: .* less than 20\.00 M; .* 23\.16 M to 561\.34 M"
    ):
        WeightedNSGA2(TABLE, max_multiply_adds=20e6)
    with pytest.raises(InputError, match=r"upper_bounds\.multiply_adds"):
        WeightedNSGA2(TABLE, max_multiply_adds=low)


@pytest.mark.parametrize("budget", [150e6, 40e6])
def test_tight_budget_is_met_by_distinct_networks(budget):
    search = WeightedNSGA2(TABLE, population_size=20, generations=6, max_multiply_adds=budget)
    while not search.finished:
        genomes = search.ask()
        assert np.all(TABLE.count(genomes)[0] < budget)
        assert len(set(encode(genomes))) == len(genomes)
        search.tell(results(genomes))


def test_budget_that_leaves_one_network_repeats_it():
    everything = np.array(list(itertools.product(range(3), repeat=4)))
    costs = TINY_TABLE.count(everything)[0]
    search = finish(tiny_search(max_multiply_adds=costs.min() + 1))
    assert search.evaluations == 80
    assert set(encode(search.genomes)) == set(encode(everything[[costs.argmin()]]))


def test_accuracy_floor_is_strict_and_sorts_last():
    search = tiny_search(population_size=2, generations=3, min_accuracy=0.5)
    genomes = search.ask()
    search.tell([{"accuracy": value} for value in (0.9, 0.5, 0.4, 0.6)])
    assert set(encode(search.genomes)) == {encode(genomes)[0], encode(genomes)[3]}
    assert np.all(search.violation == 0)
    search.ask()
    search.tell([{"accuracy": 0.5}, {"accuracy": 0.1}])
    assert np.all(search.violation == 0)


def test_failed_evaluation_loses_against_everything():
    search = tiny_search(population_size=2, generations=3, min_accuracy=0.9)
    search.ask()
    search.tell([None, {"accuracy": 0.0}, None, {"accuracy": 0.1}])
    assert np.all(search.violation < FAILED_VIOLATION)
    assert search.hypervolume == [0.0]
    search.ask()
    search.tell([None, None])
    assert np.all(search.violation < FAILED_VIOLATION)


def test_mutation_that_raises_leaves_the_search_as_it_was():
    class Raising(UniformMutation):
        broken = True

        def tell(self, genomes, metrics):
            genomes[:] = 0  # its own copy
            if self.broken:
                raise RuntimeError("broken")

    search = tiny_search(mutation=Raising())
    told = results(search.ask())
    before = state(search)
    with pytest.raises(RuntimeError, match="broken"):
        search.tell(told)
    assert state(search) == before
    Raising.broken = False
    assert state(finish(search)) == state(finish(tiny_search()))


def test_a_generation_of_failures_goes_on():
    search = tiny_search(generations=4)
    while not search.finished:
        search.tell([None] * len(search.ask()))
    assert len(search.front) == 0 and search.hypervolume == [0.0] * 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 1.1, "high", None])
def test_bad_accuracy_is_refused_and_changes_nothing(bad):
    search = tiny_search()
    told = results(search.ask())
    before = state(search)
    with pytest.raises(InputError, match=r"metrics\.accuracy: expected a number from 0 to 1"):
        search.tell([*told[:-1], {"accuracy": bad}])
    with pytest.raises(InputError, match=r"metrics\.accuracy: missing"):
        search.tell([*told[:-1], {"loss": 1.0}])
    with pytest.raises(InputError, match="expected 20"):
        search.tell(told[:-1])
    assert state(search) == before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"population_size": 1}, r"search\.population_size: expected an integer >= 2, got 1"),
        ({"generations": 1.5}, r"search\.generations: expected an integer >= 2, got 1\.5"),
        ({"weights": (1, 2)}, r"search\.weights: .* got \(1, 2\)"),
        ({"weights": (0, 0, 0)}, r"search\.weights"),
        ({"weights": (float("nan"), 1, 1)}, r"search\.weights"),
        ({"max_multiply_adds": float("nan")}, "^max_multiply_adds"),
        (
            {"max_multiply_adds": float("inf")},
            r"^max_multiply_adds: expected a finite number > 0, or null, got inf",
        ),
        ({"min_accuracy": 76.0}, r"^min_accuracy: .* got 76\.0"),
        ({"seed": -1}, r"search\.seed: expected an integer >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        tiny_search(**changes)


def test_hypervolume_is_the_share_of_the_documented_box():
    search = tiny_search(population_size=2, generations=2, max_multiply_adds=1e12)
    genomes = search.ask()
    search.tell([{"accuracy": 0.5}] + [None] * 3)
    (multiply_adds,), (params,) = TINY_TABLE.count(genomes[:1])
    (low, high), (few, many) = TINY_TABLE.bounds["multiply_adds"], TINY_TABLE.bounds["params"]
    expected = 0.5 * (high - multiply_adds) / (high - low) * (params - few) / (many - few)
    assert search.hypervolume == [pytest.approx(expected, rel=1e-9)]


def test_mutation_sees_parents_and_is_told_their_children():
    class Watching(UniformMutation):
        def __init__(self):
            super().__init__()
            self.contexts, self.told = [], []

        def mutate(self, genome, rng, context):
            heads = {len(list(itertools.takewhile(bool, genome == parent))) for parent in context.parents}
            assert max(heads) >= 1 and genome[0] == context.parents[0][0]
            assert genome[-1] == context.parents[1][-1]
            self.contexts.append(context)
            return super().mutate(genome, rng, context)

        def tell(self, genomes, metrics):
            self.told.append((encode(genomes), [m["accuracy"] for m in metrics]))

    mutation = Watching()
    search = tiny_search(mutation=mutation, generations=4)
    asked = []
    while not search.finished:
        genomes = search.ask()
        asked.append((encode(genomes), [accuracy(g) for g in genomes.tolist()]))
        search.tell(results(genomes))
    assert mutation.told == asked
    context = mutation.contexts[-1]
    assert [m["accuracy"] for m in context.parent_metrics] == [accuracy(g) for g in context.parents.tolist()]
    assert [m["params"] for m in context.parent_metrics] == TINY_TABLE.count(context.parents)[1].tolist()
    assert context.front.shape[1] == 4 and context.generation == 3


def test_module_imports_neither_tensorflow_nor_keras():
    code = "import sys, scarlet_tf.search.nsga2; sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
