"""Means and deviations over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def over_seeds(rows: Sequence[dict], by: Sequence[str], figures: Sequence[str]) -> list[dict]:
    """One row for each combination of `by`: mean and standard deviation (of the sample) over its rows' figures.

    A figure that is None in a row is left out; the deviation of a single one is None.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        {**dict(zip(by, key, strict=True)), "seeds": len(members), **_figures(members, figures)}
        for key, members in groups.items()
    ]


def _figures(rows: Sequence[dict], figures: Sequence[str]) -> dict:
    found = {}
    for name in figures:
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = float(np.mean(values)) if values else None
        found[f"{name}_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found
