"""Network: a NetworkSpec as a Keras functional model.

Every layer is a stock Keras layer with a stable, unique name (`block_03_expand`, `block_03_expand_bn`, ...). The names
are the keys under which weights travel between models, checkpoints and folding: `<layer>/<weight>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import primitives
from scarlet_tf.layers.builder import connect
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec

Arrays = dict[str, np.ndarray]


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Network(keras.Model):
    """The network that `spec` describes; `.spec` stays readable, also after saving and loading.

    Args:
        spec: a NetworkSpec, or its dict form.
        seed: of the initial weights; None draws new ones each time.
        dtype: Keras' dtype policy of the layers, such as "mixed_bfloat16"; statistics, logits and weights are float32 under
        the mixed ones.
        parts: layers that replace the spec's own of the same name. A loaded network consists of the layers that were saved,
        with their trainable flags, dtype policies, quantised weights and regularizers.

    Input: float images [B, H, W, C], normalised as the training pipeline does. Output: as the spec says; logits
    [B, num_classes] by default.
    """

    def __init__(
        self,
        spec: NetworkSpec | dict,
        seed: int | None = None,
        parts: Sequence[keras.layers.Layer] = (),
        dtype: str | None = None,
        **kwargs,
    ):
        host.check_fork()
        spec = spec if isinstance(spec, NetworkSpec) else NetworkSpec.from_dict(spec)
        image = keras.Input(spec.input_shape, name="image")
        super().__init__(inputs=image, outputs=connect(spec, image, _Given(parts, dtype), seed), **kwargs)
        self.spec = spec
        self.seed = seed

    def get_config(self):
        layers = [layer for layer in self.layers if not isinstance(layer, keras.layers.InputLayer)]
        parts = [keras.saving.serialize_keras_object(layer) for layer in layers]
        config = {"spec": self.spec.to_dict(), "seed": self.seed, "parts": parts}
        return {**config, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = keras.saving.deserialize_keras_object(config.get("parts", []), custom_objects)
        return cls(**{**config, "parts": parts})


class _Given:
    """The functions of `primitives`, which return a given layer of the same name instead of a new one of `dtype`."""

    def __init__(self, layers: Sequence[keras.layers.Layer], dtype: str | None):
        self._layers = {layer.name: layer for layer in layers}
        self._dtype = dtype

    def __getattr__(self, kind: str):
        make = getattr(primitives, kind)

        def given(*args, name: str, **kwargs):
            return self._layers.get(name) or make(*args, name=name, **{"dtype": self._dtype, **kwargs})

        return given

    def pad_channels(self, x, extra: int):
        return primitives.pad_channels(x, extra)


def build_network(
    architecture: Architecture | NetworkSpec,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = 1000,
    dropout: float = 0.2,
    seed: int | None = None,
    name: str | None = None,
    dtype: str | None = None,
) -> Network:
    """The stand-alone network of an architecture, without its skipped layers; it returns logits.

    A NetworkSpec is built unchanged, with its own input shape and classes; only `dropout` is replaced. `dtype`: see Network.
    """
    if isinstance(architecture, NetworkSpec):
        return Network(architecture.replace(dropout=dropout), seed=seed, name=name, dtype=dtype)
    spec = architecture.lower(input_shape, num_classes, dropout=dropout)
    return Network(spec, seed=seed, name=name, dtype=dtype)


def load_network(path, around: bool = True) -> Network:
    """The Network in a `.keras` file, such as retrain/model.keras of a run; InputError if it is missing or damaged.

    `around`: also return a model that was built around a network or layers of this package, as the plain Keras model,
    without `.spec`. keras.saving.load_model reads all of these.
    """
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, ZIP and HDF5 raise for a missing, damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a network's .keras file: {reason}") from error
    if not isinstance(network, Network) and not (around and _has_layers_from_here(network)):
        raise InputError(f"{path}: expected a network of this package, got a {type(network).__name__}")
    return network


def _has_layers_from_here(layer) -> bool:
    from_here = keras.saving.get_registered_name(type(layer)).startswith("scarlet_tf>")
    return from_here or any(map(_has_layers_from_here, getattr(layer, "layers", ())))


def get_arrays(model: keras.Model) -> Arrays:
    """All weights of a model from the builder as {"<layer>/<weight>": array}, moving statistics included."""
    return {f"{layer.name}/{w.name}": keras.ops.convert_to_numpy(w) for layer in model.layers for w in layer.weights}


def set_arrays(model: keras.Model, arrays: Arrays) -> None:
    """Inverse of `get_arrays`; every weight and every array is used exactly once, or InputError names the others."""
    weights = {f"{layer.name}/{w.name}": w for layer in model.layers for w in layer.weights}
    missing, unexpected = sorted(weights.keys() - arrays.keys()), sorted(arrays.keys() - weights.keys())
    if missing or unexpected:
        raise InputError(f"weights of {model.name}: missing {missing}, unexpected {unexpected}")
    for key, weight in weights.items():
        if tuple(weight.shape) != np.shape(arrays[key]):
            raise InputError(
                f"weights of {model.name}: {key}: expected {tuple(weight.shape)}, got {np.shape(arrays[key])}"
            )
        weight.assign(arrays[key])


def plain_reference(network: keras.Model) -> keras.Model:
    """Return the network with its weights, and Keras' layer in place of each that this package derives from one."""

    def plain(layer):
        kind: Any = next((cls for cls in type(layer).__mro__ if cls.__module__.startswith("keras.")), type(layer))
        return kind.from_config(layer.get_config())

    reference = keras.models.clone_model(keras.Model(network.input, network.output), clone_function=plain)
    set_arrays(reference, get_arrays(network))
    return reference
