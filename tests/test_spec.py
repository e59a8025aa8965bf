import dataclasses
import json

import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.space import SearchSpace
from scarlet_tf.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec


def network(*blocks) -> NetworkSpec:
    return NetworkSpec((8, 8, 3), 10, 16, 2, 16, blocks, 32)


@pytest.mark.parametrize("skip", ["nothing", "let", "identity", "relu"])
def test_spec_round_trips_through_json(skip, rng):
    space = SearchSpace.from_name("s2")
    for _ in range(10):
        spec = space.sample(rng).lower(skip=skip, dropout=0.2)
        assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_blocks_must_fit_together():
    with pytest.raises(InputError, match="b: in_channels: expected 24, got 16"):
        network(LinearSpec("a", 16, 24), LinearSpec("b", 16, 24))


def test_block_names_must_be_unique():
    with pytest.raises(InputError, match="expected unique names"):
        network(LinearSpec("a", 16, 16), LinearSpec("a", 16, 16))


def test_tail_reads_the_last_block_or_the_stem():
    assert network().feature_channels == 16
    assert network(IdentitySpec("a", 16, 24)).feature_channels == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": True, "stride": 2}, "residual: expected stride 1 and equal channels"),
        ({"residual": True, "out_channels": 24}, "residual: expected stride 1 and equal channels"),
        ({"kernel_size": 4}, "kernel_size: expected an odd number, got 4"),
        ({"activation": "gelu"}, "activation: expected one of"),
    ],
)
def test_bad_block_is_refused_with_its_name(change, message):
    block = InvertedResidualSpec("block_07", 16, 48, 16, 3)
    with pytest.raises(InputError, match=f"block_07: {message}"):
        dataclasses.replace(block, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "num_classes: expected an integer >= 1, got 0"),
        ({"num_classes": "10"}, "num_classes"),
        ({"input_shape": (8, 8)}, r"input_shape: expected \(height, width, channels\)"),
        ({"input_shape": (8, 0, 3)}, "input_shape"),
        ({"input_shape": (None, None, 3)}, "input_shape"),
    ],
)
def test_bad_images_and_classes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        network().replace(**change)


def test_identity_cannot_narrow():
    with pytest.raises(InputError, match="cannot narrow 24 to 16"):
        IdentitySpec("a", 24, 16)


def test_replace_changes_only_what_is_named():
    spec = network().replace(num_classes=3)
    assert spec.num_classes == 3
    assert spec.replace(num_classes=10) == network()
