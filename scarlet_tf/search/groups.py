"""Groups of architectures that begin alike, each for one worker, which measures it along its own prefix tree."""

from __future__ import annotations

import numpy as np

from scarlet_tf.evaluation.prefix_tree import STEM, layer_costs
from scarlet_tf.search.algorithm import decode
from scarlet_tf.space.cost import CostTable

SHARE = (
    1.5  # a group is 1 / 1.5 of a worker's fair share of what is left, so that groups become smaller towards the end
)
LEAST = 8  # and at least 1 / 8 of a worker's fair share of the whole generation: each cut has layers computed again
WIDTH = 0.25  # by which a group's cost may differ from that, for a place to cut at which little is shared


class Grouping:
    """Cuts the architectures of a generation into groups by the multiply-adds of their prefix trees.

    In lexicographic order a subtree is a run of neighbours. A worker that asks gets the next run, so that nobody has to be known
    before, and a slow worker takes fewer of them (guided self-scheduling). Groups are large at first and small at the end.
    """

    def __init__(self, costs: CostTable):
        layers, choices = costs.space.num_layers, costs.space.num_choices
        of_node = layer_costs(costs.space, costs.input_size, costs.num_classes)
        self._ends = of_node[STEM, 0], of_node[layers, 0]
        self._layers = np.array(
            [[of_node[layer, choice] for choice in range(choices)] for layer in range(layers)], float
        )

    def first(self, lines: list[str], workers: int, generation: list[str]) -> int:
        """Size of the next group of the architectures that are left, canonical strings in their order.

        `workers`: how many ask for groups. `generation`: all of its architectures.
        """
        added, shared = self._costs(lines)
        target = max(added.sum() / SHARE, self._costs(generation)[0].sum() / LEAST) / workers
        reached = np.cumsum(added)
        lost = np.append(shared[1:], 0.0)  # computed once more if the group ends here
        missed = np.abs(reached - target)
        counts = np.flatnonzero(missed <= WIDTH * target)
        if not len(counts):
            return int(np.argmin(missed)) + 1
        return int(min(counts, key=lambda i: (lost[i], missed[i]))) + 1

    def _costs(self, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(what each architecture adds to the tree of those in front, what it shares with its neighbour in front) [N]."""
        paths = np.array([decode(line) for line in lines])
        stem, tail = self._ends
        costs = self._layers[np.arange(paths.shape[1]), paths]
        until = stem + np.pad(np.cumsum(costs, axis=1), ((0, 0), (1, 0)))  # [N, num_layers + 1]
        alike = np.logical_and.accumulate(paths[1:] == paths[:-1], axis=1).sum(axis=1)
        shared = np.append(0.0, until[np.arange(1, len(paths)), alike])
        return until[:, -1] + tail - shared, shared
