"""A strictly fair step in lanes and its paths' stand-alone steps under JAX: what bench_gpu.py runs in processes of their own.

Needs Keras with KERAS_BACKEND=jax, JAX and NumPy; imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import keras
import numpy as np

from fair_paths import NUM_CLASSES, fair_multiply_adds, path_specs, skip_of, space_named
from measuring import alternate, peak_bytes, timed
from scarlet_tf.models.network import Network, plain_reference, set_arrays
from scarlet_tf.models.supernet import FairCrossentropy, FairLanes, Supernet, path_arrays, path_variables
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.sampling import strict_fair_paths

DTYPES = {
    "float32": ("float32", "float32"),
    "tf32": ("float32", "tensorfloat32"),
    "bfloat16": ("mixed_bfloat16", "default"),
}
"""(Keras' policy, JAX' precision of products) of each dtype that is measured."""
PRODUCTS = 8  # matrix products in a row, so that starting them costs nothing
RATE = 0.001


def gpu_name() -> str | None:
    """The name of the GPU that JAX computes with; None where it has none."""
    return jax.devices()[0].device_kind if jax.default_backend() == "gpu" else None


def measure(space: str, pixels: int, dtype: str, batch_size: int, rounds: int, matrix: int) -> dict:
    """Both variants' first steps, whose gradients are compared, then seconds of both and of the matrix products, in turns."""
    policy, precision = DTYPES[dtype]
    keras.config.set_dtype_policy(policy)
    jax.config.update("jax_default_matmul_precision", precision)
    bench = Bench(space, pixels, batch_size)
    fair_step, fair_gradients = bench.fair_step()
    first = [timed(fair_step)]
    found = fair_gradients()
    fair_step()
    memory = device_peak()  # before there are the stand-alone networks
    network_steps, network_gradients = bench.network_steps()
    first.append(timed(network_steps))
    error = difference(found, network_gradients())
    product = matrix_product(matrix, "bfloat16" if dtype == "bfloat16" else "float32")
    turns = {"fair": fair_step, "networks": network_steps, "product": product}
    for turn in turns.values():
        turn()
    seconds = alternate({name: functools.partial(timed, turn) for name, turn in turns.items()}, rounds)
    facts = {"multiply_adds": bench.multiply_adds(), "product_multiply_adds": PRODUCTS * matrix**3}
    firsts = dict(zip(("first_step_seconds", "networks_first_step_seconds"), first, strict=True))
    return {**facts, **firsts, "seconds": seconds, "memory_gb": memory / 1e9, "gradient_error": error}


class Bench:
    """Both variants on one random batch, one set of fair paths and the same weights, with random scales and offsets of BN."""

    def __init__(self, space: str, pixels: int, batch_size: int):
        rng = np.random.default_rng(0)
        self.space, self.skip, self.shape = space_named(space), skip_of(space), (pixels, pixels, 3)
        self.images = rng.normal(size=(batch_size, *self.shape)).astype(np.float32)
        self.labels = rng.integers(NUM_CLASSES, size=batch_size).astype(np.int32)
        self.paths = strict_fair_paths(self.space, 0, 0)
        self.specs = path_specs(self.space, self.paths, self.shape, self.skip)
        with quickly_made():
            self._supernet = Supernet(self.space, self.shape, NUM_CLASSES, skip=self.skip)
            for variable in self._supernet.trainable_variables:
                if variable.name in ("gamma", "beta"):
                    variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        architectures = [Architecture(tuple(path.tolist()), self.space) for path in self.paths]
        self._starts = [path_arrays(self._supernet, architecture) for architecture in architectures]
        named = [path_variables(self._supernet, architecture) for architecture in architectures]
        self._names = [{name: variable.path for name, variable in variables.items()} for variables in named]

    def multiply_adds(self) -> int:
        """Multiply-adds of a fair step."""
        return fair_multiply_adds(self.space, self.specs, len(self.labels))

    def fair_step(self) -> tuple[Callable, Callable]:
        """(step, its first step's gradients by the paths of variables); the step runs all paths in lanes.

        The paths are an argument, so that one program serves every permutation.
        """
        training = Training(FairLanes(self._supernet), FairCrossentropy())
        inputs, labels = jax.device_put(({"images": self.images, "paths": self.paths}, self.labels))
        names = [variable.path for variable in self._supernet.trainable_variables]
        return (
            lambda: jax.block_until_ready(training.step(inputs, labels)),
            lambda: dict(zip(names, training.first_gradients(), strict=True)),
        )

    def network_steps(self) -> tuple[Callable, Callable]:
        """(steps, the sums of their first steps' gradients) of the paths' networks, in Keras' own layers.

        One after another; the device is waited for at the end alone.
        """
        trainings = []
        for spec, start in zip(self.specs, self._starts, strict=True):
            with quickly_made():
                network = Network(spec)
                set_arrays(network, start)
                trainings.append(Training(plain_reference(network), one_path_crossentropy()))
        images, labels = jax.device_put((self.images, self.labels))

        def sums() -> dict[str, np.ndarray]:
            found: dict[str, np.ndarray] = {}
            for training, paths in zip(trainings, self._names, strict=True):
                for name, gradient in zip(training.names, training.first_gradients(), strict=True):
                    found[paths[name]] = found.get(paths[name], 0.0) + gradient
            return found

        return lambda: jax.block_until_ready([training.step(images, labels) for training in trainings]), sums


class Training:
    """A model under SGD with momentum. A step is one program of XLA's, which takes over the model's weights."""

    def __init__(self, model: keras.Model, loss: Callable):
        optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
        optimizer.build(model.trainable_variables)
        self.names = [f"{layer.name}/{v.name}" for layer in model.layers for v in layer.trainable_variables]
        groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        self._state = [[variable.value for variable in group] for group in groups]
        self._num_weights = len(model.trainable_variables)

        def total(trainable, others, inputs, labels):
            logits, others = model.stateless_call(trainable, others, inputs, training=True)
            return loss(labels, logits), others

        def move(state, inputs, labels):
            trainable, others, slots = state
            (value, others), gradients = jax.value_and_grad(total, has_aux=True)(trainable, others, inputs, labels)
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return value, [trainable, others, slots]

        self._move = jax.jit(move, donate_argnums=0)

    def step(self, inputs, labels):
        """Make a step; its loss, which may still be under way."""
        value, self._state = self._move(self._state, inputs, labels)
        return value

    def first_gradients(self) -> list[np.ndarray]:
        """Read the gradients of the first step, right after it: the momentums, the optimizer's last variables, over -RATE."""
        return [np.asarray(momentum) / -RATE for momentum in self._state[2][-self._num_weights :]]


def one_path_crossentropy() -> keras.losses.Loss:
    """The FairCrossentropy of a single path."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def difference(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The greatest norm of a weight's difference, relative to that of what is expected.

    Or to a hundredth of the greatest of these norms: gradients that are 0 but for rounding are so in both.
    """
    assert found.keys() == expected.keys()
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in expected.items()}
    least = max(norms.values()) / 100
    return max(float(np.linalg.norm(found[name] - expected[name])) / max(norms[name], least) for name in norms)


@contextlib.contextmanager
def quickly_made() -> Iterator[None]:
    """Context in which JAX optimises nothing: each shape's initial values are a program of their own, which runs once."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    try:
        yield
    finally:
        jax.config.update(name, before)


def matrix_product(size: int, dtype: str) -> Callable[[], Any]:
    """PRODUCTS products of random matrices size x size in a row, which stand for the chip's peak."""
    one, other = (jax.random.normal(jax.random.key(seed), (size, size), dtype) / size**0.5 for seed in range(2))
    chain = jax.jit(lambda x, y: jax.lax.fori_loop(0, PRODUCTS, lambda _, z: z @ y, x))
    return lambda: jax.block_until_ready(chain(one, other))


def device_peak() -> int:
    """Peak bytes of the device's memory so far; under the CPU those of the process."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or peak_bytes()
