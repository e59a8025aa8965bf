"""Sizes and lengths for a given time: a run's time is estimated from one step, measured on this machine.

`python -m scarlet_tf.cli.init_timing` measures it: reads and prints JSON. It has its own process, so that `scarlet init`
itself imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import duration
from scarlet_tf.cli.init_choices import Choices, Schedule, Sizing
from scarlet_tf.config import Config, parse_config
from scarlet_tf.config.run_time import stage_seconds

COMMAND = (sys.executable, "-m", "scarlet_tf.cli.init_timing")
TRIAL_SECONDS = 900.0
# The usual lengths can be multiplied if there is time; beyond this factor little is gained, and networks wider than usual
# are for many images [reading].
MOST_LENGTHS, MANY_IMAGES = 4.0, 20_000
_UNITS = {"h": 3600, "m": 60, "min": 60, "s": 1}
_PART = r"(\d+(?:\.\d+)?) ?(h|min|m|s)"
_ADVICE = "; --parent none trains smaller networks, from scratch"
MakeConfig = Callable[[Choices], Config]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds, measured on this machine: from the command to the first step, of the first step, of a later one."""

    start: float
    first: float
    step: float


def parse_time(text: str) -> float:
    """Seconds of "90s", "10m" or "1h30m"; InputError."""
    if not re.fullmatch(rf"(?:{_PART} ?)+", text.strip()):
        raise InputError(f"--time: expected a time such as 90s, 10m or 1h30m, got {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    if not seconds > 0:
        raise InputError(f"--time: expected more than no time, got {text!r}")
    return seconds


def measured(config: Config, choices: Choices) -> Timing:
    """Measure a trial of the configuration, in its own process; InputError if it fails."""
    facts = choices.facts
    in_memory = facts.decoded_bytes <= config.data.memory_bytes
    shape = sorted(facts.shapes)[len(facts.shapes) // 2] if in_memory else (config.data.image_size,) * 2
    asked = {"config": config.to_dict(), "num_classes": len(facts.class_names), "shape": shape}
    try:
        ended = subprocess.run(
            COMMAND, input=json.dumps(asked).encode(), capture_output=True, timeout=TRIAL_SECONDS, check=True
        )
        start, first, step = json.loads(ended.stdout)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"--time: a few steps took longer than {duration(TRIAL_SECONDS)}; leave it out") from error
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        lines = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines() or [str(error)]
        raise InputError(f"--time: no step could be timed: {lines[-1]}; leave it out") from error
    # Threads decode all files once before the first step, and during the steps those that are not held in memory.
    decoding = facts.decode_seconds / (os.cpu_count() or 1)
    start += decoding * sum(facts.num_examples.values()) * config.data.check_images
    return Timing(start, first, step + (0 if in_memory else decoding * config.supernet.batch_size))


def forecast(config: Config, choices: Choices, timing: Timing) -> dict[str, float]:
    """{stage: seconds} of the whole run."""
    facts, held_out = choices.facts, choices.held_out
    validation = facts.num_examples.get("validation") or round(
        (held_out.validation_share or 0) / (1 - (held_out.validation_share or 0)) * held_out.num_train
    )
    examples = {"train": held_out.num_train, "validation": validation}
    found = stage_seconds(config, examples, len(facts.class_names), timing.first, timing.step)
    return {"start": timing.start, **found}


def choose_sizing(choices: Choices, sizings: list[Sizing], seconds: float, timing: Timing, make: MakeConfig) -> Choices:
    """The most expensive sizing whose usual lengths fit, by the measured time of `choices`; else the cheapest."""
    usual = [s for s in sizings if s.space.width_multiplier <= 1 or choices.held_out.num_train >= MANY_IMAGES]
    for sizing in usual:
        scale = sizing.median / choices.sizing.median
        tried = dataclasses.replace(choices, sizing=sizing, budget=sizing.usual_budget)
        scaled = Timing(timing.start, timing.first, timing.step * scale)
        if sum(forecast(make(tried), tried, scaled).values()) <= seconds:
            return tried
    return dataclasses.replace(choices, sizing=usual[-1], budget=usual[-1].usual_budget)


def fit_lengths(choices: Choices, seconds: float, timing: Timing, make: MakeConfig) -> tuple[Choices, dict[str, float]]:
    """(choices with the greatest lengths that fit into `seconds`, their forecast); InputError if the least do not fit."""

    def tried(lengths: float) -> tuple[Choices, dict[str, float]]:
        chosen = dataclasses.replace(choices, plan=scaled_plan(choices.plan, lengths))
        return chosen, forecast(make(chosen), chosen, timing)

    least = sum(tried(0)[1].values())
    parent = choices.sizing.parent
    if least > seconds and parent and parent.sizes:  # one size takes less than a choice between several
        one_size = dataclasses.replace(choices.sizing, parent=dataclasses.replace(parent, sizes=()))
        choices = dataclasses.replace(choices, sizing=one_size)
        least = sum(tried(0)[1].values())
    if least > seconds:
        raise InputError(
            f"--time: expected at least {_ceiling(least)} for these images on this machine, got {duration(seconds)}; one epoch"
            f" of each training alone takes {duration(least)} in all{_ADVICE if choices.sizing.parent else ''}"
        )
    low, high = 0.0, MOST_LENGTHS
    if sum(tried(high)[1].values()) <= seconds:
        return tried(high)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(tried(middle)[1].values()) <= seconds else (low, middle)
    return tried(low)


def scaled_plan(plan: Schedule, lengths: float) -> Schedule:
    """Epochs and generations times `lengths`, the latter twice at most, and at least what every stage needs."""
    return dataclasses.replace(
        plan,
        supernet_epochs=max(round(lengths * plan.supernet_epochs), min(plan.supernet_epochs, 1)),
        retrain_epochs=max(round(lengths * plan.retrain_epochs), 1),
        generations=max(round(min(lengths, 2) * plan.generations), 2),
    )


def _ceiling(seconds: float) -> str:
    """The time in whole minutes, rounded up, as --time takes it."""
    return f"{-(-seconds // 60):.0f}m"


# -- the trial, in its own process --------------------------------------------------------------------------------


class _Measured(Exception):
    """Signal that the seconds are known and no step is needed."""


def measure(config: Config, num_classes: int, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Measure the seconds of a Timing by beginning to train on noise; the start counts from this process'.

    shape: (height, width) of the noise that stands in for images.
    """
    import keras
    import numpy as np
    import psutil

    from scarlet_tf.data.datasets import preprocessing_of
    from scarlet_tf.data.images import ArrayImages
    from scarlet_tf.data.splits import IndexedSplit
    from scarlet_tf.training.loop import LEAST_REHEARSED
    from scarlet_tf.training.supernet import new_supernet, train_supernet

    class Stopwatch(keras.callbacks.Callback):
        rehearsal_seconds = 10.0  # on a busy machine the steps' times vary in waves

        def on_train_begin(self, logs=None):
            self.started = time.time() - psutil.Process().create_time()

        def on_rehearsal(self, first, seconds):
            raise _Measured(self.started, first, seconds)

    own, batch = config.of_supernet, config.supernet.batch_size
    size = own.data.image_size
    supernet = new_supernet(config.supernet, own.space, (size, size, 3), num_classes)
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape, 3), np.uint8)
    labels = np.arange(batch) % num_classes
    split = IndexedSplit(ArrayImages(images), np.arange(batch), labels, preprocessing_of(own.data))
    long = dataclasses.replace(config.supernet, epochs=LEAST_REHEARSED, warmup_epochs=0, monitor_paths=0)
    try:
        train_supernet(supernet, split, long, callbacks=[Stopwatch()])
    except _Measured as found:
        return found.args
    raise RuntimeError("the training loop tried no steps, as with several GPUs")


def main() -> None:
    """Print the seconds, after all output of libraries."""
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(parse_config(asked["config"], "trial"), asked["num_classes"], tuple(asked["shape"]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
