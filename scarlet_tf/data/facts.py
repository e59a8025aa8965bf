"""DatasetFacts: the result of a quick look at a dataset. Imports no framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

# 16-bit PNG files below this sample leave at least two of their bits unused, as those with 10, 12 or 14 bits do.
_LOW_PEAK = 2**14


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """A dataset as stored, before anything is held out.

    num_examples: images of each split; class_counts: training images of each class, int [classes], counted on a part where
    there are very many; shapes: (height, width) of sampled training images; unreadable: sampled files that cannot be
    decoded; notes: lines about what is not used and a run's warnings; decode_seconds: core seconds to decode an image,
    where measured.
    """

    name: str
    class_names: tuple[str, ...]
    num_examples: dict[str, int]
    class_counts: np.ndarray
    shapes: tuple[tuple[int, int], ...]
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    decode_seconds: float = 0.0

    @property
    def num_sampled(self) -> int:
        return len(self.shapes) + len(self.unreadable)

    @property
    def side(self) -> int:
        """The median of the sampled images' shorter sides, in pixels."""
        return int(np.median([min(shape) for shape in self.shapes]))

    @property
    def decoded_bytes(self) -> float:
        """An estimate of all images' size as uint8 [H, W, 3]."""
        return 3 * float(np.mean([height * width for height, width in self.shapes])) * sum(self.num_examples.values())


def describe_range(name: str, peaks: Iterable[int | None]) -> tuple[str, ...]:
    """A line if the 16-bit PNG files use a small part of their range, of which only the upper 8 bits are read."""
    deep = [peak for peak in peaks if peak is not None]
    if not deep or max(deep) >= _LOW_PEAK:
        return ()
    factor = 2 ** (16 - max(max(deep).bit_length(), 1))
    return (
        f"{name}: {len(deep):,} 16-bit PNG images use {max(deep) / 65535:.1%} of their range (samples up to {max(deep):,} of"
        f" 65,535) and are nearly black to the network, which gets the upper 8 bits; multiply their samples by {factor} and"
        f" save them again (magick mogrify -evaluate multiply {factor}), here and wherever the network is used",
    )
