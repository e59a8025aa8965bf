"""The published networks and registered ones with the signature of keras.applications, and its functions beside them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.base.files import read_json
from scarlet_tf.data.data_config import STATISTICS
from scarlet_tf.layers import primitives
from scarlet_tf.layers.builder import connect
from scarlet_tf.models.features import feature_maps
from scarlet_tf.models.network import Network, get_arrays, load_network, set_arrays
from scarlet_tf.models.zoo_data import ZOO, OwnEntry, find_own, zoo_names
from scarlet_tf.space.spec import NetworkSpec, check_input_shape

_DOC = """{title} as a Keras model.

    Args:
        include_top: with the pooling and the classifier; without, the output is the tail's feature map
            [B, ceil(H / 32), ceil(W / 32), {features}], or what `pooling` makes of it.
        weights: None for random ones, or the path of a file of the same network: `.weights.h5`, or `.keras`, whose
            classifier is left out where this model has none. The authors published weights for PyTorch only; none are
            shipped here, `load_torch_weights` reads them.
        input_tensor: a Keras tensor to use as the image.
        input_shape: (height, width, channels); default ({size}, {size}, 3). Sides need be no multiples of 32: every stride
            of 2 halves them and rounds up. Unlike in keras.applications they are numbers, never None.
        pooling: None, "avg" or "max"; only without the top.
        classes: of the classifier.
        classifier_activation: "softmax", or None for logits.
        name: of the model.
        features: the outputs {{"stride_4": [B, H / 4, W / 4, C], "stride_8": ..., "stride_16": ..., "stride_32": ...}} for
            detection and segmentation, in place of top and tail; see `feature_extractor`.

    Images are to be scaled as the weights were trained: `preprocess_input`, with mode="torch" for the authors'.
    Published for ImageNet: {figures}
    {remarks}Raises InputError for values that do not fit.
    """


def build_zoo_network(
    entry_name: str,
    include_top: bool = True,
    weights: str | None = None,
    input_tensor=None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    features: bool = False,
) -> keras.Model:
    """The network `entry_name`, published or registered with `register_network`; see ScarletA for the arguments.

    `weights="run"` loads those of a registered network. Input shape and classes are by default those of its training,
    or 1000 classes for a published one.
    """
    if pooling not in (None, "avg", "max"):
        raise InputError(f"pooling: expected None, 'avg' or 'max', got {pooling!r}")
    if features and pooling is not None:
        raise InputError(f"pooling: expected None with features=True, got {pooling!r}")
    entry = ZOO.get(entry_name) or find_own(entry_name)
    if entry is None:
        raise InputError(f"zoo: expected one of {zoo_names()}, got {entry_name!r}{nearest(entry_name, zoo_names())}")
    weights = _weights_file(entry, weights)
    own = isinstance(entry, OwnEntry)
    base = entry.spec if isinstance(entry, OwnEntry) else entry.architecture.lower(dropout=entry.scaling.dropout)
    spec = base.replace(
        input_shape=_input_shape(input_tensor, input_shape, base.input_shape, least=1 if own else 32),
        num_classes=(base.num_classes if classes is None else classes) if include_top and not features else None,
        classifier_activation=classifier_activation,
        pooling=None if include_top else pooling,
    )
    model = _build(spec, input_tensor, name or entry_name)
    if weights is not None:
        _load_weights(model, spec, weights)
    return keras.Model(model.inputs, feature_maps(model, spec), name=model.name) if features else model


def _build(spec: NetworkSpec, input_tensor, name: str) -> keras.Model:
    if input_tensor is None:
        return Network(spec, name=name)
    sources = keras.utils.get_source_inputs(input_tensor)
    image = sources[0] if len(sources) == 1 else sources
    return keras.Model(image, connect(spec, input_tensor, primitives), name=name)


def _weights_file(entry, weights) -> pathlib.Path | None:
    """The file that `weights` stands for; it exists."""
    if weights is None:
        return None
    own = isinstance(entry, OwnEntry)
    if own and weights == "run":
        if not entry.has_weights:
            raise InputError(f"weights: expected None or a file, {entry.name} was added without weights, got 'run'")
        weights = entry.weights_file
    if not pathlib.Path(weights).is_file():
        also = " 'run'," if own else ""
        raise InputError(
            f"weights: expected None,{also} or the path of a .weights.h5 or .keras file, got {weights!r}, where no file is"
        )
    return pathlib.Path(weights)


def _load_weights(model: keras.Model, spec: NetworkSpec, path: pathlib.Path) -> None:
    if path.suffix == ".keras":
        _load_by_name(model, spec, path)
        return
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"weights: {path}: expected the .weights.h5 file of this very model: {error}") from error


def _load_by_name(model: keras.Model, spec: NetworkSpec, path: pathlib.Path) -> None:
    """Load the weights of a whole network; a classifier that the model does not have is left out."""
    trained = load_network(path, around=False)
    if trained.spec.blocks != spec.blocks:
        raise InputError(f"weights: {path}: expected a network of the same blocks, got another one")
    if spec.num_classes not in (None, trained.spec.num_classes):
        raise InputError(
            f"classes: expected {trained.spec.num_classes}, those of {path}, or include_top=False, got {spec.num_classes}"
        )
    arrays = get_arrays(trained)
    if spec.num_classes is None:
        arrays = {key: array for key, array in arrays.items() if not key.startswith("classifier/")}
    try:
        set_arrays(model, arrays)
    except InputError as error:
        raise InputError(f"weights: {path}: {error}") from error


def _input_shape(input_tensor, input_shape, default, least: int) -> tuple[int, int, int]:
    """(height, width, channels) of the image, with at least `least` pixels a side."""
    if input_tensor is not None:
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and check_input_shape(input_shape) != shape:
            raise InputError(f"input_shape: expected {shape}, the shape of input_tensor, got {input_shape}")
        input_shape = shape
    shape = check_input_shape(default if input_shape is None else input_shape)
    if min(shape[:2]) < least:
        raise InputError(
            f"input_shape: expected (height, width, channels) of at least {least} x {least} pixels, got {shape}"
        )
    return shape


class Constructor(Protocol):
    """Constructor of one published network, as in keras.applications; see ScarletA."""

    def __call__(
        self,
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int, int, int] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        name: str = ...,
        features: bool = False,
    ) -> keras.Model: ...


def _constructor(entry_name: str) -> Constructor:
    entry = ZOO[entry_name]
    space = entry.architecture.space

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

    constructor.__name__ = constructor.__qualname__ = entry.constructor
    constructor.__doc__ = _DOC.format(
        title=entry.title,
        features=space.widths[2],
        size=space.input_size,
        figures=_published(entry),
        remarks=f"[reading]: {entry.reading}.\n    " if entry.reading else "",
    )
    return constructor


def _published(entry) -> str:
    stated = entry.published
    costs = (
        []
        if stated.params is None
        else [f"{stated.multiply_adds / 1e6:.0f} M multiply-adds, {stated.params / 1e6} M params"]
    )
    return ", ".join([*costs, f"top-1 {stated.top1} %"]) + f" [{stated.source}]."


ScarletA = _constructor("scarlet_a")
ScarletB = _constructor("scarlet_b")
ScarletC = _constructor("scarlet_c")
ScarletA2 = _constructor("scarlet_a2")
ScarletA4 = _constructor("scarlet_a4")
FairNASA = _constructor("fairnas_a")
FairNASB = _constructor("fairnas_b")
FairNASC = _constructor("fairnas_c")
MobileNetV2 = _constructor("mobilenet_v2")


_MODES = {"tf": STATISTICS["inception"], "torch": STATISTICS["imagenet"]}


def preprocess_input(x, data_format: str | None = None, mode: str = "tf"):
    """Scale RGB images [..., H, W, 3] with values in 0..255 for a network of the zoo; the result is a new array.

    mode: "tf" to -1..1, as the paper's training ("inception" in a configuration; the default there, too); "torch" by
    ImageNet's mean and deviation, as the authors' PyTorch checkpoints expect ("imagenet"). A NumPy array stays one: floats
    keep their type, others become float32. Tensors, symbolic ones too, stay on Keras' backend. data_format: None or
    "channels_last". Raises InputError for other values and shapes.

    A run's own network has its preprocessing in its exported files' metadata, and `scarlet zoo NAME` states it.
    """
    if data_format not in (None, "channels_last"):
        raise InputError(f"data_format: expected 'channels_last', got {data_format!r}")
    if mode not in _MODES:
        raise InputError(f"mode: expected one of {list(_MODES)}, got {mode!r}")
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) < 3 or shape[-1] != 3:
        raise InputError(f"x: expected images [..., H, W, 3], got {type(x).__name__} of shape {list(shape)}")
    if isinstance(x, np.ndarray):
        dtype = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype("float32")
        mean, deviation = (np.asarray(values, dtype) for values in _MODES[mode])
        return (x.astype(dtype) - mean) / deviation
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, "float32")
    mean, deviation = (keras.ops.convert_to_tensor(values, dtype=x.dtype) for values in _MODES[mode])
    return (x - mean) / deviation


def decode_predictions(preds, top: int = 5, *, labels) -> list[list[tuple[str, str, float]]]:
    """The `top` most probable classes of each image, best first: (class id, label, score).

    preds: [B, classes], probabilities or logits. labels: one a class: a sequence, a text file with one a line (labels.txt
    of an export folder), or a JSON file with a list or with keras.applications' index {"0": ["n01440764", "tench"], ...}.
    The class id is that index's, else the class' number as text. Equal scores keep the order of the classes. Raises
    InputError if predictions or labels have another form, or do not fit each other.
    """
    scores = np.asarray(keras.ops.convert_to_numpy(preds))
    if scores.ndim != 2:
        raise InputError(f"preds: expected shape [B, classes], got {list(scores.shape)}")
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise InputError(f"top: expected an integer >= 1, got {top!r}")
    names = _labels(labels)
    if len(names) != scores.shape[1]:
        raise InputError(f"labels: expected {scores.shape[1]}, one a class of preds, got {len(names)}")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [[(*names[i], float(row[i])) for i in best] for row, best in zip(scores, order, strict=True)]


def _labels(labels) -> list[tuple[str, str]]:
    """(class id, label) a class."""
    if isinstance(labels, (str, pathlib.Path)):
        path = pathlib.Path(labels)
        labels = read_json(path) if path.suffix == ".json" else _lines(path)
        if isinstance(labels, Mapping):
            return _class_index(labels, path)
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise InputError(f"labels: expected a sequence or the path of a file, got {type(labels).__name__}")
    return [(str(index), str(label)) for index, label in enumerate(labels)]


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with one label a line: {error}") from error


def _class_index(index: Mapping, path: pathlib.Path) -> list[tuple[str, str]]:
    try:
        pairs = [index[str(number)] for number in range(len(index))]
    except KeyError as error:
        raise InputError(f"{path}: expected the keys 0 to {len(index) - 1}, got none of {error}") from error
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(f"{path}: {number}: expected [class id, label], got {pair!r}")
    return [(str(class_id), str(label)) for class_id, label in pairs]
