"""The prefix tree of a population: layers that several paths begin with are one node, and so are computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from scarlet_tf.space.cost import block_cost, reduced, stem_cost, tail_cost
from scarlet_tf.space.lowering import block_spec
from scarlet_tf.space.search_space import SearchSpace

STEM = -1  # the root's depth


@dataclasses.dataclass(eq=False)
class Node:
    """One layer after one prefix.

    depth: STEM, the layer's index, or num_layers for a tail, of which every path has its own.
    choice: of that layer; 0 for stem and tail.
    path: for a tail, the index of its path among those that the tree was made of.
    """

    depth: int
    choice: int = 0
    path: int | None = None
    children: list[Node] = dataclasses.field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, depth first, parents before their children."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += reversed(node.children)


def prefix_tree(paths: Sequence[Sequence[int]]) -> Node:
    """The tree of different paths [N, num_layers], from the stem to N tails."""
    root = Node(STEM)
    nodes: dict[tuple[int, ...], Node] = {(): root}
    for index, path in enumerate(tuple(map(int, path)) for path in paths):
        for depth, choice in enumerate(path):
            prefix = path[: depth + 1]
            if prefix not in nodes:
                nodes[prefix] = Node(depth, choice)
                nodes[path[:depth]].children.append(nodes[prefix])
        nodes[path].children.append(Node(len(path), path=index))
    return root


def peak_bytes(node: Node, output_bytes: Callable[[int], int]) -> int:
    """The most that the layers' outputs take at once in a depth-first walk over the node and all below it.

    `output_bytes(depth)`: the output of a layer of that depth. It is kept until its last child has read it.
    """
    own = peak = output_bytes(node.depth)
    for child in node.children:
        kept = 0 if child is node.children[-1] else own
        peak = max(peak, own + output_bytes(child.depth), kept + peak_bytes(child, output_bytes))
    return peak


def multiply_adds(
    space: SearchSpace, paths: Sequence[Sequence[int]], input_size: int, num_classes: int | None, skip: str = "let"
) -> tuple[int, int]:
    """(of all paths one by one, of their tree): one image through paths of a supernet with that kind of skip."""
    cost = layer_costs(space, input_size, num_classes, skip)
    ends = cost[STEM, 0] + cost[space.num_layers, 0]
    alone = sum(ends + sum(cost[pair] for pair in enumerate(map(int, path))) for path in paths)
    return alone, sum(cost[node.depth, node.choice] for node in prefix_tree(paths).walk())


def layer_costs(
    space: SearchSpace, input_size: int, num_classes: int | None, skip: str = "let"
) -> dict[tuple[int, int], int]:
    """Multiply-adds of a node by (depth, choice), one image through a supernet with that kind of skip."""
    size = reduced((input_size, input_size), space.stem_stride)
    fixed = space.ends((input_size, input_size, 3), num_classes)
    cost = {(STEM, 0): stem_cost(fixed).multiply_adds}
    for depth, layer in enumerate(space.layers):
        for index, choice in enumerate(space.choices):
            block = block_spec(space, layer, choice, layer.in_channels, skip)
            cost[depth, index] = 0 if block is None else block_cost(block, size).multiply_adds
        size = reduced(size, layer.stride)
    cost[space.num_layers, 0] = tail_cost(fixed, size, space.layers[-1].out_channels).multiply_adds
    return cost
