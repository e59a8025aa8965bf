"""Correction of a table of parts by networks that were measured whole: a regularised regression that keeps sums sums.

A network's latency is modelled as counts @ (parts + changes). The changes are normally distributed beforehand: a part may be
off by itself, together with others of its kind, together with all, in proportion to its weights, or by the same time as
every part; how far, in shares, `Priors` says [reading]. What is then most likely, given the measured networks, is a
linear system of as many equations as networks, and what it would have said of each network without that network
follows from the same system. Far from the networks measured, the parts keep what was measured of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from scarlet_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Priors:
    """Standard deviations beforehand, as shares.

    own, kind, common: of a part's own latency.
    weights, constant: of the median network's latency: spread over its parts as their bytes are, or evenly.
    noise: of a network's latency, what measuring it again would change.
    """

    own: float = 0.05
    kind: float = 0.1
    common: float = 0.3
    weights: float = 0.2
    constant: float = 0.1
    noise: float = 0.02


@dataclasses.dataclass(frozen=True)
class Correction:
    """parts: corrected latencies [K], none below 0. left_out: of each network without its own measurement [N]."""

    parts: np.ndarray
    left_out: np.ndarray


def correct(
    parts: np.ndarray,
    counts: np.ndarray,
    measured: np.ndarray,
    kinds: Sequence[str],
    weights: np.ndarray | None = None,
    priors: Priors | None = None,
) -> Correction:
    """Latencies of parts, corrected by networks measured whole.

    Args:
        parts: latencies of K parts, >= 0.
        counts: how often each of N networks has each part, [N, K].
        measured: latencies of the networks, > 0, [N].
        kinds: K names; parts of one name tend to be off together.
        weights: K sizes, such as bytes; None for no such effect.
        priors: how far off what may be.

    InputError for shapes that do not fit and for latencies that cannot be.
    """
    priors = priors or Priors()
    parts, counts, measured = (np.asarray(values, float) for values in (parts, counts, measured))
    _check(parts, counts, measured, kinds)
    moves = _moves(parts, counts, measured, kinds, weights, priors)
    seen = counts @ moves  # what each of the changes does to each network, in standard deviations
    covariance = seen @ seen.T + np.diag((priors.noise * measured) ** 2)
    inverse = np.linalg.inv(covariance)
    solved = inverse @ (measured - counts @ parts)
    corrected = parts + moves @ (seen.T @ solved)
    return Correction(np.maximum(corrected, 0.0), measured - solved / np.diag(inverse))


def _moves(parts, counts, measured, kinds, weights, priors: Priors) -> np.ndarray:
    """One column for each independent cause: how far one standard deviation of it moves each part, [K, causes]."""
    typical, uses = np.median(measured), np.median(counts.sum(axis=1))
    columns = [priors.common * parts, np.where(parts > 0, priors.constant * typical / uses, 0.0)]
    columns += [np.where(np.array(kinds) == kind, priors.kind * parts, 0.0) for kind in dict.fromkeys(kinds)]
    if weights is not None:
        sizes = np.asarray(weights, float)
        of_a_network = np.median(counts @ sizes)
        columns += [priors.weights * typical * sizes / of_a_network] if of_a_network > 0 else []
    return np.concatenate([np.stack(columns, axis=1), np.diag(priors.own * parts)], axis=1)


def _check(parts, counts, measured, kinds) -> None:
    if counts.shape != (len(measured), len(parts)) or len(kinds) != len(parts) or not len(measured):
        raise InputError(
            f"correction: expected counts of shape [networks, parts] and a kind for each part, got {list(counts.shape)} for"
            f" {len(measured)} networks, {len(parts)} parts and {len(kinds)} kinds"
        )
    if not (np.isfinite(parts).all() and (parts >= 0).all() and np.isfinite(measured).all() and (measured > 0).all()):
        raise InputError("correction: expected finite latencies, of parts >= 0 and of networks > 0")
