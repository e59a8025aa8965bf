"""The published networks with the signature of keras.applications."""

from __future__ import annotations

import pathlib

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.layers import primitives
from scarlet_tf.models.builder import connect
from scarlet_tf.models.features import feature_maps
from scarlet_tf.models.network import Network
from scarlet_tf.models.zoo_data import ZOO

_DOC = """{title} as a Keras model.

    Args:
        include_top: with the pooling and the classifier; without, the output is the tail's feature map
            [B, H / 32, W / 32, 1280], or what `pooling` makes of it.
        weights: None for random ones, or the path of a `.weights.h5` file saved from the same model. The authors
            published weights for PyTorch only; none are shipped here, `load_torch_weights` reads them.
        input_tensor: a Keras tensor to use as the image.
        input_shape: (height, width, channels); default (224, 224, 3).
        pooling: None, "avg" or "max"; only without the top.
        classes: of the classifier.
        classifier_activation: "softmax", or None for logits.
        name: of the model.
        features: the outputs {{"stride_4": [B, H / 4, W / 4, C], "stride_8": ..., "stride_16": ..., "stride_32": ...}} for
            detection and segmentation, in place of top and tail; see `feature_extractor`.

    Images are to be scaled to -1..1; for the authors' weights, by ImageNet's mean and deviation.
    Published ImageNet figures: {figures}
    Raises InputError for values that do not fit.
    """


def build_zoo_network(
    entry_name: str,
    include_top: bool = True,
    weights: str | None = None,
    input_tensor=None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    features: bool = False,
) -> keras.Model:
    """The network `entry_name` of the zoo; see ScarletA for the arguments."""
    if entry_name not in ZOO:
        raise InputError(f"zoo: expected one of {sorted(ZOO)}, got {entry_name!r}")
    if pooling not in (None, "avg", "max"):
        raise InputError(f"pooling: expected None, 'avg' or 'max', got {pooling!r}")
    if features and pooling is not None:
        raise InputError(f"pooling: expected None with features=True, got {pooling!r}")
    if weights is not None and not pathlib.Path(weights).is_file():
        raise InputError(f"weights: expected None or the path of a .weights.h5 file, got {weights!r}")
    spec = ZOO[entry_name].architecture.lower(
        _input_shape(input_tensor, input_shape),
        classes if include_top and not features else None,
        dropout=0.2,
        classifier_activation=classifier_activation,
        pooling=None if include_top else pooling,
    )
    name = name or entry_name
    if input_tensor is None:
        model = Network(spec, name=name)
    else:
        sources = keras.utils.get_source_inputs(input_tensor)
        model = keras.Model(sources, connect(spec, input_tensor, primitives), name=name)
    if weights is not None:
        _load_weights(model, weights)
    return keras.Model(model.inputs, feature_maps(model, spec), name=name) if features else model


def _load_weights(model: keras.Model, path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"weights: {path}: expected the .weights.h5 file of this very model: {error}") from error


def _input_shape(input_tensor, input_shape) -> tuple[int, int, int]:
    if input_tensor is not None:
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise InputError(f"input_shape: expected {shape}, the shape of input_tensor, got {tuple(input_shape)}")
        input_shape = shape
    shape = tuple(input_shape or (224, 224, 3))
    if len(shape) != 3 or any(not isinstance(side, int) or side < 32 for side in shape[:2]) or not shape[2]:
        raise InputError(f"input_shape: expected (height, width, channels) of at least 32 x 32 pixels, got {shape}")
    return shape


def _constructor(entry_name: str, title: str):
    entry = ZOO[entry_name]

    def constructor(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=entry_name,
        features=False,
    ):
        head = (pooling, classes, classifier_activation)
        return build_zoo_network(
            entry_name, include_top, weights, input_tensor, input_shape, *head, name=name, features=features
        )

    accuracy = "" if entry.top1 is None else f", top-1 {entry.top1} %"
    figures = (
        f"{entry.published_multiply_adds / 1e6:.0f} M multiply-adds, {entry.published_params / 1e6} M params{accuracy}."
    )
    constructor.__name__ = constructor.__qualname__ = title.replace("-", "")
    constructor.__doc__ = _DOC.format(title=title, figures=figures)
    return constructor


ScarletA = _constructor("scarlet_a", "Scarlet-A")
ScarletB = _constructor("scarlet_b", "Scarlet-B")
ScarletC = _constructor("scarlet_c", "Scarlet-C")
FairNASA = _constructor("fairnas_a", "FairNAS-A")
FairNASB = _constructor("fairnas_b", "FairNAS-B")
FairNASC = _constructor("fairnas_c", "FairNAS-C")
