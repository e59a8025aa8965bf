import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.evaluation.scoring import score
from scarlet_tf.training.optimizers import Loss

LOGITS = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).astype(np.float32)


def test_class_numbers_by_hand():
    loss, accuracy = Loss(3, 4)(tf.constant([0, 1]), LOGITS)
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 4)
    assert float(accuracy) == 1 / 4


def test_shares_by_hand():
    """Cross-entropy with shares is the shares' mean of the classes' own; the greatest share is the class."""
    shares = tf.constant([[0.75, 0.25, 0.0], [0.0, 0.4, 0.6]])
    loss, accuracy = Loss(3, 2)(shares, LOGITS)
    expected = -(0.75 * np.log(0.5) + 0.25 * np.log(0.25) + 0.4 * np.log(0.1) + 0.6 * np.log(0.8)) / 2
    assert float(loss) == pytest.approx(expected)
    assert float(accuracy) == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_certain_shares_are_class_numbers(smoothing):
    loss = Loss(3, 2, smoothing)
    labels = tf.constant([2, 1])
    assert [float(v) for v in loss(labels, LOGITS)] == [float(v) for v in loss(tf.one_hot(labels, 3), LOGITS)]


def test_evaluation_takes_shares():
    shares = tf.constant([[0.75, 0.25, 0.0], [0.0, 0.6, 0.4]])
    hits, loss = score(LOGITS, shares)
    assert int(hits) == 1
    expected = -(0.75 * np.log(0.5) + 0.25 * np.log(0.25) + 0.6 * np.log(0.1) + 0.4 * np.log(0.8))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
