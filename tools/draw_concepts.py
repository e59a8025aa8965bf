"""Draw the pictures of docs/concepts into docs/pictures, as SVG on white.

    python tools/draw_concepts.py
    python tools/draw_concepts.py --out elsewhere lanes folding

Draws, trees and distances in them are computed by the package, not invented.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from scarlet_tf.evaluation.prefix_tree import STEM, Node, prefix_tree
from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.nsga2 import weighted_crowding
from scarlet_tf.space.search_space import Choice, SearchSpace, Stage
from scarlet_tf.training.sampling import strict_fair_paths, uniform_paths

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "pictures"
INK, FAINT, PALE = "#24292f", "#8a929a", "#eef1f4"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Paul Tol's bright scheme, which people with colour-blindness tell apart, too."""
INCHES = 0.55
"""Of one unit of a sheet."""
LET, CHANGED = COLOURS[1], COLOURS[4]
LETTERS = "abcd"
SPACE = SearchSpace("picture", stages=(Stage(16, 5, 1),), choices=(Choice(3, 3), Choice(3, 5), Choice(6, 3), Choice()))
PATHS = ((0, 1, 0), (0, 1, 2), (0, 2, 1), (2, 0, 0), (2, 0, 1), (2, 0, 2))


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A white sheet of width x height units, the origin at the lower left."""
    figure = Figure(figsize=(width * INCHES, height * INCHES), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, text: str, width=1.6, height=0.7, colour=PALE, dashed=False) -> None:
    """A rounded box around (x, y); the text is white on a strong colour."""
    style = "round,pad=0,rounding_size=0.12"
    line: dict[str, Any] = {"linestyle": "--" if dashed else "-", "linewidth": 1.0, "edgecolor": INK}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, zorder=2, **line))
    label(axes, x, y, text, colour=INK if colour in (PALE, "white", COLOURS[3], COLOURS[4]) else "white")


def label(axes: Axes, x: float, y: float, text: str, colour=INK, size=10, bold=False, align="center") -> None:
    """Text around (x, y), or from it on with align="left"."""
    weight = "bold" if bold else "normal"
    axes.text(x, y, text, color=colour, fontsize=size, weight=weight, ha=align, va="center", zorder=4)


def arrow(axes: Axes, *points: tuple[float, float], colour=INK, head=True, width=1.3) -> None:
    """A line through the points, with a head at the last one."""
    for start, end in itertools.pairwise(points):
        last = head and end == points[-1]
        style = "-|>" if last else "-"
        line = {"arrowstyle": style, "mutation_scale": 10, "linewidth": width, "color": colour}
        axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, zorder=1, **line))


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write the SVG: letters as shapes, which need no font; no date; the same identifiers each time."""
    with matplotlib.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


# -- Training --------------------------------------------------------------------------------------------------


def let() -> Figure:
    """One searchable layer of the supernet, and the same choice in the delivered network."""
    figure, axes = sheet(15, 5.2)
    _layer(axes, 0.3, "supernet, skip = LET", "LET\n1x1 conv", COLOURS[1])
    _layer(axes, 5.4, "supernet, skip = identity", "identity", "white")
    label(axes, 12.6, 4.8, "stand-alone network", bold=True)
    for y, text in ((3.6, "layer before"), (1.15, "next layer")):
        box(axes, 12.6, y, text, width=2.4)
    arrow(axes, (12.6, 3.25), (12.6, 1.52))
    label(axes, 12.6, 0.5, "a skipped layer is nothing", FAINT)
    return figure


def _layer(axes, left: float, title: str, skip: str, colour: str) -> None:
    middle, width = left + 2.2, 1.25
    label(axes, middle, 4.8, title, bold=True)
    places = [middle + offset for offset in (-1.45, 0, 1.45)]
    label(axes, middle, 4.25, "x", size=11)
    for x, text, fill in zip(places, ("E3K3", "E6K5", skip), (COLOURS[0], COLOURS[0], colour), strict=True):
        arrow(axes, (middle, 4.05), (x, 3.1))
        box(axes, x, 2.65, text, width, 0.85, fill, dashed=fill == "white")
        arrow(axes, (x, 2.2), (middle, 1.52))
    box(axes, middle, 1.15, "next layer", width=2.4)
    label(axes, middle, 0.5, "one of them runs", FAINT)


def strict_fairness() -> Figure:
    """Four paths of one fair step beside four uniform draws; the colour of a cell is the choice."""
    figure, axes = sheet(15, 5.6)
    fair = strict_fair_paths(SPACE, seed=0, step=0)
    uniform = np.concatenate([uniform_paths(SPACE, seed=0, step=step) for step in range(4)])
    _grid(axes, 1.6, fair, "strictly fair: one step, four paths, one update")
    _grid(axes, 9.2, uniform, "uniform: four steps of one path each")
    label(axes, 7.5, 0.35, "rows: paths    columns: layers    letters and colours: choices", FAINT)
    return figure


def _grid(axes, left: float, paths: np.ndarray, title: str) -> None:
    label(axes, left + 2.5, 5.2, title, bold=True)
    for row, path in enumerate(paths):
        for column, choice in enumerate(path):
            box(axes, left + 0.5 + column, 4.3 - 0.8 * row, LETTERS[choice], 0.85, 0.65, COLOURS[choice])
    for column, choices in enumerate(paths.T):
        counts = np.bincount(choices, minlength=SPACE.num_choices)
        text = "each once" if (counts == 1).all() else f"{np.count_nonzero(counts == 0)} left out"
        label(axes, left + 0.5 + column, 1.15, text, FAINT, size=7)


def lanes() -> Figure:
    """A fair step as lanes: lane i always runs choice i, so the paths change lanes between layers."""
    figure, axes = sheet(15, 6.0)
    paths = strict_fair_paths(SPACE, seed=0, step=0)[:, :4]
    box(axes, 1.1, 2.9, "stem", 1.2, 3.8)
    box(axes, 13.9, 2.9, "tail", 1.2, 3.8)
    xs, ys = [3.5, 6.1, 8.7, 11.3], [4.5 - 1.05 * lane for lane in range(4)]
    for path, choices in enumerate(paths):
        heights = [ys[choice] for choice in choices]
        colour = COLOURS[path] if path != 3 else COLOURS[5]
        starts = [(1.7, ys[path]), *((x + 0.75, y) for x, y in zip(xs, heights, strict=True))]
        ends = [*((x - 0.75, y) for x, y in zip(xs, heights, strict=True)), (13.3, ys[path])]
        for start, end in zip(starts, ends, strict=True):
            arrow(axes, start, end, colour=colour, head=False, width=2)
    for layer, x in enumerate(xs):
        label(axes, x, 5.4, f"layer {layer}", bold=True)
        for lane, y in enumerate(ys):
            box(axes, x, y, f"choice {LETTERS[lane]}", 1.5, 0.7, PALE)
    label(axes, 7.5, 0.4, "one line for each path; every box is run once in a step, on all images of the batch", FAINT)
    return figure


# -- Folding ---------------------------------------------------------------------------------------------------


def folding() -> Figure:
    """Before and after, for the four rules that remove a LET."""
    figure, axes = sheet(15, 8.9)
    label(axes, 4.2, 8.5, "before", bold=True)
    label(axes, 11.4, 8.5, "after", bold=True)
    _row(axes, 7.5, "1", (("LET W1", LET), ("LET W2", LET)), (("LET W2·W1", LET),), "two LETs")
    _row(axes, 5.7, "2", (("LET W", LET), ("expand E", PALE)), (("expand E·W", CHANGED),), "no shortcut after it")
    before = (("project P", PALE), ("LET W", LET))
    _row(axes, 3.9, "3", before, (("project W·P", CHANGED),), "no shortcut in front of it")
    _stream(axes, 1.6)
    return figure


def _row(axes, y: float, number: str, before, after, note: str) -> None:
    label(axes, 0.5, y, number, bold=True, size=12)
    _chain(axes, 1.4, y, before)
    _chain(axes, 9.4, y, after)
    arrow(axes, (7.5, y), (8.5, y), width=2)
    label(axes, 4.2, y - 0.65, note, FAINT, size=9)


def _chain(axes, left: float, y: float, parts) -> None:
    x = left
    for text, colour in parts:
        arrow(axes, (x, y), (x + 0.6, y))
        box(axes, x + 1.6, y, text, 2.0, 0.7, colour)
        x += 2.6
    arrow(axes, (x, y), (x + 0.6, y))


def _stream(axes, y: float) -> None:
    """Rule 4: the stream after the LET carries z instead of x = W z."""
    label(axes, 0.5, y, "4", bold=True, size=12)
    arrow(axes, (1.0, y), (1.4, y))
    box(axes, 2.0, y, "LET W", 1.2, 0.7, LET)
    _block(axes, 2.6, y, "E ... P", 1.4, PALE)
    box(axes, 6.55, y, "reader R", 1.5, 0.7)
    label(axes, 2.85, y - 0.3, "x", FAINT)
    arrow(axes, (7.5, y), (8.5, y), width=2)
    _block(axes, 9.0, y, "E·W ... W⁺·P", 2.4, CHANGED)
    box(axes, 13.75, y, "R·W", 1.1, 0.7, CHANGED)
    label(axes, 9.2, y - 0.3, "z", FAINT)
    label(axes, 7.5, y - 1.0, "blocks with shortcuts after it: their stream changes its basis, x = W z", FAINT, size=9)


def _block(axes, left: float, y: float, text: str, width: float, colour: str) -> None:
    """A block with a shortcut over it, and the arrow to the reader of their sum."""
    end = left + 0.7 + width
    arrow(axes, (left, y), (left + 0.7, y))
    box(axes, left + 0.7 + width / 2, y, text, width, 0.7, colour)
    arrow(axes, (end, y), (end + 0.35, y))
    arrow(axes, (left + 0.4, y), (left + 0.4, y + 0.75), (end + 0.55, y + 0.75), (end + 0.55, y + 0.2))
    axes.scatter([end + 0.55], [y], s=130, facecolor="white", edgecolor="black", zorder=3)
    label(axes, end + 0.55, y, "+")
    arrow(axes, (end + 0.75, y), (end + 1.1, y))


# -- Search ----------------------------------------------------------------------------------------------------


def prefixes() -> Figure:
    """Six paths of three layers as their prefix tree: shared nodes are computed once."""
    figure, axes = sheet(15, 7.0)
    tree = prefix_tree(PATHS)
    nodes = sum(1 for _ in tree.walk())
    columns = [1.2, 4.2, 7.2, 10.2, 13.2]
    for x, title in zip(columns, ("stem", "layer 0", "layer 1", "layer 2", "tail"), strict=True):
        label(axes, x, 6.6, title, bold=True)
    _draw(axes, tree, columns)
    text = f"{nodes} nodes in place of {len(PATHS) * 5}: six paths of a stem, three layers and a tail each"
    label(axes, 7.5, 0.4, text, FAINT)
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
        text, colour = "stem", PALE
        if node.depth != STEM:
            text, colour = f"choice {LETTERS[node.choice]}", COLOURS[node.choice]
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
    kinds = {"random": settings.random, "reinforced": settings.reinforced, "prior regulator": settings.prior}
    for y, (name, share) in zip((2.9, 1.6, 0.5), kinds.items(), strict=True):
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


PICTURES = {"let": let, "strict_fairness": strict_fairness, "lanes": lanes, "folding": folding}
PICTURES |= {"prefix_tree": prefixes, "crowding": crowding, "mutation": mutation}


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--out", type=pathlib.Path, default=FOLDER, metavar="DIR", help="default: docs/pictures")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in PICTURES:
            parser.error(f"NAME: expected some of {', '.join(PICTURES)}, got {name}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or PICTURES:
        save(PICTURES[name](), arguments.out / f"{name}.svg")


if __name__ == "__main__":
    main()
