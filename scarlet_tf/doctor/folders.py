"""Checks of folders of data and of networks, and of a configuration with its images."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

from scarlet_tf.data.sources import DATA_DIR_VARIABLE, data_root
from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding
from scarlet_tf.errors import InputError
from scarlet_tf.models.zoo_folder import FOLDER_VARIABLE, find_own, own_names, zoo_folder


def check_data_folder() -> Iterator[Finding]:
    """Check $SCARLET_DATA_DIR."""
    root = data_root()
    if root is None:
        found = f"{DATA_DIR_VARIABLE} is not set: relative folders are looked up in the current one alone"
        yield Finding("data folder", OK, found)
    elif not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        advice = f"export {DATA_DIR_VARIABLE}=/a/folder/with/datasets, or unset it"
        yield Finding("data folder", PROBLEM, f"{DATA_DIR_VARIABLE}={root} is no readable folder", advice)
    else:
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        more = ", ..." if len(names) > 5 else ""
        yield Finding("data folder", OK, f"{root} with {len(names)} folders: {', '.join(names[:5])}{more}")


def check_zoo_folder() -> Iterator[Finding]:
    """Check $SCARLET_ZOO_DIR or its default."""
    folder = zoo_folder()
    if not folder.exists():
        where = "" if os.environ.get(FOLDER_VARIABLE) else ", the default place"
        yield Finding("zoo folder", OK, f"{folder}{where}: not there yet", "scarlet zoo NAME --add runs/RUN makes it")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        advice = f"export {FOLDER_VARIABLE}=/a/folder/of/yours"
        yield Finding("zoo folder", PROBLEM, f"{folder} is no readable folder", advice)
        return
    names = own_names()
    for name in names:
        try:
            find_own(name)
        except InputError as error:
            yield Finding("zoo folder", WARNING, str(error), f"scarlet zoo {name} --remove")
    yield Finding("zoo folder", OK, f"{folder} with {len(names)} networks")


def check_config(path: str) -> Iterator[Finding]:
    """Check the configuration, its images and the feasibility of its budget."""
    from scarlet_tf.config import load_config

    config = load_config(path)
    yield Finding("config", OK, f"{path} is valid")
    if config.optimization.is_wanted:
        from scarlet_tf.optimization.extra import check_extra

        check_extra()
    from scarlet_tf.data.looking import look_at

    facts = look_at(config.data)
    yield from _check_images(facts)
    if not config.finetune.is_wanted:
        yield from _check_budget(config, pathlib.Path(path), len(facts.class_names))


def _check_images(facts) -> Iterator[Finding]:
    """Check classes, numbers and unused files, and the decoding of a sample."""
    from scarlet_tf.data.image_files import LARGEST_SKIPPED_SHARE

    counts = ", ".join(f"{count:,} {split}" for split, count in facts.num_examples.items())
    found = f"{facts.name}: {counts} images of {len(facts.class_names)} classes, shorter side {facts.side} pixels"
    if facts.unreadable:
        few = ", ".join(facts.unreadable[:3])
        found += f"; {len(facts.unreadable)} of {facts.num_sampled} sampled files cannot be decoded: {few}"
        many = len(facts.unreadable) > LARGEST_SKIPPED_SHARE * facts.num_sampled
        advice = f"convert them to JPEG or PNG, or remove them; a run refuses more than {LARGEST_SKIPPED_SHARE:.0%}"
        yield Finding("images", PROBLEM if many else WARNING, found, advice)
    else:
        yield Finding("images", OK, found)
    for note in facts.notes:
        yield Finding("images", WARNING, note)


def _check_budget(config, path: pathlib.Path, classes: int) -> Iterator[Finding]:
    from scarlet_tf.cost import cost_table
    from scarlet_tf.search.objectives import figures_and_goals

    costs = cost_table(config.space, config.data.image_size, classes)
    figures, goals = figures_and_goals(costs, **config.search.objective_settings(costs))
    bounds = ", ".join(goals.bounds_in_words()) or "no bounds"
    yield Finding("budget", OK, f"{bounds}; {figures.reach(['multiply_adds'])}", f"scarlet run {path}")
