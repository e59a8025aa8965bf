import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.verification import verify


def test_bad_files_are_refused(float_file, model, data, tmp_path):
    content = float_file.read_bytes()
    torn = tmp_path / "torn.tflite"
    with pytest.raises(InputError, match=r"missing\.tflite: could not be read"):
        verify(tmp_path / "missing.tflite", model, data)
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        torn.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"torn\.tflite: "):
            verify(torn, model, data)
    torn.write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(InputError, match=r"expected a \.tflite file"):
        verify(torn, model, data)


def test_bad_data_are_refused(float_file, model, data):
    with pytest.raises(InputError, match=r"expected images \[B, 16, 16, 3\], got \[40, 8, 8, 3\]"):
        verify(float_file, model, (data[0][:, :8, :8], data[1]))
    with pytest.raises(InputError, match="expected at least one image"):
        verify(float_file, model, [])
    with pytest.raises(InputError, match=r"expected labels \[40\], got \[3\]"):
        verify(float_file, model, [(data[0], data[1][:3])])
    with pytest.raises(InputError, match="NaN or infinite"):
        verify(float_file, model, data[0] * np.nan)
    other = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.GlobalMaxPooling2D()])
    with pytest.raises(InputError, match=r"model's input \[8, 8, 3\]"):
        verify(float_file, other, data)
