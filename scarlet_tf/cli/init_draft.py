"""draft: the dataset that an argument names, the choices for it, and their commented configuration, checked."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scarlet_tf.base.errors import InputError, visible
from scarlet_tf.base.files import file_name
from scarlet_tf.base.words import gibibytes, millions, text_template
from scarlet_tf.base.yaml_files import parse_yaml, to_yaml_line
from scarlet_tf.cli import init_choices
from scarlet_tf.cli.init_choices import (
    MEDIUM_FROM,
    Choices,
    candidates,
    choose,
    hold_out,
    natural_size,
    parent_schedule,
    parent_sections,
    reach,
    schedule,
)
from scarlet_tf.cli.init_parents import MOST_ENLARGED, find_start
from scarlet_tf.cli.init_timing import choose_sizing, fit_lengths, measured
from scarlet_tf.config import Config, parse_config
from scarlet_tf.config.run_time import in_words
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.image_files import FORMATS, LARGEST_SKIPPED_SHARE
from scarlet_tf.data.looking import look_at
from scarlet_tf.data.sources import data_root, find_directory, looked_for, newest_version
from scarlet_tf.space.search_space import SearchSpace

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
            "parent": self._parent,
            "why_from_scratch": self.choices.why_scratch or None,
            "space": sizing.space.name,
            "width_multiplier": sizing.space.width_multiplier,
            "max_multiply_adds": self.config.search.budget,
            "reach": {"least": sizing.least, "greatest": sizing.greatest},
            "forecast_seconds": {name: round(seconds, 1) for name, seconds in self.choices.forecast.items()},
            "warnings": list(self.warnings),
        }

    @property
    def _parent(self) -> dict[str, Any] | None:
        parent = self.choices.sizing.parent
        if parent is None:
            return None
        over = round(parent.multiply_adds / self.choices.budget, 2)
        return {"name": parent.name, "multiply_adds": parent.multiply_adds, "over_budget": over}


def draft(
    data: DataConfig,
    budget: float | None,
    has_gpu: bool,
    name: str,
    path,
    seconds: float | None = None,
    parent: str | None = None,
) -> Draft:
    """Inspect the dataset, choose settings, write the text of a configuration for `path`, and validate it.

    `budget`: multiply-adds; without it, one that fits `seconds`. `seconds`: the run's time, for which steps are tried;
    without it, the usual lengths. `parent`: that a run starts from, or "none"; by default one that fits, if any.
    InputError without budget and seconds, with the possible budgets; for images that a run would refuse, for a budget below
    every network, for a time below every run, and for a parent that does not fit.
    """
    facts = look_at(data)
    _check_readable(facts)
    classes = len(facts.class_names)
    sizings = candidates(facts.side, classes, has_gpu)
    if budget is None and seconds is None:
        raise InputError(f"--budget: missing; multiply-adds from {reach(sizings)}; or --time 10m chooses it")
    held_out = hold_out(facts)
    start = find_start(parent, facts, budget)
    if start.sizings:
        sizings, plan = list(start.sizings), parent_schedule(held_out.num_train)
        sizing = sizings[len(sizings) // 2]
    else:
        plan = schedule(held_out.num_train, has_gpu, natural_size(facts.side) < MEDIUM_FROM)
        sizing = sizings[len(sizings) // 2] if budget is None else choose(budget, facts.side, classes, has_gpu)
    choices = Choices(data, facts, sizing, held_out, plan, budget or sizing.usual_budget, has_gpu, start.why_scratch)

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
        yield f"the budget excludes nothing: the most expensive network costs {millions(sizing.greatest)} multiply-adds"
    elif budget < sizing.median / 2:
        yield f"the budget is tight: half of the networks cost more than {millions(sizing.median)} multiply-adds"
    if sizing.parent and sizing.image_size > MOST_ENLARGED * facts.side:
        yield f"images of {facts.side} pixels are enlarged to {sizing.image_size}, beyond what was tried"
    if choices.held_out.num_train < 10 * choices.plan.batch_size:
        yield f"only {choices.held_out.num_train} images are left to train on"


TFDS_PREFIX = "tfds:"
_TFDS_FILE = "dataset_info.json"


def data_config(dataset: str) -> DataConfig:
    """The data section for "digits", "tfds:NAME", a prepared TFDS folder, or a folder of class folders.

    A folder is named by its whole path, so that the configuration works from any directory, unless it was found under
    $SCARLET_DATA_DIR. InputError for anything else.
    """
    if dataset == "digits":
        return DataConfig()
    if dataset.startswith(TFDS_PREFIX):
        return DataConfig("tfds", name=dataset.removeprefix(TFDS_PREFIX))
    folder = find_directory(dataset)
    if not folder.is_dir():
        raise InputError(
            f"{dataset}: expected a folder of class folders, {TFDS_PREFIX}NAME or digits, found nothing of that name;"
            f" {looked_for(dataset)}; of TensorFlow Datasets: scarlet init {TFDS_PREFIX}{pathlib.Path(dataset).name}"
        )
    prepared = _prepared(folder)
    place = prepared or folder
    # A folder not found from here was found under $SCARLET_DATA_DIR, and is named relative to it.
    root = None if pathlib.Path(dataset).expanduser().is_dir() else data_root()
    directory = (place.resolve() if root is None else place.relative_to(root)).as_posix()
    return DataConfig("tfds" if prepared else "folder", directory=directory)


def _prepared(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder that TFDS prepared: this one, or the newest version in it."""
    if (folder / _TFDS_FILE).is_file():
        return folder
    return newest_version(path.parent for path in folder.glob(f"*/{_TFDS_FILE}"))


# -- the text -----------------------------------------------------------------------------------------------------


def config_text(name: str, path, choices: Choices) -> str:
    """The text of the whole file for `path`."""
    filters: dict[str, Callable] = {"comment": _comment, "images": _images, "quantity": _quantity, "yaml": to_yaml_line}
    filters |= {"gibibytes": gibibytes, "millions": millions, "time": in_words}
    space = choices.sizing.space
    return text_template("scarlet_tf.cli", "config.yaml.j2", filters).render(
        **{field.name: getattr(choices, field.name) for field in dataclasses.fields(choices)},
        name=name,
        file=_in_comment(str(path)),
        trial=_in_comment(f"runs/{file_name(pathlib.Path(path).stem)}_trial"),
        space=space,
        published=SearchSpace.from_name("s2" if any(choice.use_se for choice in space.choices) else "s1"),
        PUBLISHED_FROM=init_choices.PUBLISHED_FROM,
        natural_size=natural_size,
        supernet_rate=init_choices.supernet_rate,
        supernet_size=init_choices.supernet_size,
        MORE_EPOCHS=init_choices.MORE_EPOCHS,
        shares=init_choices.PARENT_SHARES,
        from_parent=parent_sections(choices.plan),
    )


def _in_comment(argument: str) -> str:
    return visible(shlex.quote(argument)).replace("\n", "\\n")


def _comment(text: str) -> str:
    """Lines of a comment, which end with a line feed; names in the text are visible and end no line."""
    text = " ".join(line.strip() for line in visible(text).splitlines())
    wrapper = textwrap.TextWrapper(116, "# ", "#   ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapper.wrap(text)) + "\n"


def _images(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _quantity(value: float) -> str:
    """A number as people write it: 60M, or all digits."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if value >= size and value / size == round(value / size, 3):
            return f"{value / size:g}{unit}"
    return f"{value:.0f}"
