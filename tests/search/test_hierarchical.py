import json

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.mutation import HierarchicalMutation, Mutation, MutationContext, RandomMutation
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace

SPACE = SearchSpace("eight", (Stage(8, 4, 2), Stage(16, 4, 2)), tuple(Choice(e, 3) for e in range(1, 7)), input_size=32)
TABLE = CostTable(SPACE, 32, 10)
NO_CONTROLLER = MutationConfig(controller=0.0)


class Sets(Mutation):
    """Sets the first gene, which shows who made a child."""

    def __init__(self, gene):
        self.gene = gene

    def mutate(self, genome, rng, context):
        return np.array([self.gene, *genome[1:]])


def context(accuracy=0.5):
    none = np.zeros((0, 8), int)
    return MutationContext(SPACE, TABLE, 2, none, ({"accuracy": accuracy}, {"accuracy": 0.9}), none)


def search(mutation, **changes):
    settings = {"population_size": 10, "generations": 8, "max_multiply_adds": 1e9, **changes}
    return WeightedNSGA2(TABLE, mutation=mutation, **settings)


def accuracy(genome) -> float:
    return sum((i + 1) * (gene * 7 % 5) for i, gene in enumerate(genome)) % 97 / 97


def finish(algorithm, stop_at=None, fails=lambda genome: False):
    while not algorithm.finished and algorithm.generation != stop_at:
        genomes = algorithm.ask().tolist()
        algorithm.tell([None if fails(g) else {"accuracy": accuracy(g)} for g in genomes])
    return algorithm


def test_operators_have_their_shares_of_the_children(rng):
    mutation = HierarchicalMutation({"one": (0.2, Sets(1)), "two": (0.6, Sets(2)), "three": (0.2, Sets(3))}, ratio=0.75)
    genes = [mutation.mutate(np.zeros(8, int), rng, context())[0] for _ in range(4000)]
    shares = np.bincount(genes, minlength=4) / 4000
    # 4 standard deviations of the greatest share are 0.032.
    np.testing.assert_allclose(shares, [0.25, 0.15, 0.45, 0.15], atol=0.032)
    made = [tally["children"] for tally in mutation.statistics().values()]
    assert made == [*np.bincount(genes)[1:], np.bincount(genes)[0]]


def test_ratio_decides_whether_a_child_is_changed_at_all(rng):
    genome = np.zeros(8, int)
    for ratio, gene in ((0.0, 0), (1.0, 4)):
        mutation = HierarchicalMutation({"four": (7.0, Sets(4))}, ratio)
        assert {mutation.mutate(genome, rng, context())[0] for _ in range(50)} == {gene}


def test_space_of_one_choice_changes_nothing(rng):
    space = SearchSpace("one", (Stage(8, 3, 2),), (Choice(1, 3),), input_size=32)
    none = np.zeros((0, 3), int)
    only = MutationContext(space, CostTable(space, 32, 10), 2, none, ({}, {}), none)
    mutation = HierarchicalMutation({"random": (1.0, RandomMutation())}, ratio=1.0)
    assert mutation.mutate(np.zeros(3, int), rng, only).tolist() == [0, 0, 0]


def test_counters_by_hand(rng):
    mutation = HierarchicalMutation({"one": (1.0, Sets(1))}, ratio=1.0)
    genomes = np.array([[1, 0, 0, 0, 0, 0, 0, gene] for gene in range(5)])
    for genome, before in zip(genomes, (0.5, 0.5, 0.4, None, 0.5), strict=True):
        mutation.mutate(genome, rng, context(before))
    stranger = np.full((1, 8), 5)
    # The fifth child was refused; the sixth genome is nobody's.
    told = np.concatenate([genomes[:4], stranger])
    mutation.tell(told, [{"accuracy": 0.6}, None, {"accuracy": 0.1}, {"accuracy": 0.7}, {"accuracy": 0.9}])
    mutation.survived(population=told[[0, 2, 4]], front=told[[0, 4]])
    assert mutation.statistics()["one"] == {
        "children": 5,
        "evaluated": 3,
        "failed": 1,
        "survived": 2,
        "front": 1,
        "mean_accuracy_change": pytest.approx((0.1 - 0.3) / 2),
    }
    assert mutation.statistics()["crossover"]["children"] == 0
    assert mutation.statistics()["crossover"]["mean_accuracy_change"] is None
    # What lives on from earlier generations is not counted again.
    mutation.tell(stranger, [{"accuracy": 0.5}])
    mutation.survived(told, told)
    assert mutation.statistics()["one"]["survived"] == 2


def test_survivors_are_those_of_the_generation_that_was_told():
    class Watching(HierarchicalMutation):
        def survived(self, population, front):
            self.seen = population.tolist(), front.tolist()
            population[:] = 0  # its own copy

    mutation = Watching({"random": (1.0, RandomMutation())})
    algorithm = search(mutation, min_accuracy=0.3)
    while not algorithm.finished:
        finish(algorithm, stop_at=algorithm.generation + 1 if algorithm.generation else 2)
        assert mutation.seen == (algorithm.genomes.tolist(), algorithm.genomes[algorithm.front].tolist())


def test_counters_of_a_search_add_up():
    def fails(genome):
        return sum(genome) % 11 == 0

    mutation = NO_CONTROLLER.build(SPACE, seed=0)
    algorithm = finish(search(mutation), stop_at=7, fails=fails)
    last = algorithm.ask().tolist()
    before = algorithm.genomes.tolist()
    algorithm.tell([None if fails(g) else {"accuracy": accuracy(g)} for g in last])
    tallies = mutation.statistics().values()
    assert sum(t["evaluated"] + t["failed"] for t in tallies) == algorithm.evaluations - 20  # but P0 and Q0
    assert sum(t["failed"] for t in tallies) > 0
    assert all(t["children"] >= t["evaluated"] + t["failed"] and t["evaluated"] >= t["survived"] for t in tallies)
    assert all(t["survived"] >= t["front"] for t in tallies) and sum(t["front"] for t in tallies) > 0
    entered = [g for g in algorithm.genomes.tolist() if g not in before]
    assert sum(t["survived"] for t in tallies) >= len(entered)


def test_operators_are_told_all_results(rng):
    class Watching(Sets):
        def tell(self, genomes, metrics):
            self.told = genomes.tolist(), list(metrics)

    operators = Watching(1), Watching(2)
    mutation = HierarchicalMutation({"a": (1.0, operators[0]), "b": (1.0, operators[1])})
    mutation.tell(np.zeros((2, 8), int), [{"accuracy": 0.5}, None])
    assert [operator.told for operator in operators] == [([[0] * 8] * 2, [{"accuracy": 0.5}, None])] * 2


def test_config_names_every_operator_and_its_settings():
    config = MutationConfig().build(SPACE, seed=3).get_config()
    assert json.loads(json.dumps(config)) == config
    assert config["operators"]["controller"]["learning_rate"] == 1e-3
    other = MutationConfig(ppo={"clip": 0.1}).build(SPACE, seed=3).get_config()
    assert other != config != NO_CONTROLLER.build(SPACE, seed=3).get_config()


@pytest.mark.parametrize(
    "operators, ratio, message",
    [
        ({}, 0.5, "operators: expected at least one, got none"),
        ({"a": (0.0, Sets(1))}, 0.5, r"operators\.a: expected .* a probability > 0"),
        ({"crossover": (1.0, Sets(1))}, 0.5, r"operators\.crossover: expected another name"),
        ({"a": (1.0, Sets(1))}, 1.5, "ratio: expected a number from 0 to 1, got 1.5"),
    ],
)
def test_impossible_settings_are_refused(operators, ratio, message):
    with pytest.raises(InputError, match=message):
        HierarchicalMutation(operators, ratio)
