"""Config: one run as a value, its sections and keys, and their JSON Schema for editors."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args, get_origin

from annotated_types import MinLen

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import describe, hints, keys_of, member, options
from scarlet_tf.base.settings import Count, Lax, NonNegative, Read, Text, Whole, adapter, to_plain, validated
from scarlet_tf.base.yaml_files import parse_yaml
from scarlet_tf.space.choices import Choice, rounded_channels
from scarlet_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from scarlet_tf.assessment.config import RankingConfig
    from scarlet_tf.data.data_config import DataConfig
    from scarlet_tf.optimization.config import OptimizationConfig
    from scarlet_tf.parents.config import ParentConfig
    from scarlet_tf.race.config import RaceConfig
    from scarlet_tf.search.config import SearchConfig
    from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig

Format = Literal["float32", "float16", "dynamic", "int8", "full_int8"]
FORMATS: tuple[Format, ...] = ("float32", "float16", "dynamic", "int8")
SECTIONS = (
    "data",
    "parent",
    "space",
    "supernet",
    "search",
    "race",
    "retrain",
    "finetune",
    "optimization",
    "export",
    "ranking",
)
WITH_RECIPES = ("supernet", "retrain")
SWITCHED = {"race": "finalists"}
"""Sections that `off` or false leaves out, with the key that is 0 then."""
PYTHON_ONLY = {
    "data.shuffle_buffer": "DataConfig",
    "search.evaluation_group": "SearchConfig",
    "search.mutation.ppo": "MutationConfig",
    "search.betanas.cost_reference": "BetaNASConfig",
    "search.betanas.sampling": "BetaNASConfig",
    "search.betanas.drop_below": "BetaNASConfig",
    "search.betanas.drops_per_check": "BetaNASConfig",
    "retrain.teacher_temperature": "RetrainConfig",
    "retrain.validate_every_epochs": "RetrainConfig",
    "optimization.quantization_aware.label_smoothing": "QuantizationAwareConfig",
    "optimization.quantization_aware.range_batches": "QuantizationAwareConfig",
    "optimization.pruning.label_smoothing": "PruningConfig",
    "optimization.pruning.ramp": "PruningConfig",
    "optimization.pruning.recalibration_batches": "PruningConfig",
    "ranking.bootstrap_resamples": "RankingConfig",
}
"""Fields that keep their defaults in a configuration, as earlier versions wrote them, and the classes that set them in Python."""
RENAMED = {
    "search.max_multiply_adds": "search.upper_bounds.multiply_adds",
    "search.min_accuracy": "search.lower_bounds.accuracy",
    "search.limits": "search.upper_bounds",
    "search.floors": "search.lower_bounds",
}

SPACE = (
    "A published name, `s1` or `s2`, the path of a YAML file, relative to the configuration, `parent` for the space around the"
    " network that `parent.name` names, or a mapping: "
)
FROM_PARENT = "parent"
QUANTITY = r"^\d+(\.\d+)? ?[kMG]$"


@validated("")
@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of the whole run, at the top of the file.

    Args:
        name: of the run; by default the file's name.
        seed: of every draw: initialisation, order, distortions, paths, the search, subsets and hold-outs.
        checkpoint_seconds: time between the checkpoints of each training.
        csv: write each training's metrics, an epoch a line, to `log.csv` in its stage's folder.
        tensorboard: write them to events in the stage's folder `tensorboard/`, which needs the package tensorboard.
    """

    name: Text = "run"
    seed: Whole = 0
    checkpoint_seconds: NonNegative = 60.0
    csv: bool = False
    tensorboard: bool = False

    def of(self, section: type) -> dict[str, Any]:
        """The run's values for those fields of a section that every section takes from the run."""
        fields = {field.name for field in dataclasses.fields(section)}
        return {key: value for key, value in vars(self).items() if key in fields and key != "name"}


@validated("export")
@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The exported files, their calibration and their required accuracy.

    Args:
        formats: of float32, float16, dynamic, int8 and full_int8; see export_tflite.
        saved_model: write a SavedModel, too.
        warm_up: give the SavedModel requests that a model server runs when it loads it; needs the extra [serving].
        dynamic_batch: allow other batch sizes in the .tflite files; LiteRT.js and some delegates need it fixed.
        calibration_examples: training images for the ranges of int8 files.
        verification_examples: test images on which each file is compared with the network.
        max_logit_difference, max_top1_drop: see export.checks.Limits; a file beyond them is reported, and `scarlet
            verify` fails.
        benchmark_threads: of LiteRT, for the latencies in the certificate; 0 measures none.
    """

    formats: Annotated[tuple[Literal["float32", "float16", "dynamic", "int8", "full_int8"], ...], Lax(), MinLen(1)] = (
        FORMATS
    )
    saved_model: bool = True
    warm_up: bool = False
    dynamic_batch: bool = False
    calibration_examples: Count = 200
    verification_examples: Count = 1000
    max_logit_difference: NonNegative = 1e-3
    max_top1_drop: NonNegative = 0.02
    benchmark_threads: Whole = 1

    def __post_init__(self):
        if len(set(self.formats)) != len(self.formats):
            raise InputError(f"export.formats: expected no repeats, got {list(self.formats)}")
        if self.warm_up and not self.saved_model:
            raise InputError("export.warm_up: expected export.saved_model with it, got saved_model: false")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Configuration of one run, as given to `scarlet run`; its sections hold the run's seed, too."""

    data: DataConfig
    parent: ParentConfig
    space: SearchSpace
    supernet: SupernetConfig
    search: SearchConfig
    race: RaceConfig
    retrain: RetrainConfig
    finetune: FinetuneConfig
    optimization: OptimizationConfig
    export: ExportConfig
    ranking: RankingConfig

    @property
    def races(self) -> bool:
        """True if networks race: not where `retrain.pick` names one network, or the cheapest that is good enough."""
        searches = self.race.is_wanted and self.finetune.network is None
        return searches and (self.retrain.pick == "best" or self.bounds_of_pick is not None)

    @property
    def bounds_of_pick(self) -> Mapping[str, float] | None:
        """The bounds of the pick that `retrain.pick` names; None where that is not the best network within bounds."""
        picks = self.search.picks
        bounds = picks.get(str(self.retrain.pick)) if isinstance(picks, Mapping) else None
        return bounds if isinstance(bounds, Mapping) and "accuracy" not in bounds else None

    @property
    def without_supernet(self) -> bool:
        """True if no supernet is trained, and networks are compared by a model of others' own trainings."""
        return self.search.score == "predictor" and self.supernet.epochs == 0 and self.parent.name is None

    @property
    def known_by(self) -> str:
        """Source of a search's accuracies: "one-shot", in the supernet, or "predicted", without one."""
        return "predicted" if self.without_supernet else "one-shot"

    @property
    def of_supernet(self) -> Config:
        """This configuration with the images and the widths that the supernet has: itself unless `supernet` wants others."""
        wanted, size = self.supernet, self.supernet.image_size or self.data.image_size
        if (size, wanted.width_multiplier) == (self.data.image_size, 1.0):
            return self
        width = self.space.width_multiplier * wanted.width_multiplier
        # The tail, too, which SearchSpace's own multiplier leaves alone: a wide one on narrow features trains unstably.
        tail = rounded_channels(self.space.tail_channels * wanted.width_multiplier)
        space = dataclasses.replace(self.space, input_size=size, width_multiplier=width, tail_channels=tail)
        return dataclasses.replace(self, data=dataclasses.replace(self.data, image_size=size), space=space)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every default written out; `parse_config` reads it back."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)}
        for name, section in section_types().items():
            values[name] = _visible(to_plain(getattr(self, name)), name, hidden_keys(name, section))
        values["space"] = FROM_PARENT if self.parent.name else _space_to_plain(self.space)
        order = [key for key in values if key not in SECTIONS]
        return {key: values[key] for key in (*order, *SECTIONS)}


def _visible(values: Mapping, prefix: str, hidden: Mapping[str, str]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if f"{prefix}.{key}" not in hidden}
    return {
        key: _visible(value, f"{prefix}.{key}", hidden) if isinstance(value, Mapping) else value
        for key, value in kept.items()
    }


def _space_to_plain(space: SearchSpace) -> Any:
    try:
        published = SearchSpace.from_name(space.name, input_size=space.input_size)
    except InputError:
        return space.to_dict()
    return space.name if published == space else space.to_dict()


@functools.cache
def section_types() -> dict[str, type]:
    """The dataclass of each section except `space`; imported late, because some of their modules import TensorFlow."""
    from scarlet_tf.assessment.config import RankingConfig
    from scarlet_tf.data.data_config import DataConfig
    from scarlet_tf.optimization.config import OptimizationConfig
    from scarlet_tf.parents.config import ParentConfig
    from scarlet_tf.race.config import RaceConfig
    from scarlet_tf.search.config import SearchConfig
    from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig

    return {
        "data": DataConfig,
        "parent": ParentConfig,
        "supernet": SupernetConfig,
        "search": SearchConfig,
        "race": RaceConfig,
        "retrain": RetrainConfig,
        "finetune": FinetuneConfig,
        "optimization": OptimizationConfig,
        "export": ExportConfig,
        "ranking": RankingConfig,
    }


def hidden_keys(name: str, section: type) -> dict[str, str]:
    """{dotted key: hint}: the fields of a section that its part of a file does not set; the seed of the data it may."""
    found = {key: f"{one}({key.rpartition('.')[2]}=...) sets it in Python" for key, one in PYTHON_ONLY.items()}
    found |= {key: f"it is {now} now" for key, now in RENAMED.items()}
    for key in RunConfig().of(section):
        found[f"{name}.{key}"] = f"{key} is set once for the whole run, at the top of the file or by --set {key}=..."
    found.pop("data.seed", None)
    return {key: hint for key, hint in found.items() if key.startswith(f"{name}.")}


def known_keys() -> Iterator[str]:
    """Every dotted key that a configuration may hold, sections included."""
    yield from (field.name for field in dataclasses.fields(RunConfig))
    yield from SECTIONS
    yield from keys_of(SearchSpace, "space")
    yield from (f"{name}.recipe" for name in WITH_RECIPES)
    for name, section in section_types().items():
        hidden = [f"{key}." for key in hidden_keys(name, section)]
        yield from (key for key in keys_of(section, name) if not any(f"{key}.".startswith(one) for one in hidden))


def json_schema() -> dict[str, Any]:
    """JSON Schema of configurations, with every key's meaning, bounds and default; editors complete and check by it."""

    schema = _schema_of(RunConfig, "", {})
    properties = schema["properties"]
    for name in SECTIONS:
        if name == "space":
            made = _schema_of(SearchSpace, name, {})
            properties[name] = {**made, "type": ["string", "object"], "description": SPACE + made["description"]}
            continue
        section = section_types()[name]
        made = _schema_of(section, name, hidden_keys(name, section))
        properties[name] = {**made, "type": ["object", "null"]}
        if name in SWITCHED:
            words = {"if": {"type": "string"}, "then": {"enum": ["off", "on"]}}
            properties[name] |= {"type": ["object", "boolean", "string", "null"], **words}
        if name in WITH_RECIPES:
            text = "A block of values that the section's other keys override. Expected: a recipe's name or null."
            recipe = {"enum": [*recipe_names(name), None], "default": None, "description": text}
            properties[name]["properties"] = {"recipe": recipe, **properties[name]["properties"]}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Configuration of scarlet run"}
    return {**head, **schema, "required": ["data", "space"]}


def _schema_of(cls: type, name: str, hidden: Mapping[str, str]) -> dict[str, Any]:
    """The schema of a section, or of settings nested in one."""
    intro, meanings = documented(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        hint, dotted = hints(cls)[field.name], f"{name}.{field.name}"
        if dotted in hidden:
            continue
        text = f"{meanings[field.name]} Expected: {describe(hint)}."
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is dataclasses.MISSING:
            required.append(field.name)
        is_plain = default is not dataclasses.MISSING and not dataclasses.is_dataclass(default)
        known = {"default": default} if is_plain else {}
        properties[field.name] = {**_schema_of_value(hint, dotted, hidden), "description": text, **known}
    needed = {"required": required} if required else {}
    return {"type": "object", "description": intro, "properties": properties, "additionalProperties": False, **needed}


def _schema_of_value(hint: Any, name: str, hidden: Mapping[str, str]) -> dict[str, Any]:
    if not any(dataclasses.is_dataclass(member(option) or option) for option in options(hint)):
        return _readable(adapter(hint).json_schema())
    made = [_schema_of_option(option, name, hidden) for option in options(hint)]
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    for mark in marks:
        if isinstance(mark, MinLen):
            made[0]["minItems"] = mark.min_length
        if isinstance(mark, Read) and mark.also:
            made.append(adapter(mark.also).json_schema())
    return {"anyOf": made} if len(made) > 1 else made[0]


def _schema_of_option(option: Any, name: str, hidden: Mapping[str, str]) -> dict[str, Any]:
    inner: Any = member(option)
    if inner is Choice:
        return {"type": "array", "items": _schema_of_choice(name)}
    if inner:
        return {"type": "array", "items": _schema_of(inner, name, hidden)}
    if dataclasses.is_dataclass(option):
        return _schema_of(cast(type, option), name, hidden)
    return _schema_of_value(option, name, {})


def _schema_of_choice(name: str) -> dict[str, Any]:
    """The schema of a choice in each of its forms."""
    made = _schema_of(Choice, name, {})
    known = {**made["properties"], "skip": {"const": True, "description": "The layer may be left out."}}
    forms = []
    for keys in Choice.forms:
        required = [key for key in keys if key != "use_se"]
        for key in required:
            known[key].pop("default", None)
        forms.append({**made, "properties": {key: known[key] for key in keys}, "required": required})
    return {"anyOf": forms}


def _readable(schema: Any) -> Any:
    """A schema that also allows quantities such as "60M" for numbers, as YAML does."""
    if isinstance(schema, list):
        return [_readable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _readable(value) for key, value in schema.items()}
    if found.get("type") in ("integer", "number"):
        found |= {"type": [found["type"], "string"], "pattern": QUANTITY}
    return found


def documented(cls: type) -> tuple[str, dict[str, str]]:
    """The text of a dataclass' docstring, and that of each field; fields may share an entry: "a, b: ..."."""
    meanings: dict[str, str] = {}
    for base in cls.__bases__:
        meanings |= documented(base)[1] if dataclasses.is_dataclass(base) else {}
    intro, _, text = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")
    block, _, after = text.partition("\n\n")
    for names, meaning in re.findall(
        r"^    (\w+(?:, \w+)*): (.*(?:\n(?!    \w+(?:, \w+)*: ).*)*)", block, re.MULTILINE
    ):
        sentence = " ".join(meaning.split())
        meanings |= dict.fromkeys(names.split(", "), sentence[:1].upper() + sentence[1:])
    return "\n\n".join(" ".join(part.split()) for part in f"{intro}\n\n{after}".strip().split("\n\n")), meanings


@functools.cache
def recipes() -> dict[str, dict[str, dict[str, Any]]]:
    """{name: {section: values}} of the YAML files in this package's folder recipes/."""
    folder = importlib.resources.files("scarlet_tf.config").joinpath("recipes")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): parse_yaml(file.read_text(encoding="utf-8"), file.name) for file in files}


def recipe_names(section: str) -> list[str]:
    """The recipes that `section` may name."""
    return [name for name, blocks in recipes().items() if section in blocks]
