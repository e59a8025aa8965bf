"""Verdict: by how much a race's winner is better than others on the same images, and how many images would show it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scarlet_tf.base.words import percent, plural
from scarlet_tf.race.entrants import Entrant

Z = 1.959964
"""Of a standard normal variable, 95 % lie within this of 0."""
DISAGREEMENT = 0.1
"""Share of images that one of two networks recognises and the other does not, where it is not known yet. [reading]"""
MOST = 10**9
"""Images beyond which nobody counts."""
WORTH_TELLING = 0.02
"""A validation split that cannot tell a difference of accuracy as great as this is said to be small. [reading]"""


NEARLY_ALL, LITTLE = 0.9, 0.1
"""A network that recognises less than the first of its training images, and less than the second more of them than of
validation images, may be still learning: where that was so, four times the epochs brought 9 points, and a race 5. [reading]"""


def paired(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """The difference of two accuracies on the same images, with its 95 % interval.

    first, second: bool [N], True where a network recognises the image. {"gain", "low", "high", "images", "only_first",
    "only_second", "needed"}: gain is first minus second; needed the images at which a difference as great would be beyond
    its interval, None without a difference. The interval is normal, of paired proportions, with half an image added to each of
    the four cells (Agresti and Min 2005), which keeps it from vanishing where the networks agree on all.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    images = len(first)
    ours, theirs = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    gain = (ours - theirs) / images
    middle, disagreement = (ours - theirs) / (images + 2), (ours + theirs + 1) / (images + 2)
    half = Z * math.sqrt((disagreement - middle**2) / (images + 2))
    return {
        "gain": gain,
        "low": middle - half,
        "high": middle + half,
        "images": images,
        "only_first": ours,
        "only_second": theirs,
        "needed": needed(gain, (ours + theirs) / images),
    }


def needed(gain: float, disagreement: float = DISAGREEMENT) -> int | None:
    """The fewest images at which the interval of such a gain lies on one side of zero; None for no gain.

    disagreement: share of the images that only one of the two networks recognises.
    """
    if not gain:
        return None

    def is_enough(images: int) -> bool:  # what `paired` says of so many images with these shares
        middle, spread = images * gain / (images + 2), (images * disagreement + 1) / (images + 2)
        return abs(middle) > Z * math.sqrt((spread - middle**2) / (images + 2))

    return bisect.bisect_left(range(MOST), True, key=is_enough)


def smallest_gain(images: int, disagreement: float = DISAGREEMENT) -> float:
    """The gain that so many images can just tell from none."""
    return Z * math.sqrt(disagreement / images)


def sentence(found: Mapping[str, Any], other: str) -> str:
    """The result of `paired` in words; `other` is the second network's."""
    ends = [_points(found[key]) for key in ("low", "high")]
    span = f"{ends[0]} to {ends[1]}"
    if found["low"] > 0 or found["high"] < 0:
        word = "better" if found["gain"] > 0 else "worse"
        if word == "worse":
            span = f"{_points(-found['high'])} to {_points(-found['low'])}"
        return f"{word} than {other} by {_points(abs(found['gain']))} points ({span})"
    if found["needed"] is None:
        advice = f"both recognise equally many of the {plural(found['images'], 'test image')}"
    else:
        advice = f"about {_rounded(found['needed']):,} test images would be needed"
    return f"not distinguishable from {other} ({span} points); {advice}"


def _points(share: float) -> str:
    """With a true minus sign, as in a text."""
    text = f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "\N{MINUS SIGN}")


def _rounded(count: int) -> int:
    """Up to two significant digits."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // unit) * unit


def in_sentences(winner: Entrant, gains: Sequence[Mapping[str, Any]], stopped: str | None) -> list[str]:
    """Sentences about what a race has shown."""
    if stopped:
        return ["the race was ended by its limit on hours before its last rung, so nothing is known about the rivals"]
    texts = []
    if winner.is_rival:
        texts.append(f"a rival won the race, {winner.words}, and is delivered")
    elif winner.kind == "proposed":
        texts.append(f"a network that the search had not found won the race, {winner.words}")
    return [*texts, *(row["text"] for row in gains)]


def still_learning(training: float | None, validation: float) -> list[str]:
    """A sentence where accuracies on training and validation images say that more epochs may bring more than another network."""
    if training is None or training >= NEARLY_ALL or training - validation >= LITTLE:
        return []
    return [
        f"the winner may have been still learning: it recognises {percent(training)} of the training images and"
        f" {percent(validation)} of the validation images, so more epochs (retrain.epochs) may bring more than another network,"
        " unless it is too small"
    ]
