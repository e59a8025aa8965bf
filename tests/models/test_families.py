"""Published families of networks as architectures of search spaces: against keras.applications, and searched."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny import images_and_labels, randomise_supernet, randomised

import scarlet_tf as st
from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.space.choices import SqueezeExcite
from scarlet_tf.space.spec import Conventions
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths

MOBILE_CONVENTIONS = Conventions("same", bn_epsilon=1e-3, bn_momentum=0.999)
MOBILENET_V3_ENDS = {
    "stem_channels": 16,
    "first_channels": None,
    "stem_activation": "hard_swish",
    "tail_activation": "hard_swish",
    "squeeze_excite": SqueezeExcite(divisor=8),
    "conventions": MOBILE_CONVENTIONS,
}


def family(name, stages, blocks, **fields):
    """The network whose layers have these (expansion, kernel, SE) as an architecture of a space with no other choices."""
    choices = [st.Choice(*block) for block in blocks]
    space = st.SearchSpace(name, tuple(st.Stage(*row) for row in stages), tuple(dict.fromkeys(choices)), **fields)
    return st.Architecture(tuple(map(space.choices.index, choices)), space)


SMALL = family(
    "mobilenet_v3_small",
    [(16, 1, 2, "relu"), (24, 2, 2, "relu"), (40, 3, 2), (48, 2), (96, 3, 2)],
    [(1, 3, True), (4.5, 3), (3.67, 3), (4, 5, True), *[(6, 5, True)] * 2, *[(3, 5, True)] * 2, *[(6, 5, True)] * 3],
    tail_channels=576,
    head_channels=1024,
    **MOBILENET_V3_ENDS,
)
LARGE = family(
    "mobilenet_v3_large",
    [(16, 1, 1, "relu"), (24, 2, 2, "relu"), (40, 3, 2, "relu"), (80, 4, 2), (112, 2), (160, 3, 2)],
    [
        *[(1, 3), (4, 3), (3, 3)],
        *[(3, 5, True)] * 3,
        *[(6, 3), (2.5, 3), (2.3, 3), (2.3, 3)],
        *[(6, 3, True)] * 2,
        *[(6, 5, True)] * 3,
    ],
    tail_channels=960,
    head_channels=1280,
    **MOBILENET_V3_ENDS,
)
V2 = family(
    "mobilenet_v2",
    [(16, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3), (160, 3, 2), (320, 1)],
    [(1, 3), *[(6, 3)] * 16],
    first_channels=None,
    activation="relu6",
    conventions=MOBILE_CONVENTIONS,
)
B0 = family(
    "efficientnet_b0",
    [(16, 1), (24, 2, 2), (40, 2, 2), (80, 3, 2), (112, 3), (192, 4, 2), (320, 1)],
    [(1, 3, True), *[(6, size, True) for size in (3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)]],
    first_channels=None,
    activation="silu",
    stem_activation="silu",
    tail_activation="silu",
    squeeze_excite=SqueezeExcite(source="input", activation="silu", gate="sigmoid"),
    conventions=Conventions("same", bn_epsilon=1e-3, bn_momentum=0.99),
)
# Of EfficientNet, the layers that scale and normalise images are left out: 255 undoes the first, the second does nothing.
APPLICATIONS = {
    "mobilenet_v2": (V2, keras.applications.MobileNetV2, {}, 1),
    "mobilenet_v3_small": (SMALL, keras.applications.MobileNetV3Small, {"include_preprocessing": False}, 1),
    "mobilenet_v3_large": (LARGE, keras.applications.MobileNetV3Large, {"include_preprocessing": False}, 1),
    "efficientnet_b0": (B0, keras.applications.EfficientNetB0, {}, 255),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_architecture_is_the_network_of_keras_applications(name, rng):
    """At an even size, where "same" and symmetric padding differ; with random weights and statistics."""
    architecture, make, options, scale = APPLICATIONS[name]
    size, classes = 64, 7
    theirs = make(weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None, **options)
    ours = Network(architecture.lower((size, size, 3), classes), seed=0)
    set_arrays(ours, randomised(get_arrays(ours), rng))
    sources = [layer for layer in ours.layers if layer.weights]
    targets = [layer for layer in theirs.layers if layer.weights and not isinstance(layer, keras.layers.Normalization)]
    for source, target in zip(sources, targets, strict=True):
        target.set_weights([w.reshape(v.shape) for w, v in zip(source.get_weights(), target.weights, strict=True)])
        if isinstance(target, keras.layers.BatchNormalization):
            assert (source.epsilon, source.momentum) == (target.epsilon, target.momentum)
    images = rng.normal(size=(2, size, size, 3)).astype(np.float32)
    expected, found = np.asarray(theirs(scale * images, training=False)), np.asarray(ours(images, training=False))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    count = st.count(architecture, num_classes=classes)
    assert count.params == sum(int(np.prod(v.shape)) for v in theirs.trainable_variables)


# The authors' files of weights are called "se_0.5"; the share is of a block's input, as in EfficientNet. Published:
# FairNAS (arXiv 1907.01845), table 2, without and with squeeze-and-excitation and swish, in millions.
FAIRNAS = {"fairnas_a": (4.6, 5.9), "fairnas_b": (4.5, 5.7), "fairnas_c": (4.4, 5.6)}


@pytest.mark.parametrize("name", FAIRNAS)
def test_fairnas_with_squeeze_and_excitation_has_the_published_parameters(name):
    plain = ZOO[name].architecture
    choices = tuple(dataclasses.replace(choice, use_se=not choice.is_skip) for choice in plain.space.choices)
    rule = SqueezeExcite(0.5, "input", activation="silu", gate="sigmoid")
    space = dataclasses.replace(plain.space, choices=choices, activation="silu", squeeze_excite=rule)
    counts = [st.count(st.Architecture(plain.choices, of)).params / 1e6 for of in (plain.space, space)]
    np.testing.assert_allclose(counts, FAIRNAS[name], atol=0.0551)  # published with one decimal, A is 4.65


def shrunk(architecture, *extra, **changes):
    """A space with the family's blocks, activations and conventions, two small stages and a skip."""
    space = architecture.space
    stages = (st.Stage(8, 2, 2, space.stages[0].activation), st.Stage(12, 1))
    fields = {"stages": stages, "stem_channels": 8, "tail_channels": 16, "input_size": 16}
    fields |= {"head_channels": space.head_channels and 12, "choices": (*space.choices[:3], *extra, st.Choice())}
    return dataclasses.replace(space, name="shrunk", **{**fields, **changes})


FAIRNAS_SE = family(
    "fairnas_se",
    [(8, 2)],
    [(2, 3, True), (3, 5, True)],
    activation="silu",
    squeeze_excite=SqueezeExcite(0.5, "input", activation="silu", gate="sigmoid"),
)
SPACES = {a.space.name: shrunk(a) for a in (V2, SMALL, B0, FAIRNAS_SE)}


@pytest.mark.parametrize("name", SPACES)
def test_a_family_is_searched(name, rng):
    """A fair step changes every kernel; a path equals its network, folded or not, and its lane."""
    space = SPACES[name]
    supernet = st.Supernet(space, num_classes=5)
    images, labels = images_and_labels(rng, count=16, size=16)
    before = [np.array(v) for v in supernet.trainable_variables]
    optimizer = MomentumSGD(learning_rate=0.1, momentum=0.9)
    optimizer.build(supernet.trainable_variables)
    SupernetStep(supernet, optimizer, Loss(5, 16), "sequential")(images, labels, strict_fair_paths(space, 0, 0))
    for old, variable in zip(before, supernet.trainable_variables, strict=True):
        assert not np.array_equal(old, variable), variable.path
    randomise_supernet(supernet, rng)
    paths = strict_fair_paths(space, 0, 1)
    lanes = supernet.lanes(images, paths)
    for path, lane in zip(paths, lanes, strict=True):
        expected = np.asarray(supernet(images, path))
        network = st.extract(supernet, st.Architecture(tuple(path.tolist()), space))
        near = {"rtol": 1e-4, "atol": 1e-4 * np.abs(expected).max()}
        np.testing.assert_allclose(network(images), expected, **near)
        np.testing.assert_allclose(lane, expected, **near)
        np.testing.assert_allclose(st.fold(network)[0](images), expected, **{**near, "rtol": 1e-3})
        alone = st.count(st.Architecture(tuple(path.tolist()), space), num_classes=5)
        model = st.build_network(st.Architecture(tuple(path.tolist()), space), num_classes=5)
        assert alone.params == sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_statistics_are_measured_with_the_family_s_momentum(rng):
    """One batch's statistics, measured again, make inference on that batch what training mode returns."""
    space = SPACES["mobilenet_v3_small"]
    supernet = st.Supernet(space, num_classes=5)
    randomise_supernet(supernet, rng)
    images, labels = images_and_labels(rng, count=16, size=16)
    architecture = st.Architecture((1, 2, 0), space)
    network = path_network(supernet, architecture, [(images, labels)])
    expected = np.asarray(network(images, training=True))
    network = path_network(supernet, architecture, [(images, labels)])
    found = np.asarray(network(images, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    evaluator = st.Evaluator(supernet, (images, labels), (images, labels), recalibration_batches=1, batch_size=16)
    accuracy = np.mean(found.argmax(axis=1) == labels)
    assert evaluator.evaluate(architecture)["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small"])
def test_a_family_is_exported(name, rng, tmp_path):
    space = SPACES[name]
    network = st.build_network(space.sample(rng), num_classes=5, seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    images, labels = images_and_labels(rng, count=16, size=16)
    described = st.export_tflite(network, tmp_path / "float.tflite")
    assert described["partitions"] == 1 and described["builtins_only"]
    result = st.verify(tmp_path / "float.tflite", network, (images, labels))
    spread = float(np.asarray(network(images, training=False)).std())
    assert result["max_logit_difference"] <= 1e-4 * max(1, spread)
