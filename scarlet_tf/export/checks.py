"""Requirements of an exported file; each check states the expectation and the finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from scarlet_tf.errors import InputError
from scarlet_tf.export.metadata import INPUT_NAME
from scarlet_tf.export.tflite import ONE_PARTITION


@dataclasses.dataclass(frozen=True)
class Limits:
    """Allowed differences between a file and its network.

    `max_logit_difference`: for files in float32, relative to the network's greatest logit, or absolute below 1; BN that
    was folded into convolutions and bases that were changed round differently. `max_top1_drop`: for all files, on the
    same images [reading: what users take for the same network].
    """

    max_logit_difference: float = 1e-3
    max_top1_drop: float = 0.02

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise InputError(f"{field.name}: expected a number >= 0, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    expected: str
    found: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_file(result: Mapping[str, Any], quantization: str | None, limits: Limits) -> list[Check]:
    """The checks of what `verify` found about one file; `quantization` is that of its metadata, None without."""
    checks = [_names("input", result["inputs"], (INPUT_NAME,))]
    checks.append(_names("output", result["outputs"], ("logits", "probabilities")))
    if result["builtins_only"] is not None:
        foreign = [name for name in result["operations"] if name.startswith("CUSTOM")]
        checks.append(Check("operations", "builtin ones only", ", ".join(foreign) or "builtin ones only", not foreign))
    if result["partitions"] is not None and quantization in ONE_PARTITION:
        partitions = result["partitions"]
        checks.append(Check("delegate partitions", "1", str(partitions), partitions == 1))
    if quantization == "none" and result["max_logit_difference"] is not None:
        checks.append(_parity(result, limits.max_logit_difference))
    if result["top1_delta"] is not None:
        drop = -result["top1_delta"]
        found = f"{100 * drop:.2f} points of {result['num_images']} images"
        expected = f"a drop of at most {100 * limits.max_top1_drop:g} points"
        checks.append(Check("top-1", expected, found, drop <= limits.max_top1_drop))
    return checks


def _names(what: str, tensors, allowed: tuple[str, ...]) -> Check:
    found = [tensor["name"] for tensor in tensors]
    passed = len(found) == 1 and found[0] in allowed
    return Check(f"{what} name", " or ".join(allowed), ", ".join(found), passed)


def _parity(result: Mapping[str, Any], limit: float) -> Check:
    allowed = limit * max(1.0, result["max_model_logit"])
    difference = result["max_logit_difference"]
    return Check("logits", f"a difference of at most {allowed:.2g}", f"{difference:.2g}", difference <= allowed)
