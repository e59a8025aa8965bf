"""DatasetFacts: what a quick look at a dataset tells. Imports no framework."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """A dataset as it lies there, before anything is held out.

    num_examples: images of each split; class_counts: training images of each class, int [classes], counted on a part where
    there are very many; shapes: (height, width) of sampled training images; unreadable: sampled files that cannot be
    decoded; notes: lines about what is not used.
    """

    name: str
    class_names: tuple[str, ...]
    num_examples: dict[str, int]
    class_counts: np.ndarray
    shapes: tuple[tuple[int, int], ...]
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
