"""Pictures of a supernet's training: choices of a layer, fair draws, lanes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pictures.diagram import COLOURS, FAINT, PALE, arrow, box, label, sheet
from scarlet_tf.space import Choice, SearchSpace, Stage
from scarlet_tf.training.sampling import strict_fair_paths, uniform_paths

LETTERS = "abcd"
SPACE = SearchSpace("picture", stages=(Stage(16, 5, 1),), choices=(Choice(3, 3), Choice(3, 5), Choice(6, 3), Choice()))


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
        arrow(axes, (1.7, ys[path]), (xs[0] - 0.75, heights[0]), colour=colour, head=False, width=2)
        for i in range(3):
            arrow(
                axes, (xs[i] + 0.75, heights[i]), (xs[i + 1] - 0.75, heights[i + 1]), colour=colour, head=False, width=2
            )
        arrow(axes, (xs[3] + 0.75, heights[3]), (13.3, ys[path]), colour=colour, head=False, width=2)
    for layer, x in enumerate(xs):
        label(axes, x, 5.4, f"layer {layer}", bold=True)
        for lane, y in enumerate(ys):
            box(axes, x, y, f"choice {LETTERS[lane]}", 1.5, 0.7, PALE)
    label(axes, 7.5, 0.4, "one line for each path; every box is run once in a step, on all images of the batch", FAINT)
    return figure
