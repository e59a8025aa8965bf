import itertools

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.cost import Cost, CostTable, block_cost, count, count_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

SMALL = {
    "name": "small",
    "stages": [
        {"channels": 16, "depth": 1},
        {"channels": 24, "depth": 2, "stride": 2},
        {"channels": 32, "depth": 1, "stride": 2},
    ],
    "choices": [
        {"expansion": 3, "kernel_size": 3},
        {"expansion": 2, "kernel_size": 7, "use_se": True},
        {"expansion": 6, "kernel_size": 5},
        {"skip": True},
    ],
    "tail_channels": 40,
}
# (space, encoding, M multiply-adds, M params), as the papers' tables and our hand count have them.
PUBLISHED = {
    "scarlet_a": ("s2", "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11", "365.3", "6.71"),
    "scarlet_b": ("s2", "1,3,1,11,0,2,11,1,12,2,1,1,11,1,9,9,12,11,9", "326.9", "6.53"),
    "scarlet_c": ("s2", "3,1,3,12,12,0,11,1,1,2,5,4,1,5,1,12,7,11,9", "280.1", "6.07"),
    "fairnas_a": ("s1", "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4", "388.1", "4.65"),
    "fairnas_b": ("s1", "1,0,1,0,3,1,2,0,3,1,0,3,2,0,5,4,5,3,4", "345.3", "4.51"),
    "fairnas_c": ("s1", "1,0,2,0,0,0,0,0,0,3,0,0,0,0,5,5,3,3,4", "321.0", "4.40"),
    "all_skip": ("s2", ",".join(["12"] * 19), "23.16", "1.31"),
    "all_skip_s1": ("s1", ",".join(["6"] * 19), "23.16", "1.31"),
    "all_e6k7_s2": ("s2", ",".join(["10"] * 19), "557.4", "5.09"),
    "all_e6k7_s1": ("s1", ",".join(["5"] * 19), "557.4", "5.09"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_costs_come_out_as_printed(name):
    space_name, encoding, multiply_adds, params = PUBLISHED[name]
    arch = Architecture.parse(encoding, SearchSpace.from_name(space_name))
    for cost in (count(arch, input_size=224, num_classes=1000), count_spec(arch.lower())):
        decimals = len(multiply_adds.partition(".")[2])
        assert f"{cost.multiply_adds / 1e6:.{decimals}f}" == multiply_adds
        assert f"{cost.params / 1e6:.2f}" == params


def test_block_cost_equals_a_count_by_hand():
    # 4 x 4 input, 8 -> 16 -> 12 channels, 3x3 at stride 2 (2 x 2 output), SE of width 4.
    block = InvertedResidualSpec("b", 8, 16, 12, 3, stride=2, se_channels=4)
    multiply_adds = 16 * (8 * 16) + 4 * (9 * 16) + 2 * (16 * 4) + 4 * (16 * 12)
    weights = 8 * 16 + 9 * 16 + 16 * 12
    squeeze_excite = 16 * 4 + 4 + 4 * 16 + 16
    batch_norm = 2 * (16 + 16 + 12)
    assert block_cost(block, (4, 4)) == Cost(multiply_adds, weights + squeeze_excite + batch_norm)


def test_linear_and_identity_block_costs():
    assert block_cost(LinearSpec("l", 8, 12, stride=2), (5, 5)) == Cost(9 * 8 * 12, 8 * 12)
    assert block_cost(LinearSpec("l", 8, 12, 2, batch_norm=True), (5, 5)) == Cost(9 * 8 * 12, 8 * 12 + 2 * 12)
    assert block_cost(IdentitySpec("i", 8, 12, stride=2), (5, 5)) == Cost(0, 0)


def test_network_cost_equals_a_count_by_hand():
    # 8 x 8 x 3 -> stem at stride 2: 4 x 4 x 4, to 2 channels, tail 6, 5 classes.
    spec = NetworkSpec((8, 8, 3), 5, 4, 2, 2, (), 6)
    multiply_adds = 16 * (27 * 4 + 9 * 4 + 4 * 2) + 16 * (2 * 6) + 6 * 5
    params = (27 * 4 + 2 * 4) + (9 * 4 + 2 * 4) + (4 * 2 + 2 * 2) + (2 * 6 + 2 * 6) + (6 * 5 + 5)
    assert count_spec(spec) == Cost(multiply_adds, params)


def test_a_block_without_expansion_equals_a_count_by_hand():
    # 4 x 4 input, 8 -> 12 channels, 3x3 at stride 2 (2 x 2 output), SE of width 2.
    block = InvertedResidualSpec("b", 8, 8, 12, 3, stride=2, se_channels=2, expand=False, se_gate="sigmoid")
    multiply_adds = 4 * (9 * 8) + 2 * (8 * 2) + 4 * (8 * 12)
    params = (9 * 8 + 2 * 8) + (8 * 2 + 2) + (2 * 8 + 8) + (8 * 12 + 2 * 12)
    assert block_cost(block, (4, 4)) == Cost(multiply_adds, params)


@pytest.mark.parametrize("bias", [True, False])
def test_a_plain_stem_and_a_head_equal_a_count_by_hand(bias):
    # 8 x 8 x 3 -> stem at stride 2: 4 x 4 x 4, tail 6, head 7, 5 classes.
    spec = NetworkSpec((8, 8, 3), 5, 4, 2, None, (), 6, head_channels=7, head_bias=bias)
    multiply_adds = 16 * (27 * 4) + 16 * (4 * 6) + 6 * 7 + 7 * 5
    params = (27 * 4 + 2 * 4) + (4 * 6 + 2 * 6) + (6 * 7 + (7 if bias else 0)) + (7 * 5 + 5)
    assert count_spec(spec) == Cost(multiply_adds, params)
    assert count_spec(spec.replace(num_classes=None)) == Cost(16 * (27 * 4 + 4 * 6), 27 * 4 + 2 * 4 + 4 * 6 + 2 * 6)


def test_network_without_classifier_costs_less_by_the_classifier():
    arch = SearchSpace.from_name("s1").sample(np.random.default_rng(1))
    whole, headless = count_spec(arch.lower()), count_spec(arch.lower(num_classes=None))
    assert whole.multiply_adds - headless.multiply_adds == 1280 * 1000
    assert whole.params - headless.params == 1281 * 1000


@pytest.mark.parametrize("input_size", [224, 97, 16])
@pytest.mark.parametrize("space", ["s1", "s2", "small", "wide", "projected"])
def test_table_equals_layer_by_layer_count(space, input_size, rng):
    if space == "small":
        space = SearchSpace.from_dict(SMALL)
    elif space == "projected":
        space = SearchSpace.from_dict({**SMALL, "skip_projection": True})
    elif space == "wide":
        space = SearchSpace.from_name("s2", width_multiplier=1.4)
    else:
        space = SearchSpace.from_name(space)
    skip = space.num_choices - 1
    population = rng.integers(space.num_choices, size=(40, space.num_layers))
    population[:20][rng.random((20, space.num_layers)) < 0.6] = skip  # skips in runs, at strides, at widenings
    table = CostTable(space, input_size, 10)
    multiply_adds, params = table.count(population)
    for row, expected in zip(population, zip(multiply_adds, params, strict=True), strict=True):
        arch = Architecture(tuple(row), space)
        cost = count_spec(arch.lower((input_size, input_size, 3), 10))
        assert (cost.multiply_adds, cost.params) == expected == table.count_one(arch.choices)


def test_bounds_equal_brute_force():
    space = SearchSpace.from_dict(SMALL)
    everything = np.array(list(itertools.product(range(space.num_choices), repeat=space.num_layers)))
    table = CostTable(space, 32, 10)
    multiply_adds, params = table.count(everything)
    assert table.bounds == {
        "multiply_adds": (multiply_adds.min(), multiply_adds.max()),
        "params": (params.min(), params.max()),
    }


def test_bounds_without_a_skip_are_reached_too():
    space = SearchSpace.from_dict(SMALL | {"choices": SMALL["choices"][:2]})
    table = CostTable(space, 32, 10)
    everything = np.array(list(itertools.product(range(2), repeat=4)))
    assert table.bounds["multiply_adds"] == (table.count(everything)[0].min(), table.count(everything)[0].max())


def test_cost_adds_and_prints_in_millions():
    assert str(Cost(1_000_000, 2_000_000) + Cost(500_000, 0)) == "1.50 M multiply-adds, 2.00 M params"


def test_empty_population_is_counted():
    multiply_adds, params = CostTable(SearchSpace.from_name("s1"), 32, 10).count(np.zeros((0, 19), int))
    assert multiply_adds.shape == params.shape == (0,)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (np.zeros((2, 18), int), r"expected shape \[N, 19\], got \[2, 18\]"),
        (np.zeros(19, int), r"expected shape \[N, 19\]"),
        (np.zeros((2, 19)), "expected integers"),
        (np.full((2, 19), 7), "expected values from 0 to 6, got 7 to 7"),
        (np.full((2, 19), -1), "expected values from 0 to 6, got -1"),
    ],
)
def test_bad_population_is_refused(choices, message):
    with pytest.raises(InputError, match=message):
        CostTable(SearchSpace.from_name("s1"), 32, 10).count(choices)


@pytest.mark.parametrize("num_classes", [0, -5, 2.5, True])
def test_bad_number_of_classes_is_refused(num_classes):
    with pytest.raises(InputError, match="num_classes: expected an integer >= 1"):
        CostTable(SearchSpace.from_name("s1"), 32, num_classes)


@pytest.mark.parametrize("input_size", [0, -1, 2.5, "32"])
def test_bad_input_size_is_refused(input_size):
    space = SearchSpace.from_name("s1")
    with pytest.raises(InputError, match="input_size: expected an integer >= 1"):
        count(Architecture((0,) * 19, space), input_size=input_size)
    with pytest.raises(InputError, match="input_size: expected an integer >= 1"):
        CostTable(SearchSpace.from_name("s1"), input_size, 10)
