import json
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("keras2_copy_script.py")


@pytest.fixture(scope="module")
def rows():
    """Of one process: tf_keras does not come into this one."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_the_copy_answers_what_the_keras_3_network_answers(rows):
    assert rows.keys() == {"s2", "lets", "relu", "identities", "foreign", "relu6", "efficientnet"}
    for row in rows.values():
        assert row["spread"] > 0.1
        # Two implementations of the same float32 arithmetic.
        assert row["difference"] <= 1e-5 * max(1, row["spread"]), row


def test_large_filters_in_strips_are_the_same_function(rows):
    assert sum(row["strips"] for row in rows.values()) >= 8
    for row in rows.values():
        assert row["split_difference"] <= 1e-5 * max(1, row["spread"]), row


def test_weights_come_back_from_the_copy_unchanged(rows):
    assert all(row["same_weights"] for row in rows.values())


def test_what_is_pruned_is_there(rows):
    assert all(row["not_there"] == [] for row in rows.values())


def test_copies_cover_every_layer_that_networks_have(rows):
    kinds = set().union(*(row["kinds"] for row in rows.values()))
    assert kinds >= {
        "HardSwish",
        "ShiftedReLU6",
        "Sixth",
        "Multiply",
        "Add",
        "Subsample",
        "PadChannels",
        "ZeroPadding2D",
    }
    assert kinds >= {
        "Conv2D",
        "DepthwiseConv2D",
        "BatchNormalization",
        "ReLU",
        "Dropout",
        "Dense",
        "GlobalAveragePooling2D",
    }
