"""draft: a configuration as text, checked, with its choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from scarlet_tf.config import Config, parse_config
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.image_files import FORMATS, LARGEST_SKIPPED_SHARE
from scarlet_tf.data.looking import look_at
from scarlet_tf.drafting.choices import Choices
from scarlet_tf.drafting.schedule import hold_out, schedule
from scarlet_tf.drafting.sizing import MEDIUM_FROM, candidates, choose, natural_size, reach
from scarlet_tf.drafting.timing import budget_of, choose_sizing, fit_lengths, measured
from scarlet_tf.drafting.writing import config_text
from scarlet_tf.errors import InputError
from scarlet_tf.yaml_files import parse_yaml

# Ratio of the largest class to the smallest from which a remark is made.
_UNEVEN = 3


@dataclasses.dataclass(frozen=True)
class Draft:
    """The text of a valid configuration, the choices in it, and remarks on them."""

    text: str
    config: Config
    choices: Choices
    warnings: tuple[str, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """The draft in JSON types."""
        facts, sizing = self.choices.facts, self.choices.sizing
        return {
            "dataset": facts.name,
            "images": facts.num_examples,
            "classes": len(facts.class_names),
            "median_side": facts.side,
            "image_size": sizing.image_size,
            "space": sizing.space.name,
            "width_multiplier": sizing.space.width_multiplier,
            "max_multiply_adds": self.config.search.max_multiply_adds,
            "reach": {"least": sizing.least, "greatest": sizing.greatest},
            "forecast_seconds": {name: round(seconds, 1) for name, seconds in self.choices.forecast.items()},
            "warnings": list(self.warnings),
        }


def draft(
    data: DataConfig, budget: float | None, has_gpu: bool, name: str, path, seconds: float | None = None
) -> Draft:
    """Inspect the dataset, choose settings, write the text of a configuration for `path`, and validate it.

    `budget`: multiply-adds; without it, one that fits `seconds`. `seconds`: the run's time, for which steps are tried;
    without it, the usual lengths. InputError without either, with the possible budgets; for images that a run would
    refuse, for a budget below every network, and for a time below every run.
    """
    facts = look_at(data)
    _check_readable(facts)
    classes = len(facts.class_names)
    sizings = candidates(facts.side, classes, has_gpu)
    if budget is None and seconds is None:
        raise InputError(f"--budget: missing; multiply-adds from {reach(sizings)}; or --time 10m chooses it")
    held_out = hold_out(facts)
    plan = schedule(held_out.num_train, has_gpu, natural_size(facts.side) < MEDIUM_FROM)
    sizing = sizings[len(sizings) // 2] if budget is None else choose(budget, facts.side, classes, has_gpu)
    choices = Choices(data, facts, sizing, held_out, plan, budget or budget_of(sizing), has_gpu)

    def make(chosen: Choices) -> Config:
        return parse_config(parse_yaml(config_text(name, path, chosen), str(path)), str(path))

    if seconds is not None:
        timing = measured(make(choices), choices)
        if budget is None:
            chosen = choose_sizing(choices, sizings, seconds, timing, make)
            timing = timing if chosen.sizing == sizing else measured(make(chosen), chosen)
            choices = chosen
        choices, stages = fit_lengths(choices, seconds, timing, make)
        choices = dataclasses.replace(choices, forecast=stages, step_seconds=timing.step)
    return Draft(config_text(name, path, choices), make(choices), choices, tuple(_warnings(choices)))


def _check_readable(facts: DatasetFacts) -> None:
    if len(facts.unreadable) > LARGEST_SKIPPED_SHARE * facts.num_sampled:
        few = ", ".join(facts.unreadable[:5]) + (", ..." if len(facts.unreadable) > 5 else "")
        raise InputError(
            f"{facts.name}: {len(facts.unreadable)} of {facts.num_sampled} sampled images cannot be decoded"
            f" ({FORMATS} can): {few}; convert or remove them, for a run refuses more than {LARGEST_SKIPPED_SHARE:.0%}"
        )


def _warnings(choices: Choices) -> Iterator[str]:
    facts, sizing, budget = choices.facts, choices.sizing, choices.budget
    yield from facts.notes
    if facts.unreadable:
        few = ", ".join(facts.unreadable[:5])
        yield f"{len(facts.unreadable)} of {facts.num_sampled} sampled images cannot be decoded: {few}"
    least, most = int(np.argmin(facts.class_counts)), int(np.argmax(facts.class_counts))
    if facts.class_counts[most] >= _UNEVEN * facts.class_counts[least]:
        small, large = (f"{facts.class_names[i]} has {facts.class_counts[i]}" for i in (least, most))
        yield f"classes are uneven: {small} images, {large}; accuracy mostly reflects the large classes"
    if budget > sizing.greatest:
        yield f"the budget excludes nothing: the most expensive network costs {sizing.greatest / 1e6:.2f} M multiply-adds"
    elif budget < sizing.median / 2:
        yield f"the budget is tight: half of the networks cost more than {sizing.median / 1e6:.2f} M multiply-adds"
    if choices.held_out.num_train < 10 * choices.plan.batch_size:
        yield f"only {choices.held_out.num_train} images are left to train on"
