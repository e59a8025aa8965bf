"""Warm starts from parents whose features explode, vanish or say nothing, and from misshapen ones."""

import dataclasses

import numpy as np
import pytest
from toy_parent import SIZE, block, toy_images, toy_parent, toy_spec

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.least_squares import LeastSquares, fitted_classifier
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.around import space_around
from scarlet_tf.parents.warm_start import warm_start


@pytest.fixture(scope="module")
def parent():
    return toy_parent(toy_spec(blocks=(block(0, 8, 16, 3, 2), block(1, 16, 16, 3))))


@pytest.fixture(scope="module")
def supernet(parent):
    return Supernet(space_around(parent), (SIZE, SIZE, 3), num_classes=3, skip="shortcut")


def with_scales(parent, factor, *names):
    """The parent with BN scales of the named layers, or of all, times a factor."""
    changed = {n: a * factor for n, a in parent.arrays.items() if n.endswith("gamma") and n.startswith(names or "")}
    return dataclasses.replace(parent, arrays=parent.arrays | changed)


@pytest.mark.parametrize(("factor", "layers"), [(1e9, ()), (1e18, ("block_01_project",)), (1e-20, ())])
def test_features_that_explode_or_vanish_leave_every_path_finite(parent, supernet, rng, factor, layers):
    """Of 1e9 for each BN, those of the tail are 0 or 6 for all images: they say nothing of the classes."""
    images, labels = toy_images(rng, 24), np.arange(24) % 3
    warm_start(supernet, with_scales(parent, factor, *layers), [(images, labels)])
    for path in ((0, 0), (1, 2), (2, 0), (2, 1)):
        assert np.isfinite(supernet(images, path)).all()
    assert all(np.isfinite(weight).all() for weight in supernet.weights)


def test_features_that_are_constant_say_nothing(rng):
    """Also where they are large and differ by rounding, beside one that tells the classes apart."""
    labels = np.arange(40) % 2
    constant = 1e6 * np.nextafter(np.ones(40, np.float32), rng.choice([0, 2], 40).astype(np.float32))
    kernel, bias = fitted_classifier(np.stack([constant, labels], axis=1).astype(np.float32), labels, 2)
    np.testing.assert_array_equal(kernel[0], 0)
    assert np.abs(kernel[1]).min() > 1 and np.isfinite(bias).all()
    kernel, bias = fitted_classifier(constant[:, None], labels, 2)
    assert not kernel.any() and bias[0] == pytest.approx(bias[1], rel=1e-6)


def test_a_map_that_float32_cannot_hold_stays_zero(caplog):
    fit = LeastSquares(1, 1)
    fit.add(np.full((4, 1), 1e-30), np.full((4, 1), 1e30))
    assert fit.solve() == 0 and "a linear map of 1 to 1 channels stays zero" in caplog.text


def test_features_that_are_no_numbers_are_refused_with_the_layer(parent, supernet, rng):
    batches = [(toy_images(rng), np.arange(16) % 3)]
    endless = with_scales(parent, 1e38, "block_00_project", "block_01_project")
    with pytest.raises(InputError, match="parent: expected finite features of the images, got others after block_01"):
        warm_start(supernet, endless, batches)


def test_a_label_that_is_no_class_is_refused(parent, supernet, rng):
    with pytest.raises(InputError, match="labels: expected classes from 0 to 2, got 0 to 6"):
        warm_start(supernet, parent, [(toy_images(rng, 14), np.arange(14) % 7)])


def test_a_weight_of_another_shape_is_named(parent, supernet):
    name = "block_01_depthwise/kernel"
    misshapen = dataclasses.replace(parent, arrays=parent.arrays | {name: parent.arrays[name][:, :, :-1]})
    with pytest.raises(
        InputError, match=r"parent: block_01: depthwise/kernel: expected \(3, 3, 96, 1\), got \(3, 3, 95, 1\)"
    ):
        warm_start(supernet, misshapen)
