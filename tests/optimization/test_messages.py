import io

import numpy as np
import pytest

from scarlet_tf.optimization.worker import read_message, write_message


def sent(*arrays):
    stream = io.BytesIO()
    write_message(stream, {"command": "step"}, *arrays)
    return stream.getvalue()


def test_arrays_arrive_as_they_were_sent():
    images, labels = np.random.default_rng(0).normal(size=(2, 3, 3, 1)).astype(np.float32), np.array([4, 1], np.int32)
    message, arrays = read_message(io.BytesIO(sent(images[:, ::-1], labels)))
    assert message == {"command": "step"} and arrays[0].dtype == np.float32 and arrays[1].dtype == np.int32
    assert np.array_equal(arrays[0], images[:, ::-1]) and np.array_equal(arrays[1], labels)


@pytest.mark.parametrize("lost", [1, 20, 10_000])
def test_a_message_cut_short_counts_as_the_end(lost):
    content = sent(np.zeros(8))
    assert read_message(io.BytesIO(content[: max(0, len(content) - lost)])) is None
