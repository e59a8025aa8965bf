"""Parts of a space and whole networks as .tflite files that are there to be timed, and many files measured in passes.

A pass has all the files, in mixed order, and what it measures is kept on disk as it comes. What else runs on a host, or a clock
that was lowered, only ever adds time, and comes and goes. So of a file's passes the one with the least median counts: what the
file takes when nothing is in its way.
"""

from __future__ import annotations

import hashlib
import logging
import pathlib
import tempfile
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.base.streams import quiet
from scarlet_tf.export.tflite import convert, rewrite_for_xnnpack
from scarlet_tf.latency.timing import Measurement, Runner
from scarlet_tf.layers import primitives
from scarlet_tf.layers.builder import connect_block, connect_stem, connect_tail
from scarlet_tf.layers.core import without_kernels
from scarlet_tf.models.network import build_network
from scarlet_tf.space.cost import Size
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec

logger = logging.getLogger("scarlet_tf")
PASSES = 5
BATCH = 8  # files in memory, or on the device, at one time
CALIBRATION_IMAGES = 4  # random ones: ranges change no latency


class Measurements:
    """Measurements of named files, kept in `path` with the settings that they belong to.

    A process that was killed loses one batch of one pass. InputError where `path` was begun with other settings.
    """

    def __init__(self, path, settings: Mapping):
        self.path, self.settings = pathlib.Path(path), dict(settings)
        self.passes: dict[str, list[list[float]]] = {}
        self.bytes: dict[str, int] = {}
        if self.path.exists():
            self._restore(read_json(self.path))

    def measure(self, files: Mapping[str, Callable[[], bytes]], runner: Runner, passes: int, name: str) -> None:
        """Measure every file `passes` times; `files` maps names to functions that make their content."""
        if passes < 1:
            raise InputError(f"passes: expected an integer >= 1, got {passes!r}")
        done = sum(min(passes, len(self.passes.get(file, ()))) for file in files)
        with tempfile.TemporaryDirectory() as folder, progress_bar(name, passes * len(files), done) as bar:
            for number in range(passes):
                todo = [file for file in _mixed(files, number) if len(self.passes.get(file, ())) <= number]
                for start in range(0, len(todo), BATCH):
                    batch = todo[start : start + BATCH]
                    contents = [_content(pathlib.Path(folder), file, files[file]) for file in batch]
                    self._add(batch, contents, runner.measure(contents))
                    bar.advance(len(batch))

    def of(self, file: str) -> Measurement:
        """The file's fastest pass."""
        milliseconds, deviation, num_runs = min(self.passes[file])
        return Measurement(milliseconds, deviation, int(num_runs))

    def _add(self, files, contents, found) -> None:
        for file, content, one in zip(files, contents, found, strict=True):
            row = [round(one.milliseconds, 6), round(one.deviation, 6), one.num_runs]
            self.passes.setdefault(file, []).append(row)
            self.bytes[file] = len(content)
        write_result(self.path, {**self.settings, "bytes": self.bytes, "passes": self.passes})

    def _restore(self, found) -> None:
        if not isinstance(found, dict) or not isinstance(found.get("passes"), dict):
            raise InputError(f"{self.path}: expected measurements that were begun; remove it to begin again")
        for key, value in self.settings.items():
            if found.get(key) != value:
                raise InputError(
                    f"{self.path}: it was begun with another {key}: expected {value}, found {found.get(key)}; remove it to"
                    " begin again"
                )
        self.passes, self.bytes = found["passes"], found["bytes"]
        logger.info("%s: continued", self.path)


def _mixed(files: Mapping, number: int) -> list[str]:
    names = list(files)
    return [names[i] for i in np.random.default_rng(number).permutation(len(names))]


def _content(folder: pathlib.Path, file: str, make: Callable[[], bytes]) -> bytes:
    """A file's content, made once a process."""
    path = folder / hashlib.sha256(file.encode()).hexdigest()[:16]
    if not path.exists():
        path.write_bytes(make())
    return path.read_bytes()


def part_content(space: SearchSpace, about, size: Size, num_classes: int | None, quantization: str = "none") -> bytes:
    """A part of `metric_table.parts` as a .tflite file of its own."""
    return timing_content(part_model(space, about, size, num_classes), quantization, float_ends=False)


def network_content(
    architecture: Architecture, input_size: int, num_classes: int | None, quantization: str = "none"
) -> bytes:
    """A stand-alone network with random weights as a .tflite file."""
    return timing_content(build_network(architecture, (input_size, input_size, 3), num_classes), quantization)


def idle_content() -> bytes:
    """Next to nothing: what it takes, and its bytes, any file takes."""
    nothing = keras.Input((1, 1, 1))
    return timing_content(keras.Model(nothing, keras.layers.ReLU()(nothing)))


def timing_content(model: keras.Model, quantization: str = "none", float_ends: bool = True) -> bytes:
    """The .tflite file of a model, batch 1, without metadata: the operations that `export_tflite` would write.

    The weights enter the graph as constants: with variables the converter would leave them out of the file and neither
    fold batch normalisation nor hand the graph to XNNPACK. `export_tflite` comes by way of a SavedModel, which
    takes about five times as long.
    """
    model = rewrite_for_xnnpack(model)
    shape = (1, *model.input_shape[1:])
    trained, state = ([np.asarray(v) for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))
    function = tf.function(lambda image: model.stateless_call(trained, state, image, training=False)[0])
    images = np.random.default_rng(0).normal(size=(CALIBRATION_IMAGES, *shape[1:])).astype(np.float32)
    with quiet(), without_kernels():
        graph = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
        return convert(
            lambda: tf.lite.TFLiteConverter.from_concrete_functions([graph]),
            quantization,
            images,
            float_ends=float_ends,
        )


def part_model(space: SearchSpace, about, size: Size, num_classes: int | None) -> keras.Model:
    """A part of `metric_table.parts` as a model of its own."""
    ends = space.ends((*size, 3), num_classes)
    if about == "stem":
        image = keras.Input((*size, 3))
        return keras.Model(image, connect_stem(ends, image, primitives, seed=0))
    if isinstance(about, int):
        features = keras.Input((*size, about))
        return keras.Model(features, connect_tail(ends, features, primitives, seed=0))
    features = keras.Input((*size, about.in_channels))
    return keras.Model(features, connect_block(about, features, primitives, seed=0, conventions=ends.conventions))


def takes_nothing(space: SearchSpace, about) -> bool:
    """True if a part never runs by itself: a skipped layer whose stride the next convolution takes over.

    `models.network.connect` does that unless the next block has a shortcut, which takes a later layer of stride 1 with
    the channels that reach the skipped one.
    """
    if not isinstance(about, IdentitySpec) or about.in_channels != about.out_channels:
        return False
    widths = [space.widths[1]]
    for layer in space.layers:
        if layer.stride > 1 or layer.out_channels != widths[-1]:
            widths.append(layer.out_channels)
    return widths.count(about.in_channels) == 1
