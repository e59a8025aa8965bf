import json
import os

import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite, load_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.models.network import Network

pytestmark = pytest.mark.both_modes

SIZE = 16
CLASSES = 4
LABELS = ["ant", "bee", "cat", "dog"]
PREPROCESSING = Preprocessing(SIZE, 0.875)


def test_float_file_equals_the_model(float_file, model, data):
    result = verify(float_file, model, data)
    # Convolutions with BN folded in round differently; the logits are of the order of 1.
    assert result["max_logit_difference"] <= 1e-4 and result["mean_logit_difference"] <= 1e-5
    assert (result["top1"], result["model_top1"], result["top1_delta"], result["agreement"]) == (1, 1, 0, 1)
    assert result["num_images"] == 40 and result["bytes"] == os.path.getsize(float_file)
    assert result["builtins_only"] and result["partitions"] == 1 and result["format"] == "tflite"
    assert result["inputs"] == [{"name": "image", "shape": [1, SIZE, SIZE, 3], "dtype": "float32"}]
    assert result["outputs"] == [{"name": "logits", "shape": [1, CLASSES], "dtype": "float32"}]
    json.dumps(result)


def test_export_is_reproducible_and_writes_nothing_to_the_terminal(float_file, model, tmp_path, capfd, architecture):
    path = tmp_path / "again.tflite"
    export_tflite(
        model,
        path,
        labels=LABELS,
        preprocessing=PREPROCESSING,
        architecture=architecture,
        provenance={"seed": 3},
    )
    assert path.read_bytes() == float_file.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_a_file_does_not_depend_on_how_many_networks_the_process_had_made_before(model, tmp_path):
    contents = []
    for name in ("network", "network_1234"):
        renamed = Network(model.spec, name=name)
        renamed.set_weights(model.get_weights())
        contents.append(
            export_tflite(renamed, tmp_path / f"{name}.tflite") and (tmp_path / f"{name}.tflite").read_bytes()
        )
    assert contents[0] == contents[1]


def test_bad_arguments_are_refused_before_anything_is_written(model, data, tmp_path):
    def refuse(message, **arguments):
        with pytest.raises(InputError, match=message):
            export_tflite(arguments.pop("model", model), tmp_path / "m.tflite", **arguments)
        assert not list(tmp_path.iterdir())

    refuse("quantization: .* 'int4'", quantization="int4")
    refuse("representative_data: .* got none", quantization="int8")
    refuse("got an empty iterable", quantization="int8", representative_data=[])
    refuse("NaN", quantization="int8", representative_data=data[0] * np.nan)
    refuse("labels: expected 4, .* got 2", labels=["a", "b"])
    refuse("preprocessing.image_size: expected 16", preprocessing=Preprocessing(32))
    refuse("provenance", provenance={"x": object()})
    image = keras.Input([None, None, 3])
    refuse("fixed size", model=keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)))
    image = keras.Input([4, 4, 3])
    pooled = keras.layers.GlobalAveragePooling2D(dtype="mixed_float16")(image)
    refuse("compute in float32", model=keras.Model(image, pooled))


def test_a_dynamic_batch_gives_the_same_logits_for_many_images_at_once(model, data, tmp_path):
    path = tmp_path / "m.tflite"
    description = export_tflite(model, path, dynamic_batch=True)
    assert description["inputs"][0]["shape"] == [None, SIZE, SIZE, 3] == description["metadata"]["input"]["shape"]
    assert verify(path, model, data)["passed"]
    interpreter, _ = load_tflite(path)
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, [5, SIZE, SIZE, 3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, data[0][:5])
    interpreter.invoke()
    # The tolerance of the file with batch 1, see above.
    np.testing.assert_allclose(interpreter.get_tensor(target), model.predict(data[0][:5], verbose=0), atol=1e-4)
