"""Pictures of a search: shared prefixes, crowding with weights, and the mutation of children."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pictures.diagram import COLOURS, FAINT, INCHES, INK, PALE, arrow, box, label, sheet
from scarlet_tf.evaluation.prefix_tree import STEM, Node, prefix_tree
from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.nsga2 import weighted_crowding

PATHS = ((0, 1, 0), (0, 1, 2), (0, 2, 1), (2, 0, 0), (2, 0, 1), (2, 0, 2))
LETTERS = "abc"


def prefixes() -> Figure:
    """Six paths of three layers as their prefix tree: shared nodes are computed once."""
    figure, axes = sheet(15, 7.0)
    tree = prefix_tree(PATHS)
    nodes = sum(1 for _ in tree.walk())
    columns = [1.2, 4.2, 7.2, 10.2, 13.2]
    for x, title in zip(columns, ("stem", "layer 0", "layer 1", "layer 2", "tail"), strict=True):
        label(axes, x, 6.6, title, bold=True)
    _draw(axes, tree, columns)
    alone = len(PATHS) * 5
    label(
        axes, 7.5, 0.4, f"{nodes} nodes in place of {alone}: six paths of a stem, three layers and a tail each", FAINT
    )
    return figure


def _draw(axes, node: Node, columns: list[float]) -> float:
    """Draw the node and its subtree; return the node's height on the sheet."""
    x = columns[node.depth + 1]
    if node.path is not None:
        y, text, colour = 5.8 - 0.93 * node.path, ",".join(LETTERS[choice] for choice in PATHS[node.path]), PALE
    else:
        heights = [_draw(axes, child, columns) for child in node.children]
        y = float(np.mean(heights))
        for height in heights:
            arrow(axes, (x + 0.75, y), (columns[node.depth + 2] - 0.78, height))
        text, colour = (
            ("stem", PALE) if node.depth == STEM else (f"choice {LETTERS[node.choice]}", COLOURS[node.choice])
        )
    box(axes, x, y, text, 1.5, 0.6, colour)
    return y


def crowding() -> Figure:
    """One front, and each network's crowding distance with two sets of weights."""
    multiply_adds = np.array([60, 85, 110, 150, 200, 240, 300, 390, 470.0])
    accuracy = np.array([0.42, 0.49, 0.53, 0.60, 0.625, 0.65, 0.665, 0.685, 0.69])
    objectives = np.column_stack([-accuracy, multiply_adds])
    figure = Figure(figsize=(15 * INCHES, 6.4 * INCHES), facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, weights in zip(panels, ((0.8, 0.2), (0.2, 0.8)), strict=True):
        distance = weighted_crowding(objectives, weights)
        _front(axes, multiply_adds, accuracy, distance, keep=6)
        axes.set_title(f"weights: accuracy {weights[0]}, multiply-adds {weights[1]}", fontsize=10)
    panels[0].set_ylabel("one-shot accuracy")
    return figure


def _front(axes: Axes, multiply_adds, accuracy, distance, keep: int) -> None:
    kept = np.argsort(-distance, kind="stable")[:keep]
    lost = np.setdiff1d(np.arange(len(distance)), kept)
    axes.plot(multiply_adds, accuracy, color=FAINT, linewidth=1, zorder=1)
    for indices, colour, name in ((kept, COLOURS[0], f"the {keep} with most room: kept"), (lost, "white", "dropped")):
        axes.scatter(multiply_adds[indices], accuracy[indices], 70, colour, edgecolors=INK, label=name, zorder=2)
    for x, y, value in zip(multiply_adds, accuracy, distance, strict=True):
        text = "∞" if np.isinf(value) else f"{value:.2f}"
        axes.annotate(text, (x, y), xytext=(7, -12), textcoords="offset points", fontsize=8)
    axes.set_xlabel("multiply-adds, millions")
    axes.set(xlim=(20, 520), ylim=(0.38, 0.72))
    axes.legend(loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def mutation() -> Figure:
    """Mutations of a child of crossover, with the default probabilities."""
    figure, axes = sheet(15, 4.6)
    settings = MutationConfig()
    box(axes, 1.5, 2.3, "crossover", 2.0)
    box(axes, 5.0, 3.6, "stays as it is", 2.4)
    box(axes, 5.0, 1.6, "mutates", 2.0)
    _likely(axes, (2.5, 2.45), (3.8, 3.6), 1 - settings.ratio)
    _likely(axes, (2.5, 2.15), (4.0, 1.6), settings.ratio)
    for y, name, share in (
        (2.9, "random", settings.random),
        (1.6, "reinforced", settings.reinforced),
        (0.5, "prior regulator", settings.prior),
    ):
        box(axes, 9.0, y, name, 2.5, colour=COLOURS[0])
        _likely(axes, (6.0, 1.6), (7.75, y), share)
    for y, name, share in ((2.5, "controller (PPO)", settings.controller), (0.9, "roulette wheel", settings.roulette)):
        box(axes, 13.2, y, name, 2.9, colour=COLOURS[2])
        _likely(axes, (10.25, 1.6), (11.75, y), share)
    return figure


def _likely(axes, start, end, share: float) -> None:
    arrow(axes, start, end)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    axes.text(*middle, f"{share:.2g}", fontsize=9, ha="center", va="center", zorder=3, backgroundcolor="white")
