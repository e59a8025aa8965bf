import os
import sys

import numpy as np
import pytest
from small import logits, make_data, make_network

import scarlet_tf as st
from scarlet_tf.models.network import get_arrays

SETTINGS = {"sparsity": 0.6, "epochs": 2, "batch_size": 32, "learning_rate": 1e-3, "recalibration_batches": 2}


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    before, network = dict(os.environ), make_network()
    found, figures = st.prune(network, make_data(), SETTINGS, tmp_path_factory.mktemp("prune"))
    assert dict(os.environ) == before and "tf_keras" not in sys.modules
    return network, found, figures


def test_every_pointwise_convolution_has_exactly_its_share_of_zeros(pruned):
    _, found, figures = pruned
    for name, kernel in get_arrays(found).items():
        layer, weight = name.split("/")
        pointwise = layer in ("stem_project", "tail_conv") or layer.endswith(("_expand", "_project"))
        if pointwise and weight == "kernel":
            kept = round(kernel.size * (1 - 0.6))
            assert np.count_nonzero(kernel) == kept, name
            assert figures["layers"][layer] == pytest.approx(1 - kept / kernel.size)
        else:
            assert layer not in figures["layers"]


def test_the_pruned_network_is_a_keras_3_network_that_has_learnt_on(pruned):
    network, found, figures = pruned
    assert isinstance(found, st.Network) and found.spec == network.spec
    images, _ = make_data()
    assert np.isfinite(logits(found, images)).all() and not np.allclose(logits(found, images), logits(network, images))
    assert len(figures["history"]) == 2
    zeros = sum(int((a == 0).sum()) for a in get_arrays(found).values())
    assert figures["sparsity"] == zeros / sum(a.size for a in get_arrays(found).values())
    # Large weights are kept: those that are left were, in the mean, the larger ones before.
    before, after = (get_arrays(model)["tail_conv/kernel"] for model in (network, found))
    assert np.abs(before[after != 0]).mean() > 2 * np.abs(before[after == 0]).mean()
