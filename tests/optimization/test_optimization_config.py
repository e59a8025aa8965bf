import importlib.util
import sys

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.optimization.config import OptimizationConfig, PruningConfig, QuantizationAwareConfig, check_extra


def test_true_means_the_defaults_and_nothing_is_on_by_itself():
    assert not OptimizationConfig().is_wanted
    wanted = OptimizationConfig(quantization_aware=True, pruning=PruningConfig(sparsity=0.75))
    assert wanted.is_wanted and wanted.quantization_aware == QuantizationAwareConfig()


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        (QuantizationAwareConfig, "epochs", -1),
        (QuantizationAwareConfig, "learning_rate", 0),
        (QuantizationAwareConfig, "range_batches", 0),
        (PruningConfig, "sparsity", 1.0),
        (PruningConfig, "sparsity", 0.0),
        (PruningConfig, "ramp", 1.5),
        (PruningConfig, "epochs", 0),
    ],
)
def test_values_out_of_range_are_refused_by_name(config, key, value):
    with pytest.raises(InputError, match=rf"optimization\.\w+\.{key}: expected .*, got {value}"):
        config(**{key: value})


def test_a_missing_extra_is_named_with_what_installs_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf_keras" else found(name))
    with pytest.raises(InputError, match=r"need tf_keras, .*: pip install 'scarlet_tf\[optimization\]'"):
        check_extra()
    assert "tensorflow_model_optimization" not in sys.modules


def test_unfit_networks_and_data_are_refused_before_a_process_starts(monkeypatch, tmp_path):
    from tiny import tiny_space

    import scarlet_tf as st
    from scarlet_tf.optimization import host

    monkeypatch.setattr(host.subprocess, "Popen", None)
    images, labels = np.zeros((6, 8, 8, 3), np.float32), np.zeros(6, np.int32)
    architecture = st.Architecture((0, 1, 2, 1), tiny_space())
    network = st.build_network(architecture, (8, 8, 3), 5)
    for function in (lambda *a: st.quantize_aware(a[0], a[1], tmp_path / "m.tflite"), st.prune):
        with pytest.raises(InputError, match=r"batch_size: expected at most the 6 training images, got 128"):
            function(network, (images, labels))
        with pytest.raises(InputError, match="labels from 0 to 4"):
            function(network, (images, labels + 7))
        softmax = st.Network(network.spec.replace(classifier_activation="softmax"))
        with pytest.raises(InputError, match="returns logits"):
            function(softmax, (images, labels))
    assert not list(tmp_path.iterdir())
