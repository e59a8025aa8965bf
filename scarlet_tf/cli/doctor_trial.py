"""Training and export on this machine against plain Keras: `python -m scarlet_tf.cli.doctor_trial` prints the result as JSON.

Each comparison has a reference made of Keras' own layers and SGD. It runs in the state of oneDNN that the environment sets; see
`doctor`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.evaluation import kernels
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.export.folding import fold
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import open_tflite
from scarlet_tf.layers import SpecBlock
from scarlet_tf.models.network import Arrays, build_network, get_arrays, plain_reference, set_arrays
from scarlet_tf.models.supernet import Supernet, extract, path_variables
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import InvertedResidualSpec
from scarlet_tf.training.fair_step import EXECUTIONS, SupernetStep
from scarlet_tf.training.network import retrain
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths

# Every size of filter and a LET, each with stride 2, with a shortcut, and where the width changes.
SPACE = SearchSpace(
    "trial",
    (Stage(8, 2, 2), Stage(12, 1, 1)),
    (Choice(2, 3), Choice(2, 5, True), Choice(2, 7), Choice()),
    stem_channels=8,
    stem_stride=1,
    first_channels=8,
    tail_channels=16,
    input_size=12,
)
MEASURED = (0, 3, 1)  # with a LET that folding removes
CLASSES, IMAGES = 4, 16
# A rate so high that rounding of the weights does not hide the gradients: each weight is updated only once.
RATE, MOMENTUM = 8.0, 0.9
# Relative, see `compared`. Another order of float32 sums gives 1e-4 at most; a wrong operation gives far more.
TOLERANCE = 1e-3
# A step of 8 bits is 1/255 of a layer's range, and there are a dozen layers: measured 0.02.
TOLERANCE_INT8 = 0.1
# (hidden channels, kernel, stride) of the blocks that are timed, at 28 pixels and 16 channels.
TIMED = ((48, 3, 1), (48, 5, 1), (96, 7, 1), (96, 5, 2))
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Result of one computation done twice: the greatest difference, relative to the greatest value, and its bound."""

    name: str
    difference: float
    tolerance: float


def main() -> None:
    """Print the outcome, after all output of libraries."""
    with contextlib.redirect_stdout(sys.stderr):
        outcome = {
            "route": kernels.tried().chosen,
            "refused": kernels.tried().refused,
            "onednn": kernels.has_onednn(),
            "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons()],
            "seconds": block_seconds(),
        }
    print(json.dumps(outcome))


def comparisons() -> Iterator[Comparison]:
    """Every comparison, from a training step to files in LiteRT."""
    images, labels = examples()
    supernet = new_supernet()
    paths = strict_fair_paths(SPACE, 0, 0)
    gradients = [plain_path_gradients(supernet, path, images, labels) for path in paths]
    for execution in EXECUTIONS:
        yield compare_step(f"fair step ({execution})", execution, paths, gradients, images, labels)
    yield compare_step("uniform step", "sequential", paths[:1], gradients[:1], images, labels)
    architecture = Architecture(MEASURED, SPACE)
    measured = measured_twin(extract(supernet, architecture), images)
    logits = measured(images, training=False).numpy()
    yield compare_evaluation(supernet, architecture, logits, images, labels)
    yield compare_retraining(architecture, images, labels)
    network = extract(supernet, architecture)
    set_arrays(network, get_arrays(measured))
    folded, _ = fold(network)
    yield compared("folding", {"logits": folded(images, training=False).numpy()}, {"logits": logits})
    yield from compare_files(folded, logits, images)


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Return images [N, S, S, 3], which are different for each class, and labels [N]."""
    rng, side = np.random.default_rng(0), SPACE.input_size
    labels = np.arange(IMAGES, dtype=np.int32) % CLASSES
    patterns = rng.normal(size=(CLASSES, side, side, 3))
    return (patterns[labels] + rng.normal(size=(IMAGES, side, side, 3))).astype(np.float32), labels


# -- comparisons --------------------------------------------------------------------------------------------------


def compare_step(name: str, execution: str, paths, gradients: list[dict], images, labels) -> Comparison:
    """One step of the supernet, and Keras' SGD on the sum of its paths' gradients as stand-alone networks."""
    supernet = new_supernet()
    before = values(supernet.trainable_variables)
    expected = weights_after_plain_step(supernet, gradients)
    optimizer = MomentumSGD(learning_rate=RATE, momentum=MOMENTUM)
    optimizer.build(supernet.trainable_variables)
    step: Any = SupernetStep(supernet, optimizer, Loss(CLASSES, IMAGES), execution)
    step = tf.function(step, autograph=False) if step.compiled else step
    step(tf.constant(images), tf.constant(labels), tf.constant(paths))
    return compared(name, minus(values(supernet.trainable_variables), before), minus(expected, before))


def new_supernet() -> Supernet:
    """Return the supernet of the trial, the same each time."""
    return Supernet(SPACE, num_classes=CLASSES, name="trial")


def plain_path_gradients(supernet: Supernet, path, images, labels) -> dict[str, Any]:
    """Return a path's gradients by the path names of the supernet's variables, from a network of Keras' layers."""
    architecture = Architecture(tuple(path.tolist()), supernet.space)
    variables = path_variables(supernet, architecture)
    found = plain_gradients(extract(supernet, architecture), images, labels)
    return {variables[name].path: gradient for name, gradient in found.items()}


def weights_after_plain_step(supernet: Supernet, gradients: list[dict]) -> Arrays:
    """Return the supernet's trainable weights after Keras' SGD; weights without a gradient stay."""
    sums: dict[str, Any] = {}
    for path, gradient in itertools.chain.from_iterable(found.items() for found in gradients):
        sums[path] = sums.get(path, 0.0) + gradient
    references = {v.path: keras.Variable(v) for v in supernet.trainable_variables}
    keras.optimizers.SGD(RATE, momentum=MOMENTUM).apply(list(sums.values()), [references[path] for path in sums])
    return {path: keras.ops.convert_to_numpy(reference) for path, reference in references.items()}


def plain_gradients(network: keras.Model, images, labels) -> dict:
    """Return the mean loss's gradients by "layer/weight"."""
    reference = plain_reference(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    variables = {f"{layer.name}/{v.name}": v.value for layer in reference.layers for v in layer.trainable_variables}
    with tf.GradientTape() as tape:
        value = loss(labels, reference(images, training=True))
    return tape.gradient(value, variables)


def compare_evaluation(supernet: Supernet, architecture: Architecture, logits, images, labels) -> Comparison:
    """The evaluator's loss and accuracy, and those of the logits of plain Keras with statistics of the same images."""
    data = (images, labels)
    found = Evaluator(supernet, data, data, recalibration_batches=1, batch_size=IMAGES).evaluate(architecture)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    expected = {"loss": float(loss), "accuracy": float(np.mean(logits.argmax(axis=1) == labels))}
    return compared("evaluation", {name: found[name] for name in expected}, expected)


def compare_retraining(architecture: Architecture, images, labels) -> Comparison:
    """One step of retraining, and plain SGD from the same weights."""
    spec = architecture.lower((*images.shape[1:],), CLASSES, skip="identity")
    network = build_network(spec, dropout=0.0, seed=0)
    before = get_arrays(network)
    reference = plain_reference(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    reference.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss, run_eagerly=True)
    reference.train_on_batch(images, labels)
    neutral = ("warmup_epochs", "weight_decay", "label_smoothing", "dropout", "ema", "recalibration_batches")
    settings = {"epochs": 1, "batch_size": IMAGES, "optimizer": "sgd", "learning_rate": RATE, "schedule": "constant"}
    settings |= {"momentum": MOMENTUM, **dict.fromkeys(neutral, 0)}
    data = (images, labels)
    trained, _ = retrain(spec, data, data, settings, initial=before)
    return compared("retraining step", minus(get_arrays(trained), before), minus(get_arrays(reference), before))


def compare_files(network: keras.Model, logits, images) -> Iterator[Comparison]:
    """Float32 and int8 files in LiteRT, and Keras' logits."""
    with tempfile.TemporaryDirectory(prefix="scarlet-doctor-") as folder:
        for name, quantization, tolerance in (
            ("float32 file", "none", TOLERANCE),
            ("int8 file", "int8", TOLERANCE_INT8),
        ):
            path = pathlib.Path(folder) / f"{quantization}.tflite"
            export_tflite(network, path, quantization, images)
            predict, _ = open_tflite(path)
            yield compared(name, {"logits": predict(images)}, {"logits": logits}, tolerance)


def compared(name: str, found: Mapping, expected: Mapping, tolerance: float = TOLERANCE) -> Comparison:
    """Compare arrays of the same names; NaN is as far off as can be.

    An array's difference is relative to its greatest value, or to a hundredth of the greatest of all: values that are zero
    in exact arithmetic, as gradients in front of batch normalisation, are rounding errors in both.
    """
    greatest = {key: float(np.abs(value).max()) for key, value in expected.items()}
    least_scale = max(greatest.values()) / 100
    difference = max(
        float(np.abs(found[key] - value).max()) / max(greatest[key], least_scale) for key, value in expected.items()
    )
    return Comparison(name, difference if np.isfinite(difference) else sys.float_info.max, tolerance)


# -- references --------------------------------------------------------------------------------------------------------


def measured_twin(network: keras.Model, images) -> keras.Model:
    """Return the plain reference whose batch normalisation has the statistics of these images."""
    reference = plain_reference(network)
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    reference(images, training=True)
    return reference


def values(variables) -> Arrays:
    """Return the variables' values by path."""
    return {v.path: keras.ops.convert_to_numpy(v).copy() for v in variables}


def minus(after: Arrays, before: Arrays) -> Arrays:
    """Return the change of each array."""
    return {name: after[name] - before[name] for name in before}


# -- speed --------------------------------------------------------------------------------------------------------


def block_seconds() -> float:
    """Return the processor time of one training pass through the blocks of TIMED, forward and backward: a median."""
    specs = [InvertedResidualSpec("block", 16, hidden, 16, kernel, stride) for hidden, kernel, stride in TIMED]
    blocks = [SpecBlock(spec) for spec in specs]
    x = tf.random.stateless_normal((16, 28, 28, 16), (0, 0))
    passes = [
        functools.partial(tf.function(functools.partial(training_pass, block), autograph=False), x) for block in blocks
    ]
    for one_pass in passes:
        one_pass()
    return statistics.median(sum(processor_seconds(one_pass) for one_pass in passes) for _ in range(ROUNDS))


def training_pass(block, x):
    """Return the gradients of input and weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = block(x, training=True)
        loss = tf.reduce_sum(y * y)
    return tape.gradient(loss, [x, *(v.value for v in block.trainable_variables)])


def processor_seconds(run) -> float:
    """Return the time of all threads of this process, which other processes on the machine hardly disturb."""
    started = time.process_time()
    for tensor in run():
        tensor.numpy()
    return time.process_time() - started


if __name__ == "__main__":
    main()
