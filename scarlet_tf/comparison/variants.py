"""The compared searches, by name: each one's changes to the settings of the run's own search."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scarlet_tf.errors import InputError
from scarlet_tf.search.config import MutationConfig, SearchConfig

VARIANTS: dict[str, dict] = {
    "random": {"algorithm": "random"},
    "nsga2_plain": {"algorithm": "nsga2", "mutation": MutationConfig(kind="uniform")},
    "nsga2": {"algorithm": "nsga2"},
    "keras_tuner_random": {"algorithm": "keras_tuner_random"},
    "keras_tuner_bayesian": {"algorithm": "keras_tuner_bayesian"},
}
# Without keras_tuner_bayesian, whose trials take longer with their number.
DEFAULT = tuple(name for name in VARIANTS if name != "keras_tuner_bayesian")


def variants(config: SearchConfig, names: Sequence[str]) -> dict[str, SearchConfig]:
    """The settings of each of `names`; InputError for unknown or repeated ones."""
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"--algorithms: expected some of {', '.join(VARIANTS)}, got {name!r}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"--algorithms: expected at least one and no repeats, got {list(names)}")
    found = {name: dataclasses.replace(config, **VARIANTS[name]) for name in names}
    if "nsga2_plain" in found:  # the same objectives, with equal weights
        weights = dict.fromkeys(config.objectives().names, 1.0)
        found["nsga2_plain"] = dataclasses.replace(found["nsga2_plain"], weights=weights)
    return found
