import numpy as np
import tensorflow as tf

from scarlet_tf.export import flatbuffer
from scarlet_tf.export.flatbuffer import in_float
from scarlet_tf.latency.timing import new_interpreter


def int8_graph():
    """A 1x1 convolution and hard-swish, all int8 with float ends, as the converter makes it without exemptions."""
    rng = np.random.default_rng(0)
    kernel = tf.constant(rng.normal(size=(1, 1, 3, 8)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32)])
    def serve(image):
        x = tf.nn.conv2d(image, kernel, 1, "SAME")
        return x * tf.nn.relu6(x + 3.0) * (1 / 6)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([rng.normal(size=(1, 4, 4, 3)).astype(np.float32)] for _ in range(8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert(), serve


def answer(content, image):
    interpreter = new_interpreter(content)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), interpreter


def test_hard_swish_moves_to_float_and_the_graph_into_one_partition():
    content, serve = int8_graph()
    before, after = flatbuffer.count_operations(content), flatbuffer.count_operations(in_float(content, ["HARD_SWISH"]))
    assert before["HARD_SWISH"] == 1 and after["QUANTIZE"] == before["QUANTIZE"] + 1
    assert after["DEQUANTIZE"] == before["DEQUANTIZE"] + 1
    image = np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype(np.float32)
    int8, _ = answer(content, image)
    mixed, interpreter = answer(in_float(content, ["HARD_SWISH"]), image)
    assert flatbuffer.count_partitions(interpreter) == 1
    exact = serve(image).numpy()
    # Both round to 8 bits at the same places; the float hard-swish adds no error of its own.
    assert np.abs(mixed - exact).mean() <= 1.05 * np.abs(int8 - exact).mean() < 0.1


def test_other_operations_stay_as_they_are():
    content, _ = int8_graph()
    assert flatbuffer.count_operations(in_float(content, ["ADD"])) == flatbuffer.count_operations(content)
