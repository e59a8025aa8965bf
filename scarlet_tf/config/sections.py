"""The sections of a configuration: each is the frozen dataclass of the library stage that uses it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import MinLen

from scarlet_tf.errors import InputError
from scarlet_tf.settings import Count, Lax, NonNegative, Whole, keys_of, validated
from scarlet_tf.space import SearchSpace

Format = Literal["float32", "float16", "dynamic", "int8", "full_int8"]
FORMATS: tuple[Format, ...] = ("float32", "float16", "dynamic", "int8")
SECTIONS = ("data", "space", "supernet", "search", "retrain", "finetune", "optimization", "export", "ranking")


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


@functools.cache
def section_types() -> dict[str, type]:
    """The dataclass of each section except `space`; imported late, because some of their modules import TensorFlow."""
    from scarlet_tf.data.data_config import DataConfig
    from scarlet_tf.optimization.config import OptimizationConfig
    from scarlet_tf.ranking.config import RankingConfig
    from scarlet_tf.search.run import SearchConfig
    from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig

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
