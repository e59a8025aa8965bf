import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.splits import Pass


def test_positions_by_hand():
    assert Pass(10, 4).positions().tolist() == list(range(10))
    assert Pass(10, 4, drop=True, skip=1).positions().tolist() == [4, 5, 6, 7]
    # Batches 0-3, 4-7 and the incomplete 8-9, of which the second worker has no row.
    assert Pass(10, 4, shard=(0, 2)).positions().tolist() == [0, 1, 4, 5, 8, 9]
    assert Pass(10, 4, shard=(1, 2)).positions().tolist() == [2, 3, 6, 7]
    assert Pass(11, 4, shard=(1, 2), skip=1).positions().tolist() == [6, 7, 10]


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_workers_divide_a_pass_among_them(count, drop):
    parts = [Pass(29, 6, skip=1, drop=drop, shard=(index, count)).positions() for index in range(count)]
    expected = np.arange(6, 24 if drop else 29)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), expected)


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0,), 0, (0.0, 1), (False, True)])
def test_bad_shards_are_refused(shard):
    with pytest.raises(InputError, match="shard: expected"):
        Pass(10, 4, shard=shard)


def test_workers_must_divide_the_batch():
    with pytest.raises(InputError, match=r"batch_size: expected a multiple of the 3 workers .* got 4"):
        Pass(10, 4, shard=(0, 3))
