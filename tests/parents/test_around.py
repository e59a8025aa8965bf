import dataclasses

import numpy as np
import pytest
from toy_parent import CLASSES, SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.folding import fold
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.parents.around import choose_input_size, parent_path, sizes_and_costs, space_around
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.cost import count, count_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec
from scarlet_tf.training.sampling import largest_path, smallest_path


@pytest.fixture(scope="module")
def parent():
    return toy_parent()


@pytest.fixture(scope="module")
def space(parent):
    return space_around(parent)


def test_each_layer_has_the_parents_block_smaller_ones_and_the_skip(parent, space):
    assert [choice.label for choice in space.choices] == ["100%K3", "100%K5", "50%K3", "50%K5", "skip"]
    assert [stage.hidden_channels for stage in space.stages] == [(48, 96), (96, 144), (144,)]
    assert parent_path(parent, space).choices == (0, 0, 1, 1, 0) == largest_path(space)
    assert smallest_path(space) == (4, 4, 4, 4, 4)
    spec = parent_path(parent, space).lower((SIZE, SIZE, 3), CLASSES)
    assert spec == parent.spec


def test_round_trip(space):
    assert SearchSpace.from_dict(space.to_dict()) == space


def test_smaller_blocks_are_counted_by_hand(parent, space):
    """Layer 1 at half its 96 hidden channels, 16 to 16 channels at 8 x 8 pixels: 3 x 3 instead of its own 3 x 3."""
    own = parent_path(parent, space)
    half = Architecture((own.choices[0], 2, *own.choices[2:]), space)
    saved = 64 * 48 * (16 + 9 + 16)
    assert count(own, SIZE, CLASSES).multiply_adds - count(half, SIZE, CLASSES).multiply_adds == saved


def test_a_block_keeps_its_hidden_channels_where_a_skip_narrowed_its_input(parent, space):
    """Skipping 16 -> 24 leaves 16 channels: the follower, with a shortcut, first needs 24; the last block alone does not."""
    blocks = Architecture((0, 0, 4, 1, 0), space).lower((SIZE, SIZE, 3), CLASSES).blocks
    assert [(b.kind, b.in_channels, b.out_channels) for b in blocks[2:]] == [
        ("identity", 16, 16),
        ("linear", 16, 24),
        ("inverted_residual", 24, 24),
        ("inverted_residual", 24, 32),
    ]
    last = Architecture((0, 0, 4, 4, 0), space).lower((SIZE, SIZE, 3), CLASSES).blocks[-1]
    assert (last.in_channels, last.hidden_channels, last.out_channels) == (16, 144, 32)


def test_the_cost_is_that_of_the_folded_path_or_more(parent, space, rng):
    """No less than the folded network has; the same where no LET stands in front of a block with a shortcut."""
    supernet, images = Supernet(space, (SIZE, SIZE, 3), CLASSES, skip="shortcut"), toy_images(rng, 4)
    for choices in [(4, 4, 4, 4, 4), (4, 4, 1, 1, 0), *(space.sample(rng).choices for _ in range(8))]:
        architecture = Architecture(choices, space)
        network = extract(supernet, architecture)
        folded, _ = fold(network)
        np.testing.assert_allclose(folded(images), network(images), rtol=1e-3, atol=1e-3)
        counted = count(architecture, SIZE, CLASSES).multiply_adds
        assert counted == count_spec(architecture.lower((SIZE, SIZE, 3), CLASSES)).multiply_adds
        assert count_spec(folded.spec).multiply_adds <= counted
        widened = any(b.kind == "linear" for b in architecture.lower((SIZE, SIZE, 3), CLASSES).blocks)
        assert widened or count_spec(folded.spec).multiply_adds == counted


def test_skips_that_keep_the_shape_are_no_part_of_a_folded_network(space):
    network = extract(Supernet(space, (SIZE, SIZE, 3), CLASSES, skip="shortcut"), Architecture((0, 4, 1, 4, 0), space))
    assert sum(isinstance(b, IdentitySpec) for b in network.spec.blocks) == 2
    assert len(fold(network)[0].spec.blocks) == 3


def test_further_layers_are_skipped_by_the_parent(parent):
    space = space_around(parent, extra_depth=1)
    assert [stage.depth for stage in space.stages] == [3, 3, 2]
    assert parent_path(parent, space).choices == (0, 0, 4, 1, 1, 4, 0, 4)
    names = {b.name: None for b in parent.spec.blocks}
    lowered = parent_path(parent, space).lower((SIZE, SIZE, 3), CLASSES).blocks
    assert [dataclasses.replace(b, name=n) for b, n in zip(lowered, names, strict=True)] == list(parent.spec.blocks)


def test_the_input_size_makes_the_parent_cost_about_twice_the_budget(parent):
    large = dataclasses.replace(parent, spec=parent.spec.replace(input_shape=(224, 224, 3)))
    costs = dict(sizes_and_costs(large))
    assert list(costs) == list(range(32, 225, 16))
    assert costs[64] == count_spec(parent.spec.replace(input_shape=(64, 64, 3))).multiply_adds
    assert choose_input_size(large, costs[128] / 2) == 128
    assert space_around(large, max_multiply_adds=costs[128] / 2).input_size == 128
    for budget, advice in ((costs[32] / 3.1, "smaller parent"), (costs[224] / 1.1, "larger parent")):
        with pytest.raises(InputError, match=f"toy: expected a parent of 1.2 to 3 times the budget.*{advice}"):
            space_around(large, max_multiply_adds=budget)


def test_squeeze_and_excitation_keeps_its_width(rng):
    blocks = (block(0, 8, 8, 3, se_channels=2, expansion=1), block(1, 8, 16, 5, 2, se_channels=2), block(2, 16, 16, 3))
    parent = toy_parent(toy_spec(blocks=blocks, first_channels=None))
    space = space_around(parent)
    assert [(s.use_se, s.expand, s.depth) for s in space.stages] == [
        (True, False, 1),
        (True, True, 1),
        (False, True, 1),
    ]
    assert space.squeeze_excite.source == "input"
    half = Architecture((2, 3, 4), space).lower((SIZE, SIZE, 3), CLASSES).blocks
    assert [(b.hidden_channels, b.se_channels) for b in half] == [(8, 2), (24, 2)]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((dataclasses.replace(block(0, 8, 8, 3), residual=False),), "block_00: expected a shortcut wherever shapes"),
        ((IdentitySpec("block_00", 8, 16),), "block_00: expected an inverted residual block, got identity"),
        (
            (block(0, 8, 16, 3, se_channels=12), block(1, 16, 24, 3, se_channels=5)),
            "block_01: expected a squeeze-and-excitation by the same rule as in block_00, got 5 channels for 96",
        ),
    ],
)
def test_blocks_that_no_space_has_are_named(blocks, message):
    parent = dataclasses.replace(toy_parent(), spec=toy_spec(blocks=blocks))
    with pytest.raises(InputError, match=message):
        space_around(parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": (0.5,)}, r"shares: expected 1, the parent's own width, among them, got \[0.5\]"),
        ({"kernel_sizes": (3,)}, r"kernel_sizes: expected the parent's \[3, 5\] among them, got \[3\]"),
        ({"extra_depth": -1}, "extra_depth: expected an integer >= 0, got -1"),
        ({"shares": (1.0, 1.5)}, "choice.share: expected a number from 0 to 1, got 1.5"),
    ],
)
def test_wrong_options_are_named(parent, options, message):
    with pytest.raises(InputError, match=message):
        space_around(parent, **options)


def test_a_space_of_another_parent_is_refused(parent, space):
    other = toy_parent(toy_spec(blocks=(block(0, 8, 16, 3, 2), block(1, 16, 16, 3), block(2, 16, 40, 5, 2))))
    with pytest.raises(InputError, match="block_02: expected the parent's InvertedResidualSpec"):
        parent_path(other, space)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_channels": (48,)}, "stage.hidden_channels: expected 2 integers, one for each layer"),
        ({"hidden_channels": (48, "96")}, r'hidden_channels\[1\]: expected an integer >= 1, got "96"'),
        ({"use_se": True}, "expected hidden_channels with kernel_sizes, use_se or expand: false"),
        (
            {"hidden_channels": (48, 96), "kernel_sizes": (3,)},
            "stage.kernel_sizes: expected 2 integers, one for each layer",
        ),
        ({"hidden_channels": (48, 96), "expand": 1.5}, "stage.expand: expected true or false, got 1.5"),
    ],
)
def test_wrong_stages_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        Stage(16, 2, 2, **fields)


def test_a_space_has_shares_everywhere_or_nowhere(space):
    fields = space.to_dict()
    fields["choices"] = [{"expansion": 3, "kernel_size": 3}, {"skip": True}]
    with pytest.raises(InputError, match="expected hidden_channels in every stage and share in every choice"):
        SearchSpace.from_dict(fields)
