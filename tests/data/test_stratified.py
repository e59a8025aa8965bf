import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.splits import draw, hold_out


def test_draw_keeps_the_shares_of_the_classes():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    drawn = draw(labels, 20, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [12, 6, 2]
    assert len(np.unique(drawn)) == 20 and (np.diff(drawn) > 0).all()


def test_draw_gives_every_class_an_example_where_there_are_enough():
    labels = np.repeat([0, 1, 2], [98, 1, 1])
    assert np.bincount(labels[draw(labels, 4, np.random.default_rng(0))]).tolist() == [2, 1, 1]
    assert len(draw(labels, 2, np.random.default_rng(0))) == 2


def test_draw_is_random_within_a_class():
    labels = np.zeros(1000, int)
    first, second = (draw(labels, 500, np.random.default_rng(seed)) for seed in (0, 1))
    assert 200 < len(np.intersect1d(first, second)) < 300


def test_hold_out_divides_everything():
    labels = np.arange(100) % 7
    kept, held_out = hold_out(labels, 21, np.random.default_rng(0))
    assert sorted([*kept, *held_out]) == list(range(100))
    assert np.bincount(labels[held_out]).tolist() == [3] * 7


def test_draw_refuses_more_than_there_are():
    with pytest.raises(InputError, match="from 1 to 3 examples, got 4"):
        draw(np.zeros(3), 4, np.random.default_rng(0))
