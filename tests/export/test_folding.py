"""Folded equals unfolded, on random weights and random BN statistics."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from tiny import randomised, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.folding import MAX_CONDITION, completed, condition_number, fold
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

pytestmark = pytest.mark.both_modes

SKIP, BLOCK = 3, 0


def let_network(architecture, rng, size=32, skip="let"):
    network = Network(architecture.lower((size, size, 3), 10, skip=skip), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    return network


def relative_error(network, folded, rng):
    x = rng.normal(size=(2, *network.spec.input_shape)).astype(np.float32)
    expected = np.asarray(network(x))
    return np.abs(np.asarray(folded(x)) - expected).max() / np.abs(expected).max()


def lets(network):
    return [b for b in network.spec.blocks if isinstance(b, LinearSpec)]


@pytest.mark.parametrize(
    "name, paths", [("s1", 4), ("s2", 4), *(pytest.param(s, 100, marks=pytest.mark.slow) for s in ("s1", "s2"))]
)
def test_fold_preserves_logits_on_random_paths(name, paths):
    """Paths of the published spaces at a quarter of their width, from few skips to nearly all."""
    rng = np.random.default_rng(0)
    space = SearchSpace.from_name(name, width_multiplier=0.25)
    used = Counter()
    for _ in range(paths):
        skipped = rng.random(19) < rng.uniform(0.2, 0.8)
        choices = np.where(skipped, space.num_choices - 1, rng.integers(space.num_choices - 1, size=19))
        network = let_network(Architecture(tuple(choices), space), rng)
        folded, rows = fold(network)
        # 1e-4 is what float32 leaves of T+ T at the default limit of its condition number.
        assert relative_error(network, folded, rng) <= 1e-4
        saved = count_spec(network.spec).multiply_adds - count_spec(folded.spec).multiply_adds
        assert sum(row.saved_multiply_adds for row in rows) == saved
        assert len(rows) == skipped.sum() and len(lets(folded)) == sum(row.rule == 5 for row in rows)
        used.update(row.rule for row in rows)
    assert {1, 2, 3, 4} <= used.keys()


def test_fold_preserves_logits_at_full_width(rng):
    space = SearchSpace.from_name("s2")
    choices = (0, 12, 12, 3, 1, 0, 12, 1, 12, 2, 12, 4, 0, 12, 2, 12, 3, 12, 12)
    network = let_network(Architecture(choices, space), rng, size=64)
    folded, rows = fold(network)
    assert relative_error(network, folded, rng) <= 1e-4
    assert len(rows) == choices.count(12) and sum(row.rule == 5 for row in rows) == len(lets(folded)) <= 1
    assert all(row.condition > MAX_CONDITION for row in rows if row.rule == 5)  # of random draws, now and then one


# Layers of the tiny space: 8 (stride 2), 8, 12 (widens), 12; then the tail.
CASES = {
    "two LETs in a row": ((BLOCK, BLOCK, SKIP, SKIP), [1, 2]),
    "before the tail": ((BLOCK, BLOCK, BLOCK, SKIP), [2]),
    "before a block that widens": ((BLOCK, SKIP, BLOCK, BLOCK), [2]),
    "stride 2, before a block with shortcut": ((SKIP, BLOCK, BLOCK, BLOCK), [4]),
    "widens, between blocks with shortcuts": ((BLOCK, BLOCK, SKIP, BLOCK), [4]),
    "all": ((SKIP, SKIP, SKIP, SKIP), [1, 1, 1, 2]),
}


@pytest.mark.parametrize("choices, rules", CASES.values(), ids=CASES.keys())
def test_rule_is_the_expected_one_and_exact(choices, rules, rng):
    network = let_network(Architecture(choices, tiny_space()), rng, size=8)
    folded, rows = fold(network)
    assert [row.rule for row in rows] == rules
    assert relative_error(network, folded, rng) <= 1e-5
    assert not lets(folded)


def same_width_space(**overrides):
    return tiny_space("wide", stages=(Stage(8, 4, 1),), first_channels=6, **overrides)


def test_rule_3_merges_into_the_projection_of_a_block(rng):
    network = let_network(Architecture((BLOCK, SKIP, BLOCK, BLOCK), same_width_space()), rng, size=8)
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [3]
    assert relative_error(network, folded, rng) <= 1e-5


def test_rule_3_merges_into_the_stem(rng):
    """The stem's last convolution is a projection without shortcut too."""
    network = let_network(Architecture((SKIP, BLOCK, BLOCK, BLOCK), same_width_space()), rng, size=8)
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [3]
    assert folded.spec.first_channels == 8
    assert relative_error(network, folded, rng) <= 1e-5


def test_rule_5_keeps_what_is_ill_conditioned_and_says_so(rng):
    network = let_network(Architecture((SKIP, BLOCK, BLOCK, BLOCK), tiny_space()), rng, size=8)
    arrays = get_arrays(network)
    arrays["block_00_let/kernel"][..., 0] = arrays["block_00_let/kernel"][..., 1] * (1 + 1e-7)
    set_arrays(network, arrays)
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [5] and rows[0].condition > MAX_CONDITION
    assert "above the limit" in rows[0].reason and rows[0].saved_multiply_adds == 0
    assert len(lets(folded)) == 1
    assert relative_error(network, folded, rng) <= 1e-6


def test_error_just_below_the_default_limit_is_as_promised(rng):
    """Rule 4 with its T at 0.99 of the limit, in every one of the tiny space's networks that uses the rule."""
    for choices in ((SKIP, BLOCK, BLOCK, BLOCK), (SKIP, 1, BLOCK, 1), (BLOCK, BLOCK, SKIP, BLOCK), (1, 2, SKIP, 1)):
        network = let_network(Architecture(choices, tiny_space()), rng, size=8)
        arrays = get_arrays(network)
        key = next(key for key in arrays if key.endswith("_let/kernel"))
        left, values, right = np.linalg.svd(arrays[key][0, 0].astype(np.float64), full_matrices=False)
        values = np.geomspace(values[0], values[0] / (0.99 * MAX_CONDITION), len(values))
        arrays[key] = ((left * values) @ right)[None, None]
        set_arrays(network, arrays)
        folded, rows = fold(network)
        assert [row.rule for row in rows] == [4] and rows[0].condition > 0.9 * MAX_CONDITION
        assert relative_error(network, folded, rng) <= 1e-4


def test_a_let_in_front_of_what_an_earlier_folding_left_stays(rng):
    """A LET that was kept for its condition, retrained and folded again: rule 4 would need a convolution to end in."""
    block = InvertedResidualSpec("block_00", 8, 16, 8, 3, residual=True)
    blocks = (
        block,
        LinearSpec("block_01", 8, 8),
        dataclasses.replace(block, name="block_02"),
        IdentitySpec("block_03", 8, 8, stride=2),
        dataclasses.replace(block, name="block_04"),
    )
    network = Network(NetworkSpec((8, 8, 3), 5, 8, 1, 8, blocks, 16), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [5] and "identity" in rows[0].reason
    assert relative_error(network, folded, rng) <= 1e-6


@pytest.mark.parametrize("residual", [True, False])
def test_a_let_in_front_of_a_block_without_expansion_stays(residual, rng):
    """The block's depthwise convolution reads each channel for itself, so it can neither take the LET in nor a new basis."""
    blocks = (
        InvertedResidualSpec("block_00", 8, 16, 8, 3, residual=True),
        LinearSpec("block_01", 8, 8),
        InvertedResidualSpec("block_02", 8, 8, 8, 3, residual=residual, expand=False),
        InvertedResidualSpec("block_03", 8, 16, 8, 3, residual=True),
    )
    network = Network(NetworkSpec((8, 8, 3), 5, 8, 1, 8, blocks, 16), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [5] and "block without expansion" in rows[0].reason
    assert relative_error(network, folded, rng) <= 1e-6


def test_a_let_behind_a_stem_without_projection_is_taken_in_by_what_reads_it(rng):
    blocks = (LinearSpec("block_00", 8, 8), InvertedResidualSpec("block_01", 8, 16, 8, 3, residual=True))
    spec = NetworkSpec((8, 8, 3), 5, 8, 1, None, blocks, 16, stem_activation="hard_swish", head_channels=8)
    network = Network(spec, seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [4] and not lets(folded)
    assert relative_error(network, folded, rng) <= 1e-5


def test_a_tighter_limit_keeps_more_lets(rng):
    network = let_network(Architecture((SKIP, BLOCK, BLOCK, BLOCK), tiny_space()), rng, size=8)
    assert [row.rule for row in fold(network, max_condition=1.0)[1]] == [5]


def test_a_let_that_narrows_stays_where_folding_would_cost_more(rng):
    """48 channels reach the LET and 4 leave it: a convolution that read all 48 would cost more than the LET."""
    space = SearchSpace(
        "narrow",
        (Stage(48, 1, 1), Stage(4, 1, 1), Stage(8, 1, 1)),
        (Choice(2, 3), Choice(16, 3), Choice()),
        stem_channels=4,
        stem_stride=1,
        first_channels=4,
        tail_channels=8,
        input_size=8,
    )
    network = let_network(Architecture((0, 2, 1), space), rng, size=8)
    folded, rows = fold(network)
    assert [row.rule for row in rows] == [5] and "not save" in rows[0].reason
    assert relative_error(network, folded, rng) <= 1e-6


def test_relu_skips_are_left_alone(rng):
    network = let_network(Architecture((BLOCK, SKIP, SKIP, BLOCK), tiny_space()), rng, size=8, skip="relu")
    folded, rows = fold(network)
    assert rows == [] and folded.spec == network.spec
    assert relative_error(network, folded, rng) == 0


def test_completed_basis_is_invertible_with_the_same_condition(rng):
    matrix = rng.normal(size=(7, 4))
    full = completed(matrix)
    np.testing.assert_array_equal(full[:, :4], matrix)
    np.testing.assert_allclose(full[:, 4:].T @ matrix, 0, atol=1e-12)
    assert condition_number(full) == pytest.approx(condition_number(matrix))


def test_condition_number_by_hand():
    assert condition_number(np.diag([4.0, 2.0, 0.5])) == pytest.approx(8)
    assert condition_number(np.zeros((2, 2))) == np.inf


def test_only_networks_are_folded():
    with pytest.raises(InputError, match="fold: expected a Network"):
        fold(Supernet(tiny_space(), num_classes=5))


def test_folded_network_saves_and_loads(rng, tmp_path):
    import keras

    folded, _ = fold(let_network(Architecture((SKIP, BLOCK, SKIP, BLOCK), tiny_space()), rng, size=8))
    folded.save(tmp_path / "folded.keras")
    x = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "folded.keras")(x), folded(x))
