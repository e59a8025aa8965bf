import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.evaluation.prefix_tree import STEM, multiply_adds, peak_bytes, prefix_tree
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import Architecture

PATHS = [(0, 1), (0, 2), (1, 1)]


def test_shared_beginnings_are_one_node_and_every_path_has_its_tail():
    nodes = [(node.depth, node.choice, node.path) for node in prefix_tree(PATHS).walk()]
    stem, tails = (STEM, 0, None), [(2, 0, path) for path in range(3)]
    assert nodes == [
        stem,
        *((0, 0, None), (1, 1, None), tails[0], (1, 2, None), tails[1]),
        *((0, 1, None), (1, 1, None), tails[2]),
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # Bytes of the outputs: stem 100, layers 10 and 5, tail 1.
        ([(0, 1)], 110),  # the stem's output goes when the first layer has read it
        ([(0, 1), (0, 2)], 110),
        (
            PATHS,
            116,
        ),  # stem (100) and layer 0 (10) wait for their second children while layer 1 (5) is read by a tail (1)
    ],
)
def test_peak_is_what_open_branches_hold(paths, expected):
    assert peak_bytes(prefix_tree(paths), {STEM: 100, 0: 10, 1: 5, 2: 1}.get) == expected


@pytest.mark.parametrize("skip", ["let", "identity"])
def test_multiply_adds_are_those_of_the_networks_less_what_is_shared(rng, skip):
    space = tiny_space()
    paths = sorted({space.sample(rng).choices for _ in range(9)})

    def count(path, **spec):
        return count_spec(Architecture(path, space).lower((8, 8, 3), 5, skip=skip).replace(**spec)).multiply_adds

    alone, shared = multiply_adds(space, paths, 8, 5, skip)
    assert alone == sum(map(count, paths))
    # Two paths that differ in the last layer alone: everything but that layer and the tail is shared.
    first, second = (0, 1, 2, 3), (0, 1, 2, 0)
    blocks = Architecture(first, space).lower((8, 8, 3), 5, skip=skip).blocks
    without_tail = count(first, blocks=blocks[:3], num_classes=None) - 12 * 16 * 4 * 4
    assert multiply_adds(space, [first, second], 8, 5, skip)[1] == count(first) + count(second) - without_tail
    assert shared < alone and multiply_adds(space, paths[:1], 8, 5, skip) == (count(paths[0]),) * 2
    assert np.isscalar(shared)
