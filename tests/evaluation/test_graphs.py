import pytest
import tensorflow as tf

from scarlet_tf.evaluation.graphs import IDLE_PASSES, quick_to_first_step


def options():
    return tf.config.optimizer.get_experimental_options()


def test_the_callers_options_come_back_also_after_an_error():
    tf.config.optimizer.set_experimental_options({"constant_folding": False, "remapping": True})
    try:
        with pytest.raises(ValueError, match="inside"), quick_to_first_step():
            assert not any(options()[name] for name in IDLE_PASSES)
            raise ValueError("inside")
        assert options()["constant_folding"] is False and options()["remapping"] is True
        assert options()["loop_optimization"] is True  # TensorFlow's default
    finally:
        tf.config.optimizer.set_experimental_options({"constant_folding": True})
