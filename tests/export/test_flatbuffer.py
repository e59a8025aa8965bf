import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.export import flatbuffer


def buffer_offsets(content):
    """Where in the file the data of each non-empty buffer begins."""
    model = schema.Model.GetRootAs(content, 0)
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    arrays = (model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength()) if model.Buffers(i).DataLength())
    return [array.__array_interface__["data"][0] - start for array in arrays]


def test_rewriting_aligns_buffers_and_keeps_the_signature(float_file, model, data):
    content = float_file.read_bytes()
    assert {offset % 16 for offset in buffer_offsets(content)} == {0}
    again = flatbuffer.rewrite(content, "pixels", "scores", {"scarlet_tf": b"new"})
    assert flatbuffer.read_metadata(again, "scarlet_tf") == b"new"
    assert flatbuffer.read_metadata(again, "absent") is None
    runner = Interpreter(model_content=again).get_signature_runner()
    np.testing.assert_allclose(runner(pixels=data[0][:1])["scores"], model(data[0][:1]), atol=1e-4)
