import os

import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.data.inputs import image_batches
from scarlet_tf.export import flatbuffer
from scarlet_tf.export.tflite import calibration_images, export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.models.network import build_network

SIZE = 16


def test_int8_keeps_hard_swish_in_float_in_one_partition(int8_file, float_file, model, data):
    result = verify(int8_file, model, data)
    assert result["partitions"] == 1 and result["builtins_only"]
    assert result["inputs"][0]["dtype"] == result["outputs"][0]["dtype"] == "float32"
    # Each float HARD_SWISH stands between two conversions; two more are the file's ends.
    count = result["operations"]
    assert count["DEQUANTIZE"] == count["QUANTIZE"] == count["HARD_SWISH"] + 1
    assert result["bytes"] < 0.7 * os.path.getsize(float_file)
    spread = model.predict(data[0], verbose=0).std()
    assert result["mean_logit_difference"] < 0.1 * spread and result["agreement"] >= 0.9


def test_int8_weights_are_quantised_per_channel(int8_file):
    content = int8_file.read_bytes()
    model = flatbuffer.schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    filters = [t for t in graph.tensors if t.type == flatbuffer.schema.TensorType.INT8 and len(t.shape) == 4]
    scales = [len(t.quantization.scale) for t in filters if model.buffers[t.buffer].data is not None]
    assert scales and min(scales) > 1


def test_int8_with_int8_ends_is_verified_in_its_own_units(data, tmp_path, capfd, relu6_model):
    export_tflite(relu6_model, tmp_path / "m.tflite", "int8", data[0], float_ends=False)
    assert capfd.readouterr() == ("", "")
    result = verify(tmp_path / "m.tflite", relu6_model, data[0])
    assert result["inputs"][0]["dtype"] == result["outputs"][0]["dtype"] == "int8"
    assert result["partitions"] == 1 and result["top1"] is None and result["agreement"] >= 0.9


def test_full_int8_knows_no_floating_point(data, tmp_path, model, relu6_model):
    """ReLU6 networks stay whole then; an h-swish in int8 cuts the graph."""
    for network, whole in ((relu6_model, True), (model, False)):
        export_tflite(network, tmp_path / "m.tflite", "full_int8", data[0])
        content = flatbuffer.schema.ModelT.InitFromPackedBuf((tmp_path / "m.tflite").read_bytes(), 0)
        floats = [t.name for t in content.subgraphs[0].tensors if t.type == flatbuffer.schema.TensorType.FLOAT32]
        result = verify(tmp_path / "m.tflite", network, data[0])
        assert floats == [] and result["quantization"] == "full_int8"
        assert (result["partitions"] == 1) is whole and result["agreement"] >= 0.85


@pytest.mark.parametrize(("quantization", "share", "tolerance"), [("float16", 0.75, 0.02), ("dynamic", 0.7, 0.1)])
def test_smaller_weights_stay_near(quantization, share, tolerance, model, data, float_file, tmp_path):
    description = export_tflite(model, tmp_path / "m.tflite", quantization)
    assert description["bytes"] < share * os.path.getsize(float_file)
    assert verify(tmp_path / "m.tflite", model, data)["mean_logit_difference"] < tolerance


def test_sparse_storage_leaves_out_zeros_and_answers_the_same(model, data, tmp_path):
    pruned = keras.models.clone_model(model)
    pruned.set_weights(
        [np.where(np.abs(w) < np.quantile(np.abs(w), 0.8), 0, w) if w.ndim == 4 else w for w in model.get_weights()]
    )
    dense = export_tflite(pruned, tmp_path / "dense.tflite")
    sparse = export_tflite(pruned, tmp_path / "sparse.tflite", sparse_storage=True)
    assert sparse["bytes"] < 0.8 * dense["bytes"] and sparse["operations"]["DENSIFY"] and sparse["partitions"] == 1
    # The weights are the same numbers; their convolutions may sum in another order.
    assert verify(tmp_path / "sparse.tflite", pruned, data)["max_logit_difference"] <= 1e-4
    with pytest.raises(InputError, match="sparse_storage: expected quantization 'none' with it, got 'int8'"):
        export_tflite(pruned, tmp_path / "m.tflite", "int8", data, sparse_storage=True)


def test_calibration_takes_a_split_from_all_classes():
    split = load_dataset(DataConfig(image_size=SIZE)).train
    assert calibration_images(split, (SIZE, SIZE, 3), 20).shape == (20, SIZE, SIZE, 3)
    assert calibration_images(split.batches(8), (SIZE, SIZE, 3), 20).shape == (20, SIZE, SIZE, 3)
    [(images, labels)] = image_batches(split.take(5), (SIZE, SIZE, 3), "x")
    assert images.shape[0] == len(labels) == 5


@pytest.mark.slow
def test_digits_network_keeps_its_accuracy(tmp_path, architecture):
    data = load_dataset(DataConfig(augmentation="shift", image_size=SIZE))
    network = build_network(architecture, (SIZE, SIZE, 3), data.num_classes, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(3e-3), loss)
    for epoch in range(12):
        network.fit(data.train.batches(64, training=True, epoch=epoch), verbose=0, shuffle=False)
    export_tflite(network, tmp_path / "f.tflite", labels=data.class_names, preprocessing=data.preprocessing)
    export_tflite(network, tmp_path / "i.tflite", "int8", data.train)
    exact, small = (verify(tmp_path / name, network, data.test) for name in ("f.tflite", "i.tflite"))
    assert exact["model_top1"] > 0.9 and exact["max_logit_difference"] <= 1e-4
    assert abs(small["top1_delta"]) <= 0.02
