"""Identity of a search, and the refusal of a worker that was started for another one."""

from __future__ import annotations

import json

from scarlet_tf.errors import InputError
from scarlet_tf.search.journal import first_difference
from scarlet_tf.training.checkpoints import values_digest

IDENTITY = "search_identity"  # the fixed hyperparameter that brings a chief's to its workers


def identity(oracle, supernet=None) -> dict:
    """The oracle's fingerprint and a digest of the supernet's weights, in plain JSON types.

    The weights are no part of the fingerprint, since a journal lies beside them. A worker may read a copy of them.
    """
    return json.loads(
        json.dumps(
            {
                **oracle.fingerprint(),
                "supernet_weights": None if supernet is None else values_digest(supernet.variables),
            }
        )
    )


def check_identity(own: dict, chief_space, address: str) -> None:
    """Refuses another search than the one whose `get_space()` is `chief_space`, naming the first key that differs."""
    text = chief_space.values.get(IDENTITY)
    if text is None:
        raise InputError(f"search: expected a chief of this package at {address}, got another service")
    if difference := first_difference(json.loads(text), own):
        raise InputError(
            f"search: the chief at {address} is at work on another search: {difference} here; "
            "start this worker with the chief's configuration and run folder"
        )
