"""The sections of a configuration: each is the frozen dataclass of the library stage that uses it."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator

from scarlet_tf.errors import InputError
from scarlet_tf.space import SearchSpace

FORMATS = ("float32", "float16", "dynamic", "int8")
ALL_FORMATS = (*FORMATS, "full_int8")
SECTIONS = ("data", "space", "supernet", "search", "retrain", "finetune", "optimization", "export", "ranking")


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

    formats: tuple[str, ...] = FORMATS
    saved_model: bool = True
    warm_up: bool = False
    dynamic_batch: bool = False
    calibration_examples: int = 200
    verification_examples: int = 1000
    max_logit_difference: float = 1e-3
    max_top1_drop: float = 0.02
    benchmark_threads: int = 1
    __pydantic_config__: typing.ClassVar = {"extra": "forbid"}

    def __post_init__(self):
        for name in self.formats:
            if name not in ALL_FORMATS:
                raise InputError(f"export.formats: expected some of {', '.join(ALL_FORMATS)}, got {name!r}")
        if not self.formats or len(set(self.formats)) != len(self.formats):
            raise InputError(f"export.formats: expected at least one format and no repeats, got {list(self.formats)}")
        if self.warm_up and not self.saved_model:
            raise InputError("export.warm_up: expected export.saved_model with it, got saved_model: false")
        for key in ("calibration_examples", "verification_examples"):
            if getattr(self, key) < 1:
                raise InputError(f"export.{key}: expected an integer >= 1, got {getattr(self, key)}")
        for key in ("max_logit_difference", "max_top1_drop", "benchmark_threads"):
            if not getattr(self, key) >= 0:
                raise InputError(f"export.{key}: expected a number >= 0, got {getattr(self, key)}")


@functools.cache
def section_types() -> dict[str, type]:
    """The dataclass of each section except `space`; imported late, because some of their modules import TensorFlow."""
    from scarlet_tf.data.data_config import DataConfig
    from scarlet_tf.optimization.config import OptimizationConfig
    from scarlet_tf.ranking.config import RankingConfig
    from scarlet_tf.search.run import SearchConfig
    from scarlet_tf.training.finetuning_config import FinetuneConfig
    from scarlet_tf.training.network_config import RetrainConfig
    from scarlet_tf.training.supernet_config import SupernetConfig

    return {
        "data": DataConfig,
        "supernet": SupernetConfig,
        "search": SearchConfig,
        "retrain": RetrainConfig,
        "finetune": FinetuneConfig,
        "optimization": OptimizationConfig,
        "export": ExportConfig,
        "ranking": RankingConfig,
    }


def known_keys() -> Iterator[str]:
    """Every dotted key that a configuration may hold, sections included."""
    yield from ("name", "seed", *SECTIONS)
    yield from (f"space.{field.name}" for field in dataclasses.fields(SearchSpace))
    yield from ("supernet.recipe", "retrain.recipe")
    for name, section in section_types().items():
        yield from keys_of(section, name)


def keys_of(section: type, prefix: str) -> Iterator[str]:
    """The dotted keys of a section's dataclass, and of those nested in it, with `prefix` in front."""
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        yield f"{prefix}.{field.name}"
        hint = hints[field.name]
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for option in options:
            if isinstance(option, type) and dataclasses.is_dataclass(option):
                yield from keys_of(option, f"{prefix}.{field.name}")
