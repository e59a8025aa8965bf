"""Keras models that are no parents: the error names the layer and the reason."""

import itertools

import keras
import pytest
from keras import layers, ops
from keras_networks import classifier, head, relu6, squeeze_excite, tiny, zeros

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.parent import Parent


class Unsaved(layers.Layer):
    """A layer whose configuration lacks what it was made with."""

    def __init__(self, factor):
        super().__init__(name="here")
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


def nth(index, here, others):
    """`here` at call number `index`, and else `others`."""
    count = itertools.count()
    return lambda *args, **options: (here if next(count) == index else others)(*args, **options)


def conv(index, size=None, **fixed):
    """Convolutions of which one has other options: 0 is the stem's, 1 and 3 expand, 2 and 4 project, 5 is the tail's."""

    def other(filters, kernel_size, **options):
        return layers.Conv2D(filters, size or kernel_size, **{**options, **fixed}, name="here")

    return {"convolution": nth(index, other, layers.Conv2D)}


def norm(make, **options):
    return {"normalization": nth(0, lambda: make(**options, name="here"), layers.BatchNormalization)}


def attention(**parts):
    return {"attention": lambda x: squeeze_excite(x, **parts)}


def mean(x):
    return layers.GlobalAveragePooling2D()(x)


def added_gate(x):
    squeezed = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return x + layers.Dense(16, activation="sigmoid", name="here")(squeezed)


REFUSED = {
    "stem": (lambda: conv(0, 5), "a 3x3 convolution as the stem"),
    "even": (lambda: conv(0, 4), "an odd, square kernel"),
    "groups": (lambda: conv(2, groups=2), "no dilation, groups or multiplier"),
    "channels_first": (lambda: conv(0, data_format="channels_first"), "channels_last, got channels_first"),
    "activated": (lambda: conv(1, activation="relu"), "its activation after the batch normalisation"),
    "fused": (lambda: conv(1, 3, padding="same"), "a 3x3 convolution inside the network, as in a fused block"),
    "strided": (lambda: conv(1, strides=2), "a 1x1 convolution without a stride"),
    "axis": (lambda: norm(layers.BatchNormalization, axis=1), "the last axis, got 1"),
    "layer_norm": (lambda: norm(layers.LayerNormalization), "batch normalisation here"),
    "gelu": (lambda: {"activation": lambda x: layers.Activation("gelu")(x)}, "one of linear, .*, got another function"),
    "linear": (lambda: {"activation": lambda x: x}, "relu or silu as the activation after it, got linear"),
    "two_activations": (
        lambda: {"activation": nth(2, lambda x: layers.ReLU()(x), relu6)},
        "relu6 after it, as after the expansion, got relu",
    ),
    "projected": (lambda: {"projected": relu6}, "linear as the activation after it, got relu6"),
    "no_zeros": (lambda: {"strided": lambda x, make: make(padding="valid")(x)}, r"zeros as .* \(32, 32\) pixels"),
    "zeros": (
        lambda: {"strided": nth(0, zeros((1, 1), (1, 1)), lambda x, make: make(padding="same")(x))},
        r"zeros as of padding \"same\", or .* in all convolutions alike; its input has \(16, 16\) pixels",
    ),
    "after_add": (lambda: {"add": lambda x, y: relu6(x + y)}, "no activation after it, got relu6"),
    "subtracted": (lambda: {"add": lambda x, y: layers.Subtract(name="here")([x, y])}, "a convolution here"),
    "pooled": (lambda: {"projected": lambda x: layers.MaxPooling2D(3, 1, "same")(x)}, "got another function"),
    "two": (lambda: {"tail": lambda x: layers.Conv2D(8, 1)(x) + layers.Conv2D(8, 1)(x)}, "a convolution, got more"),
    "both": (lambda: {"tail": lambda x: ops.concatenate([x, layers.ReLU()(x)])}, "both read further on"),
    "beside": (
        lambda: {"tail": lambda x: layers.Reshape((8, 8, 8))(x) + layers.DepthwiseConv2D(3, padding="same")(x)},
        "batch normalisation here",
    ),
    "gate": (lambda: attention(gate=lambda x: layers.Activation("tanh", name="here")(x)), "got another function"),
    "relu_gate": (lambda: attention(gate=relu6), "hard_sigmoid or sigmoid as the activation after it, got relu6"),
    "linear_squeeze": (lambda: attention(squeezed=lambda x: layers.Conv2D(4, 1)(x)), "relu or silu as .*, got linear"),
    "grouped_squeeze": (
        lambda: attention(squeezed=lambda x: layers.Conv2D(4, 1, groups=2, name="here")(x)),
        "a dense layer or a 1x1 convolution of the pooled tensor",
    ),
    "added_gate": (lambda: {"attention": added_gate}, "the end of a squeeze-and-excitation"),
    "flat": (lambda: {"end": lambda x: layers.Dense(7)(layers.Flatten()(x))}, "a global pooling or the model's end"),
    "window": (
        lambda: {"end": lambda x: layers.Dense(7)(layers.Flatten()(layers.AveragePooling2D(5)(x)))},
        "a global pooling or the model's end",
    ),
    "maximum": (
        lambda: {"end": lambda x: layers.Dense(7)(layers.GlobalMaxPooling2D(name="here")(x))},
        "the mean in front of a classifier, got the maximum",
    ),
    "linear_head": (lambda: {"end": lambda x: layers.Dense(7)(layers.Dense(9, name="here")(mean(x)))}, "relu6 as the"),
    "two_heads": (lambda: {"end": lambda x: layers.Dense(7)(relu6(head(x)))}, "the classifier, or one layer in front"),
    "norm_at_the_end": (lambda: {"end": lambda x: layers.BatchNormalization(name="here")(classifier(x))}, "a dense"),
    "sigmoid": (
        lambda: {"end": lambda x: layers.Dense(7, "sigmoid", name="here")(mean(x))},
        "linear or softmax as the activation after it, got sigmoid",
    ),
    "unsaved": (lambda: {"front": Unsaved(2.0)}, "it cannot be made again from its configuration: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_is_not_covered_is_named_with_the_reason(name):
    changes, reason = REFUSED[name]
    model = tiny(**changes())
    with pytest.raises(InputError, match=f"^mine: layer '.*' .*: .*{reason}") as refused:
        Parent.from_keras(model, Preprocessing(32))
    if "here" in {layer.name for layer in model.layers}:
        assert "layer 'here'" in str(refused.value)


def test_fused_blocks_of_efficientnet_v2_are_refused():
    model = keras.applications.EfficientNetV2B0(weights=None, input_shape=(32, 32, 3))
    with pytest.raises(InputError, match=r"layer 'block1a_project_conv' .*: a 3x3 convolution inside the network"):
        Parent.from_keras(model)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def subclassed_inside():
    image = keras.Input((32, 32, 3))
    return keras.Model(image, tiny()(Subclassed(name="inside")(image)))


def truncated():
    model = tiny()
    return keras.Model(model.inputs, next(layer.output for layer in model.layers if isinstance(layer, layers.Add)))


def quantized():
    model = tiny()
    model.quantize("int8")
    return model


def two_outputs():
    model = tiny()
    return keras.Model(model.inputs, [model.output, model.layers[3].output])


def called_twice():
    image, base = keras.Input((32, 32, 3)), tiny()
    return keras.Model(image, base(image) + base(layers.ReLU()(image)))


MODELS = {
    "a Keras model, got a str": lambda: "model.keras",
    r"functional or built sequential Keras models alone, got '.*' \(Subclassed\)": Subclassed,
    r"functional or built sequential Keras models alone, got 'inside' \(Subclassed\)": subclassed_inside,
    r"functional or built sequential Keras models alone, got '.*' \(Sequential\)": lambda: keras.Sequential(
        [layers.ReLU()]
    ),
    "a model of one input and one output, got 1 and 2 in ": two_outputs,
    r"images \[B, H, W, 3\], got an input \(None, 8\)": lambda: keras.Sequential([keras.Input([8]), layers.Dense(2)]),
    "a model inside the model to be called once": called_twice,
    "a convolution at the end of the model, which ends too early": truncated,
    "weights as of a new layer, not quantised ones": quantized,
}


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("expected", MODELS)
def test_a_model_that_cannot_be_read(expected):
    with pytest.raises(InputError, match=f"expected {expected}"):
        Parent.from_keras(MODELS[expected](), Preprocessing(32))


def test_an_order_of_channels_that_there_is_not():
    with pytest.raises(InputError, match=r"channel_order: expected one of \('rgb', 'bgr'\), got 'brg'"):
        Parent.from_keras(tiny(), Preprocessing(32), channel_order="brg")
