"""Pass: the examples that one worker prepares in one pass over a split, and their batches."""

from __future__ import annotations

import dataclasses

import numpy as np

from scarlet_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass in global batches of `batch_size`, of which worker `shard[0]` of `shard[1]` gets its rows.

    The worker's rows of every global batch are index * B / count to (index + 1) * B / count. Positions count the
    examples of the pass, over all workers. A last, incomplete batch (`drop` False) is cut at the same rows, so a worker
    can get fewer rows of it, or none and one batch less.

    shuffle: (seed, epoch) in training, None at evaluation; skip: global batches left out at the beginning.
    Raises InputError for a shard outside 0 <= index < count and for a batch that `count` does not divide.
    """

    num_examples: int
    batch_size: int
    shuffle: tuple[int, int] | None = None
    skip: int = 0
    drop: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self):
        shard = self.shard
        pair = isinstance(shard, (tuple, list)) and len(shard) == 2
        whole = pair and all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in shard)
        if not (whole and 0 <= shard[0] < shard[1]):
            raise InputError(f"shard: expected (index, count) with 0 <= index < count, got {shard!r}")
        if self.batch_size % shard[1]:
            raise InputError(
                f"batch_size: expected a multiple of the {shard[1]} workers of shard {tuple(shard)},"
                f" got {self.batch_size}"
            )

    @property
    def rows(self) -> int:
        """The worker's rows of a complete batch."""
        return self.batch_size // self.shard[1]

    @property
    def first_row(self) -> int:
        """The worker's first row, counted within the global batch."""
        return self.shard[0] * self.rows

    @property
    def end(self) -> int:
        """The position after the pass's last example."""
        return self.num_examples // self.batch_size * self.batch_size if self.drop else self.num_examples

    def positions(self) -> np.ndarray:
        """int64 positions of the worker's examples, in order."""
        positions = np.arange(self.skip * self.batch_size, self.end, dtype=np.int64)
        return positions[self.holds(positions)]

    def holds(self, position):
        """True if the worker prepares the example at `position`: an integer, an array or a tensor."""
        row = position % self.batch_size
        return (row >= self.first_row) & (row < self.first_row + self.rows) & (position < self.end)
