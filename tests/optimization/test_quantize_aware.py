import json
import os
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf
from small import logits, make_data, make_network

import scarlet_tf as st
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import load_tflite
from scarlet_tf.optimization import host

LABELS = list("abcde")
SETTINGS = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-5, "range_batches": 3}


def file_logits(path, images):
    interpreter, _ = load_tflite(path)
    found = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(found)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    folder, network, (images, labels) = tmp_path_factory.mktemp("qat"), make_network(), make_data()
    before, weights = dict(os.environ), [np.array(w) for w in network.get_weights()]
    about = {"labels": LABELS, "preprocessing": Preprocessing(8), "provenance": {"seed": 3}}
    found = st.quantize_aware(network, (images, labels), folder / "m.tflite", SETTINGS, folder, **about)
    assert dict(os.environ) == before and "tf_keras" not in sys.modules and tf.keras.__version__.startswith("3.")
    assert all(np.array_equal(old, new) for old, new in zip(weights, network.get_weights(), strict=True))
    return folder, network, found


def test_file_is_int8_in_one_partition_with_hard_swish_in_float(quantised):
    folder, network, found = quantised
    st.export_tflite(network, folder / "calibrated.tflite", "int8", make_data())
    calibrated = st.verify(folder / "calibrated.tflite", network, make_data())
    assert found["builtins_only"] and found["partitions"] == 1
    assert found["inputs"][0]["dtype"] == found["outputs"][0]["dtype"] == "float32"
    # A 7x7 in three strips, and float hard-swish between two conversions, as in a file by calibration: that makes it fast.
    count = found["operations"]
    assert count["DEPTHWISE_CONV_2D"] == calibrated["operations"]["DEPTHWISE_CONV_2D"] == 7
    assert count["DEQUANTIZE"] == count["QUANTIZE"] == count["HARD_SWISH"] + 1 == 9
    assert "MUL" in count and count["MUL"] == 4, "of two squeeze-and-excitations; batch normalisation is folded"
    assert len(found["history"]) == 1 and 0 <= found["history"][0]["accuracy"] <= 1


def test_file_answers_nearly_what_the_float_network_does(quantised):
    folder, network, _ = quantised
    images = make_data()[0]
    exact, found = logits(network, images), file_logits(folder / "m.tflite", images)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.98
    assert np.abs(exact - found).mean() < 0.15 * exact.std()


def test_file_brings_its_metadata(quantised):
    folder, _, found = quantised
    assert found["metadata"]["quantization"] == "int8_qat" and found["metadata"]["provenance"] == {"seed": 3}
    assert json.loads((folder / "m.json").read_text()) == found["metadata"]
    assert (folder / "labels.txt").read_text().split() == LABELS


@pytest.mark.slow
def test_training_that_was_killed_continues_where_it_was(quantised, tmp_path, monkeypatch):
    network, data = make_network(), make_data()
    settings = {**SETTINGS, "epochs": 3, "learning_rate": 1e-3}
    straight = st.quantize_aware(network, data, tmp_path / "straight.tflite", settings, tmp_path / "straight")
    call, counts = host.Worker.call, {"end_epoch": 0, "step": 0, "measure": 0}

    def counted(self, command, *arrays):
        counts[command] = counts.get(command, 0) + 1
        return call(self, command, *arrays)

    def killed(self, command, *arrays):
        answer = counted(self, command, *arrays)
        if counts["end_epoch"] == 1 and command == "step":  # in the middle of the second epoch
            os.kill(self._process.pid, signal.SIGKILL)
        return answer

    monkeypatch.setattr(host.Worker, "call", killed)
    with pytest.raises(RuntimeError, match="ended with code -9 at 'step'"):
        st.quantize_aware(network, data, tmp_path / "m.tflite", settings, tmp_path)
    assert not (tmp_path / "m.tflite").exists()
    counts.update(end_epoch=0, step=0, measure=0)
    monkeypatch.setattr(host.Worker, "call", counted)
    resumed = st.quantize_aware(network, data, tmp_path / "m.tflite", settings, tmp_path)
    assert (counts["end_epoch"], counts["step"], counts["measure"]) == (2, 6, 0)
    for old, new in zip(straight["history"], resumed["history"], strict=True):
        assert new["loss"] == pytest.approx(old["loss"], rel=1e-3)
    exact = file_logits(tmp_path / "straight.tflite", data[0])
    assert np.abs(file_logits(tmp_path / "m.tflite", data[0]) - exact).mean() < 0.02 * exact.std()
    with pytest.raises(st.InputError, match="belongs to another run"):
        st.quantize_aware(network, data, tmp_path / "m.tflite", {**settings, "epochs": 4}, tmp_path)


@pytest.mark.slow
def test_the_worker_ends_with_its_parents_pipe():
    settings = {**SETTINGS, "int8_ends": False, "label_smoothing": 0.0, "seed": 0, "total_steps": 1}
    with host.new_worker("quantization_aware", make_network(), settings, {}) as process:
        process._process.stdin.close()
        assert process._process.wait(timeout=120) == 0


@pytest.mark.slow
def test_int8_ends_are_int8(tmp_path):
    found = st.quantize_aware(
        make_network(), make_data(), tmp_path / "m.tflite", {**SETTINGS, "epochs": 0, "int8_ends": True}
    )
    assert found["inputs"][0]["dtype"] == found["outputs"][0]["dtype"] == "int8" and found["partitions"] == 1
