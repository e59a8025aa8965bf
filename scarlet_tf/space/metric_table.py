"""MetricTable: latency, file size or any other measured figure of a space's blocks, from a JSON or YAML file.

    {"version": 1, "input_size": 32, "num_classes": 10, "device": {...}, "metrics": ["latency_ms", "file_bytes"],
     "entries": {"stem 3>16>8 s1 @32x32": [0.02, 1804], "ir 8>48>16 k3 s2 se0 hard_swish @32x32": [0.11, 9120], ...}}

An entry holds one number for each metric. `block_key`, `stem_key` and `tail_key` name an entry by its channels, kernel,
stride, width of squeeze-and-excitation, shortcut, activation, and the size of the input. A network's figure is the sum of
its parts' [reading: parts run one after another on a phone, so times add up]. `device` describes the measurement.
Further keys are information that no sum needs, see docs/tables.md; they are kept as `details`.
"""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json, write_text
from scarlet_tf.base.yaml_files import read_yaml, to_yaml
from scarlet_tf.space.cost import Size, SumTable, reduced
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import BlockSpec, IdentitySpec, InvertedResidualSpec, LinearSpec

VERSION = 1
_KEYS = ("version", "space", "input_size", "num_classes", "device", "metrics", "entries")
_YAML = (".yaml", ".yml")


def block_key(block: BlockSpec, size: Size, padding: str = "symmetric") -> str:
    """The entry of a block whose input has `size` pixels; `padding` is that of the space's conventions."""
    at = f"@{size[0]}x{size[1]}"
    if isinstance(block, InvertedResidualSpec):
        shortcut = " shortcut" if block.residual else ""
        channels = f"{block.in_channels}>{block.hidden_channels}>{block.out_channels}"
        gate = f" {block.se_gate}" if block.se_channels and block.se_gate != "hard_sigmoid" else ""
        gate += f" {block.se_activation}" if block.se_channels and block.se_activation != "relu" else ""
        same = " same" if block.stride > 1 and padding == "same" else ""
        shape = f"k{block.kernel_size} s{block.stride}{same} se{block.se_channels}{gate}"
        return f"{'ir' if block.expand else 'ds'} {channels} {shape} {block.activation}{shortcut} {at}"
    if isinstance(block, LinearSpec | IdentitySpec):
        normalized = " bn" if isinstance(block, LinearSpec) and block.batch_norm else ""
        return f"{block.kind} {block.in_channels}>{block.out_channels} s{block.stride}{normalized} {at}"
    assert_never(block)


def stem_key(space: SearchSpace, size: Size) -> str:
    """The entry of the stem; `size` is the image's."""
    stem, first, _ = space.widths
    widths = f"{stem}" if space.first_channels is None else f"{stem}>{first}"
    same = " same" if space.stem_stride > 1 and space.conventions.padding == "same" else ""
    activation = "" if space.stem_activation == "relu6" else f" {space.stem_activation}"
    return f"stem 3>{widths} s{space.stem_stride}{same}{activation} @{size[0]}x{size[1]}"


def tail_key(space: SearchSpace, channels: int, num_classes: int | None, size: Size) -> str:
    """The entry of tail and classifier after `channels` channels of `size` pixels."""
    ends = space.ends(num_classes=num_classes)
    head = "" if ends.head_channels is None else f"{ends.head_channels}{'' if ends.head_bias else ' without bias'}>"
    activation = "" if ends.tail_activation == "relu6" else f" {ends.tail_activation}"
    return f"tail {channels}>{ends.tail_channels}>{head}{num_classes or 0}{activation} @{size[0]}x{size[1]}"


class MetricTable(SumTable):
    """Predicted figures of all stand-alone architectures of a space: the sums of their parts' entries.

    Raises InputError that names the parts that `entries` lacks, or an entry that is not a list of finite numbers.
    """

    def __init__(
        self,
        space: SearchSpace,
        input_size: int,
        num_classes: int | None,
        metrics: Sequence[str],
        entries: Mapping[str, Sequence[float]],
        device: Mapping | None = None,
        source: str = "table",
        details: Mapping | None = None,
    ):
        self.entries, self.device, self.source = dict(entries), dict(device or {}), source
        self.details = dict(details or {})
        wanted, missing = set(), []

        def look_up(key: str) -> list[float]:
            values = self.entries.get(key)
            wanted.add(key)
            if values is None:
                missing.append(key)
                return [0.0] * len(metrics)
            return self._checked_entry(key, values, len(metrics))

        def of_ends(image, size, channels):
            ends = look_up(stem_key(space, image)), look_up(tail_key(space, channels, num_classes, size))
            return [a + b for a, b in zip(*ends, strict=True)]

        def of_block(block, size):
            return look_up(block_key(block, size, space.conventions.padding))

        super().__init__(space, input_size, num_classes, metrics, of_block, of_ends, dtype=float)
        if missing:
            raise InputError(
                f"{source}: entries: expected all {len(wanted)} parts of space {space.name!r} at"
                f" {input_size} pixels and {num_classes} classes, {len(set(missing))} are missing, the first is"
                f" {missing[0]!r}"
            )

    @classmethod
    def load(
        cls, path, space: SearchSpace, input_size: int | None = None, num_classes: int | None = None
    ) -> MetricTable:
        """The table in the file `path`; size and classes are by default those that it was made for.

        InputError if it is not a table, or lacks a part of `space` at that size.
        """
        data = _read(path)
        if not isinstance(data, Mapping) or data.get("version") != VERSION:
            got = data.get("version") if isinstance(data, Mapping) else data
            raise InputError(f"{path}: version: expected {VERSION}, got {got!r}")
        metrics: Any = data.get("metrics")
        entries: Any = data.get("entries")
        if not isinstance(metrics, list) or not metrics or not all(isinstance(name, str) for name in metrics):
            raise InputError(f"{path}: metrics: expected a list of names, got {metrics!r}")
        for key, value in (("entries", entries), ("device", data.get("device", {}))):
            if not isinstance(value, Mapping):
                raise InputError(f"{path}: {key}: expected a mapping, got {value!r}")
        size: Any = data.get("input_size") if input_size is None else input_size
        classes: Any = data.get("num_classes") if num_classes is None else num_classes
        details = {key: value for key, value in data.items() if key not in _KEYS}
        return cls(space, size, classes, metrics, entries, data.get("device"), str(path), details)

    def save(self, path) -> None:
        """Write the file, as YAML if it ends in .yaml or .yml, else as JSON."""
        if pathlib.Path(path).suffix in _YAML:
            write_text(path, to_yaml(self.to_dict(), compact=True))
        else:
            write_json(path, self.to_dict())

    def with_metric(self, name: str, values: Mapping[str, float], details: Mapping | None = None) -> MetricTable:
        """The same table with other values of one metric, one per entry."""
        column = self.names.index(name)
        entries = {key: [*row[:column], values[key], *row[column + 1 :]] for key, row in self.entries.items()}
        place = (self.space, self.input_size, self.num_classes, self.names)
        return MetricTable(*place, entries, self.device, self.source, self.details if details is None else details)

    def keys_of(self, architecture: Architecture) -> list[str]:
        """The entries whose sum is a stand-alone network's figure; one that occurs twice is listed twice."""
        size = (self.input_size, self.input_size)
        spec = architecture.lower((*size, 3), self.num_classes)
        keys, size = [stem_key(self.space, size)], reduced(size, self.space.stem_stride)
        for block in spec.blocks:
            keys.append(block_key(block, size, self.space.conventions.padding))
            size = reduced(size, block.stride)
        return [*keys, tail_key(self.space, spec.feature_channels, self.num_classes, size)]

    def to_dict(self) -> dict:
        """The file's content."""
        return {
            "version": VERSION,
            "space": self.space.name,
            "input_size": self.input_size,
            "num_classes": self.num_classes,
            "device": self.device,
            "metrics": list(self.names),
            "entries": {key: list(values) for key, values in self.entries.items()},
            **self.details,
        }

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the sums depend on."""
        text = json.dumps([list(self.names), sorted(self.entries.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _checked_entry(self, key: str, values, count: int) -> list[float]:
        numbers = isinstance(values, Sequence) and not isinstance(values, str)
        if not numbers or len(values) != count or not all(_is_finite(value) for value in values):
            raise InputError(f"{self.source}: entries.{key}: expected {count} finite numbers, got {values!r}")
        return [float(value) for value in values]


def parts(space: SearchSpace, input_size: int, num_classes: int | None) -> Iterator[tuple[str, object, Size]]:
    """(key, part, size of its input) of everything that a table of `space` needs, each key once.

    The part is a BlockSpec, "stem", or the number of channels that reach the tail.
    """
    found: dict[str, tuple] = {}

    def of_block(block, size):
        found[block_key(block, size, space.conventions.padding)] = (block, size)
        return []

    def of_ends(image, size, channels):
        found[stem_key(space, image)] = ("stem", image)
        found[tail_key(space, channels, num_classes, size)] = (channels, size)
        return []

    SumTable(space, input_size, num_classes, (), of_block, of_ends)
    for key, (about, size) in found.items():
        yield key, about, size


def _read(path):
    if not pathlib.Path(path).exists():
        raise InputError(f"{path}: could not be read: No such file; to measure one: scarlet latency build --out {path}")
    return read_yaml(path) if pathlib.Path(path).suffix in _YAML else read_json(path)


def _is_finite(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
