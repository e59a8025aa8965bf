import keras
import numpy as np
import pytest
from toy_parent import CLASSES, SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.least_squares import RIDGE, LeastSquares, fitted_classifier
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.parents.warm_start import (
    fitted_block,
    most_important,
    resized_kernel,
    warm_start,
)
from scarlet_tf.space.search_space import Architecture

pytestmark = pytest.mark.both_modes


@pytest.fixture(scope="module")
def parent():
    return toy_parent()


def started(parent, batches=None, num_classes=CLASSES, skip="shortcut", **options):
    supernet = Supernet(space_around(parent, **options), (SIZE, SIZE, 3), num_classes, skip=skip)
    warm_start(supernet, parent, batches)
    return supernet


def test_the_parents_path_is_the_parent(parent, rng):
    images, expected = toy_images(rng), None
    expected = parent.network()(images)
    for supernet in (started(parent), started(parent, extra_depth=1), started(parent, skip="let")):
        path = parent_path(parent, supernet.space)
        np.testing.assert_allclose(supernet(images, path), expected, rtol=1e-5, atol=1e-5)


def test_further_layers_and_lets_that_keep_the_shape_begin_as_the_identity(parent, rng):
    images = toy_images(rng)
    supernet = started(parent, extra_depth=1, skip="let")
    path = parent_path(parent, supernet.space).choices
    expected = parent.network()(images)
    for choice in range(5):  # the last layer is a further one
        np.testing.assert_allclose(supernet(images, (*path[:-1], choice)), expected, rtol=1e-4, atol=1e-4)


def test_a_kernel_with_zeros_around_it_is_the_same_block(parent, rng):
    """Layers 1 and 4 have the parent's 3 x 3; choice 1 is 5 x 5. They have no stride, so padding is on all sides."""
    images, supernet = toy_images(rng), started(parent)
    np.testing.assert_allclose(supernet(images, (0, 1, 1, 1, 1)), parent.network()(images), rtol=1e-4, atol=1e-4)


def test_kernels_are_cropped_to_their_centre():
    kernel = np.arange(25.0).reshape(5, 5, 1, 1)
    np.testing.assert_array_equal(resized_kernel(kernel, 3)[..., 0, 0], [[6, 7, 8], [11, 12, 13], [16, 17, 18]])
    padded = resized_kernel(kernel, 7)
    assert padded.shape == (7, 7, 1, 1) and padded.sum() == kernel.sum()
    np.testing.assert_array_equal(resized_kernel(padded, 5), kernel)


def test_a_channel_without_contribution_goes_first(parent, rng):
    spec = parent.spec.blocks[1]
    arrays = {k.removeprefix("block_01_"): v.copy() for k, v in parent.arrays.items() if k.startswith("block_01_")}
    arrays["project/kernel"][:, :, 3] = 0  # nothing reads channel 3
    arrays["depthwise_bn/gamma"][5], arrays["depthwise_bn/beta"][5] = 0.01, -1.0  # its ReLU6 passes nothing
    assert set(most_important(arrays, spec.activation, 1e-3)[-2:].tolist()) == {3, 5}


def test_importance_is_the_mean_square_of_the_contribution(rng):
    """Against a million draws of what BN's scale and offset say of the channels."""
    spec = block(0, 2, 2, 3, expansion=2)
    arrays = {
        "depthwise_bn/gamma": np.array([1.0, 0.5, 2.0, 0.1]),
        "depthwise_bn/beta": np.array([0.0, 1.0, -3.0, 7.0]),
    }
    arrays["project/kernel"] = rng.normal(size=(1, 1, 4, 2))
    arrays |= {"project_bn/gamma": np.array([1.0, 2.0]), "project_bn/moving_variance": np.array([0.5, 2.0])}
    drawn = np.clip(rng.normal(arrays["depthwise_bn/beta"], arrays["depthwise_bn/gamma"], (10**6, 4)), 0, 6)
    scaled = arrays["project/kernel"][0, 0] * arrays["project_bn/gamma"] / np.sqrt([0.5, 2.0])
    power = [np.mean(np.sum(np.multiply.outer(drawn[:, c], scaled[c]) ** 2, axis=1)) for c in range(4)]
    assert most_important(arrays, spec.activation, 0.0).tolist() == np.argsort(power)[::-1].tolist()


def test_smaller_blocks_are_parts_of_larger_ones(parent):
    source = parent.spec.blocks[3]
    arrays = {k.removeprefix("block_03_"): v for k, v in parent.arrays.items() if k.startswith("block_03_")}
    order = most_important(arrays, source.activation, 1e-3)
    half = fitted_block(arrays, source, block(3, 24, 24, 3, expansion=3), 1e-3)
    np.testing.assert_array_equal(half["expand/kernel"], arrays["expand/kernel"][..., order[:72]])
    np.testing.assert_array_equal(half["depthwise/kernel"], arrays["depthwise/kernel"][1:4, 1:4][:, :, order[:72]])
    np.testing.assert_array_equal(half["project/kernel"], arrays["project/kernel"][:, :, order[:72]])
    np.testing.assert_array_equal(half["depthwise_bn/moving_mean"], arrays["depthwise_bn/moving_mean"][order[:72]])
    np.testing.assert_array_equal(half["project_bn/beta"], arrays["project_bn/beta"])


def test_squeeze_and_excitation_is_cut_along_its_hidden_channels(rng):
    spec = toy_spec(blocks=(block(0, 8, 16, 3, 2, se_channels=2), block(1, 16, 16, 3, se_channels=4)))
    parent = toy_parent(spec)
    supernet, images = started(parent), toy_images(rng, 4)
    np.testing.assert_allclose(supernet(images, (0, 0)), parent.network()(images), rtol=1e-5, atol=1e-5)
    names = {
        f"{n}/{w.name}" for n, part in supernet.choice_blocks[1].candidates[1].parts().items() for w in part.weights
    }
    assert {"se_squeeze/bias", "se_excite/bias", "se_excite/kernel"} <= names


def test_lets_are_fitted_to_the_parents_features(parent, rng):
    """A LET gives what the map that NumPy's lstsq finds does."""
    batches = [(toy_images(rng), np.arange(16) % CLASSES) for _ in range(3)]
    supernet = started(parent, batches)
    path = parent_path(parent, supernet.space).choices
    for layer, stride in ((0, 2), (4, 1)):
        rows = []
        for images, _ in batches:
            x = supernet.stem(images)
            for index in range(layer):
                x = supernet.choice_blocks[index].run(path[index], x)
            y = supernet.choice_blocks[layer].run(path[layer], x)
            rows.append([keras.ops.convert_to_numpy(t).reshape(-1, t.shape[-1]) for t in (x[:, ::stride, ::stride], y)])
        x, y = (np.concatenate(part) for part in zip(*rows, strict=True))
        shrinkage = np.sqrt(RIDGE * np.sum(x**2) / x.shape[1]) * np.eye(x.shape[1])  # as rows that want a map of zeros
        rows = np.concatenate([x, shrinkage]), np.concatenate([y, np.zeros((x.shape[1], y.shape[1]))])
        expected = np.linalg.lstsq(*rows, rcond=None)[0]
        let = supernet.choice_blocks[layer].candidates[-1].parts()["let"].kernel
        np.testing.assert_allclose(x @ keras.ops.convert_to_numpy(let)[0, 0], x @ expected, rtol=1e-2, atol=1e-2)


def test_least_squares_in_parts_are_those_of_the_whole(rng):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    fit = LeastSquares(4, 3)
    fit.add(x[:20], y[:20])
    fit.add(x[20:], y[20:])
    np.testing.assert_allclose(fit.solve(0.0), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-12)


def test_a_new_classifier_begins_with_zeros_or_fitted(parent, rng):
    images, labels = toy_images(rng, 64), np.arange(64) % 3
    images[labels == 1] += 1.5
    images[labels == 2] *= 3
    path = parent_path(parent, space_around(parent))
    assert not np.any(started(parent, num_classes=3)(images, path))
    logits = started(parent, [(images, labels)], num_classes=3)(images, path)
    assert np.mean(np.argmax(logits, axis=1) == labels) > 0.9
    kept = started(parent, [(images, labels)])(images, path)
    np.testing.assert_allclose(kept, parent.network()(images), rtol=1e-5, atol=1e-5)


def test_a_fitted_classifier_has_logits_of_the_right_size(rng):
    """Classes that lie far apart get confident logits, labels that say nothing get the classes' shares."""
    labels = np.repeat([0, 1], [300, 100])
    apart = np.stack([labels * 4.0, np.ones(400)], axis=1) + rng.normal(0, 0.1, (400, 2))
    kernel, bias = fitted_classifier(apart, labels, 2)
    logits = apart @ kernel + bias
    assert np.mean(logits.argmax(axis=1) == labels) == 1
    kernel, bias = fitted_classifier(rng.normal(size=(400, 2)), labels, 2)
    assert np.abs(kernel).max() < 1 and bias[0] > bias[1]


def test_a_supernet_that_is_made_from_a_parent(parent, rng):
    images, space = toy_images(rng), space_around(parent)
    supernet = Supernet(space, (SIZE, SIZE, 3), CLASSES, skip="shortcut", start=parent)
    np.testing.assert_allclose(
        supernet(images, parent_path(parent, space)), parent.network()(images), rtol=1e-5, atol=1e-5
    )


def test_a_supernet_of_another_space_is_refused(parent):
    other = toy_parent(toy_spec(blocks=(block(0, 8, 16, 3, 2), block(1, 16, 16, 3))))
    with pytest.raises(InputError, match="expected"):
        warm_start(Supernet(space_around(other), (SIZE, SIZE, 3), CLASSES, skip="shortcut"), parent)


def test_a_path_can_be_extracted(parent, rng):
    supernet, images = started(parent), toy_images(rng)
    for _ in range(3):
        architecture = supernet.space.sample(rng)
        np.testing.assert_allclose(
            extract(supernet, architecture)(images), supernet(images, architecture), rtol=1e-4, atol=1e-4
        )
    assert isinstance(parent_path(parent, supernet.space), Architecture)
