"""Algorithm: what an oracle, and a comparison, asks of any search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.search.objectives import Figures, Objectives


class Algorithm(Protocol):
    """A search behind ask and tell, with a state of plain JSON from which it goes on as if it had not stopped.

    generation: how many were told. evaluations: genomes told so far, repeats counted; total_evaluations: at the end.
    hypervolume: one value a tell, 0..1, see HypervolumeBox. figures: what is known of a genome without evaluation.
    goals: what is optimised, and the bounds.
    """

    costs: CostTable
    figures: Figures
    goals: Objectives
    evaluations: int
    hypervolume: list[float]

    @property
    def generation(self) -> int: ...

    @property
    def finished(self) -> bool: ...

    @property
    def total_evaluations(self) -> int: ...

    @property
    def pending(self) -> np.ndarray | None:
        """The genomes that were asked for and not told yet."""
        ...

    def ask(self) -> np.ndarray:
        """The genomes to evaluate next, int [N, num_layers]; the same ones until they are told."""
        ...

    def tell(self, results: Sequence[Mapping | None]) -> None:
        """Takes {"accuracy": 0..1, ...} for each genome asked for, in that order; None where evaluation failed."""
        ...

    def get_config(self) -> dict:
        """Plain JSON that tells one search from another; the number of evaluations is no part of it."""
        ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: Mapping) -> None: ...
