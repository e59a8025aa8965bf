"""The configuration as a commented YAML document."""

from __future__ import annotations

import pathlib
import shlex
import textwrap
from typing import Any

from scarlet_tf.config.run_time import in_words
from scarlet_tf.drafting.choices import Choices
from scarlet_tf.drafting.schedule import supernet_rate
from scarlet_tf.drafting.sizing import PUBLISHED_FROM, natural_size
from scarlet_tf.files import file_name
from scarlet_tf.space import SearchSpace
from scarlet_tf.visible import visible
from scarlet_tf.yaml_files import to_yaml_line

_WIDTH = 116
# Options that shorten every stage to a trial of a few steps.
TRIAL = "--set supernet.epochs=1 --set retrain.epochs=1 --set search.population_size=4 --set search.generations=2"


def config_text(name: str, path, chosen: Choices) -> str:
    """The text of the whole file for `path`."""
    parts = [
        _head(path, chosen),
        f"name: {to_yaml_line(name)}\nseed: 0\n",
        _data(chosen),
        _space(chosen),
        _supernet(chosen),
        _search(chosen),
        _retrain(chosen),
        _export(),
    ]
    return "\n".join(parts)


def _head(path, chosen: Choices) -> str:
    facts = chosen.facts
    where = "a GPU" if chosen.has_gpu else "processors alone, since no GPU was found"
    images = ", ".join(f"{count:,} {split}" for split, count in facts.num_examples.items())
    text = _comment(
        f"Purpose: a network of fewer than {_millions(chosen.budget)} multiply-adds for {facts.name}: {images} images of"
        f" {len(facts.class_names)} classes, whose shorter sides have a median of {facts.side} pixels.",
        f"Written by `scarlet init` as a beginning, for {where}. Every value may be changed; `scarlet run` checks them all"
        " before it trains.",
    )
    trial = f"runs/{file_name(pathlib.Path(path).stem)}_trial"
    time = "not measured"
    if chosen.forecast:
        time = f"forecast {in_words(chosen.forecast)}, by a step of {chosen.step_seconds:.3g} s where it was written"
    file, trial = (_in_comment(shlex.quote(text)) for text in (str(path), trial))
    return f"""{text}
# Check: scarlet doctor --config {file}
# Try every stage on a few steps:
#   scarlet run {file} --run-dir {trial} {TRIAL}
# Run: scarlet run {file}      (it tells the time left; interrupted, the same command resumes)
{_comment(f"Time: {time}.", "Result: not measured.")}
"""


def _data(chosen: Choices) -> str:
    data, facts, size = chosen.data, chosen.facts, chosen.sizing.image_size
    place = {key: getattr(data, key) for key in ("source", "name", "directory") if getattr(data, key)}
    natural = natural_size(facts.side)
    reason = f", and for this budget they are smaller than {natural}" if size < natural else ""
    shares = {"test_fraction": chosen.held_out.test_share, "validation_fraction": chosen.held_out.validation_share}
    parts = [
        "data:",
        _fields(place),
        _note(f"Images become squares of this side{reason}."),
        _fields({"image_size": size}),
        *_shares({key: share for key, share in shares.items() if share is not None}),
        *_cropping(size),
        *_augmentation(data.source, size),
        *_reading(chosen),
    ]
    return "\n".join(parts) + "\n"


def _shares(shares: dict[str, float]) -> list[str]:
    if not shares:
        return []
    return [_note("Held out of the training images, the test images first, each class by its share."), _fields(shares)]


def _cropping(size: int) -> list[str]:
    if size < PUBLISHED_FROM:
        return []
    return [_note("At evaluation the middle of each image counts, as is usual."), _fields({"crop_fraction": 0.875})]


def _augmentation(source: str, size: int) -> list[str]:
    if source == "digits":
        return [_note("Digits must not be mirrored."), _fields({"augmentation": "shift"})]
    kind = "inception" if size >= PUBLISHED_FROM else "crop_flip"
    text = f"{kind} also mirrors images; take shift where left and right have a meaning, as in digits and text."
    return [_note(text), _fields({"augmentation": kind})]


def _reading(chosen: Choices) -> list[str]:
    data, gibibytes = chosen.data, chosen.facts.decoded_bytes / 2**30
    parts = []
    if data.source == "folder":
        parts += [_note("Every file is decoded when a run begins, to find those that cannot be.")]
        parts += [_fields({"check_images": True})]
    if chosen.facts.decoded_bytes > data.memory_bytes:
        text = (
            f"Decoded, the images take about {gibibytes:.1f} GiB: above this limit they are read again in each epoch."
        )
        parts += [_note(text), _fields({"memory_bytes": data.memory_bytes})]
    return parts


def _space(chosen: Choices) -> str:
    sizing, space = chosen.sizing, chosen.sizing.space
    costs = ", ".join(_millions(value) for value in (sizing.least, sizing.median, sizing.greatest))
    squeeze = any(choice.use_se for choice in space.choices)
    published = SearchSpace.from_name("s2" if squeeze else "s1")
    blocks = "inverted residual blocks with and without squeeze-and-excitation, and skips, as in S2"
    if not squeeze:
        blocks = (
            "inverted residual blocks and skips, as in S1; S2 has squeeze-and-excitation, too, and more paths to train"
        )
    comment = _comment(
        f"{space.num_layers} layers with {space.num_choices} choices each: {blocks}.",
        f"Multiply-adds of the cheapest network, of the middle one and of the most expensive: {costs}.",
        "width_multiplier narrows or widens every layer for the budget." if space.width_multiplier != 1 else "",
    )
    if space.width_multiplier == 1 and space.stages == published.stages:
        return f"{comment}\nspace: {published.name}\n"
    stages = [f"    - {{channels: {s.channels}, depth: {s.depth}, stride: {s.stride}}}" for s in space.stages]
    stem = {"name": space.name, "stem_channels": space.stem_channels, "first_channels": space.first_channels}
    rest = {"choices": published.name, "tail_channels": space.tail_channels, "width_multiplier": space.width_multiplier}
    return "\n".join([comment, "space:", _fields(stem), "  stages:", *stages, _fields(rest)]) + "\n"


def _supernet(chosen: Choices) -> str:
    plan, num_train, num_choices = chosen.plan, chosen.held_out.num_train, chosen.sizing.space.num_choices
    comment = _comment(
        f"About {num_train:,} images are left to train on: {num_train // plan.batch_size} steps an epoch, each of which"
        " trains every choice once.",
        "More epochs make the ranking of networks more trustworthy: `scarlet rank` measures it, monitor_paths: 16 watches it.",
    )
    return f"""{comment}
supernet:
  epochs: {plan.supernet_epochs}
  batch_size: {plan.batch_size}
  # For the {num_choices} paths of a step, whose gradients are summed: for another number it changes with its inverse.
  learning_rate: {supernet_rate(plan.batch_size, num_choices)}
  warmup_epochs: {round(plan.supernet_epochs / 10, 1)}
"""


def _search(chosen: Choices) -> str:
    plan = chosen.plan
    count = plan.population_size * plan.generations
    return f"""# {count} networks are scored on validation images; published: 8,400.
search:
  # Every one costs less than this many multiply-adds.
  max_multiply_adds: {_quantity(chosen.budget)}
  population_size: {plan.population_size}
  generations: {plan.generations}
  # Networks picked from the front, from cheap to expensive.
  picks: 3
  # Batches from which a network's batch normalisation is measured before it is scored.
  recalibration_batches: {plan.recalibration_batches}
"""


def _retrain(chosen: Choices) -> str:
    plan = chosen.plan
    return f"""# The picked network is trained on its own: a good place for more epochs.
retrain:
  # The most accurate network within the budget; or the number of a pick, from 0.
  pick: best
  init: scratch
  epochs: {plan.retrain_epochs}
  batch_size: {plan.batch_size}
  optimizer: sgd
  learning_rate: {plan.learning_rate}
  schedule: cosine
  warmup_epochs: {2 if plan.retrain_epochs >= 30 else 1}
  weight_decay: 1e-4
  label_smoothing: 0.1
  dropout: {plan.dropout}
  ema: 0.99
"""


def _export() -> str:
    return """# Each file is compared with the trained network on test images; export/certificate.md says what came out.
export:
  formats: [float32, float16, dynamic, int8]
  saved_model: true
"""


def _in_comment(text: str) -> str:
    return visible(text).replace("\n", "\\n")


def _comment(*texts: str, prefix: str = "# ") -> str:
    wrapper = textwrap.TextWrapper(_WIDTH, prefix, prefix + "  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(line for text in texts if text for line in wrapper.wrap(visible(text)))


def _note(text: str) -> str:
    return _comment(text, prefix="  # ")


def _fields(values: dict[str, Any]) -> str:
    return "\n".join(f"  {key}: {to_yaml_line(value)}" for key, value in values.items())


def _millions(value: float) -> str:
    return f"{value / 1e6:.3g} M"


def _quantity(value: float) -> str:
    """A number as people write it: 60M, or all digits."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if value >= size and value / size == round(value / size, 3):
            return f"{value / size:g}{unit}"
    return f"{value:.0f}"
