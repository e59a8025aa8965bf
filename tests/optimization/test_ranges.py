import pytest

from scarlet_tf.optimization.ranges import LEAST_MAXIMUM, clamped, debiased


def test_debiasing_by_hand():
    # From 6, two updates by a tenth towards 1: 5.5, then 5.05.
    assert debiased(5.05, 6.0, batches=2, decay=0.9) == pytest.approx(1.0)
    # Towards 2 and then towards 1: 6 -> 5.6 -> 5.14; the weights of the two are 0.09 and 0.1.
    assert debiased(5.14, 6.0, batches=2, decay=0.9) == pytest.approx((0.09 * 2 + 0.1 * 1) / 0.19)


def test_tfmots_decay_leaves_little_of_twenty_batches_until_it_is_debiased():
    value = -6.0
    for _ in range(20):
        value = 0.999 * value + 0.001 * -0.5
    assert value < -5.8
    assert debiased(value, -6.0, batches=20) == pytest.approx(-0.5)


def test_ranges_hold_zero_and_have_a_width():
    assert clamped(0.2, 3.0) == (0.0, 3.0)
    assert clamped(-1.0, -0.5) == (-1.0, LEAST_MAXIMUM)
