"""Genomes, rows of choice indices, as canonical strings and back."""

from __future__ import annotations

import numpy as np


def encode(genomes) -> list[str]:
    """Genomes [N, num_layers] as canonical strings, "4,8,2,..."."""
    return [",".join(map(str, genome)) for genome in np.asarray(genomes).tolist()]


def decode(line: str) -> tuple[int, ...]:
    """The choice indices of one canonical string."""
    return tuple(int(gene) for gene in line.split(","))
