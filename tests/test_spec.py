import dataclasses
import json

import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec


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
        ({"se_gate": "relu"}, "se_gate: expected one of"),
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


def extended(**changes) -> NetworkSpec:
    """Everything that spaces do not use: a plain stem, other activations, a head, a block without expansion, another gate."""
    blocks = (
        InvertedResidualSpec("a", 16, 16, 16, 3, residual=True, activation="relu", expand=False),
        InvertedResidualSpec("b", 16, 40, 24, 5, 2, se_channels=8, se_gate="sigmoid"),
    )
    fields = {"stem_activation": "hard_swish", "tail_activation": "relu", "head_channels": 12, "head_bias": False}
    return NetworkSpec((8, 8, 3), 10, 16, 2, None, blocks, 32, **{**fields, **changes})


def test_extended_spec_round_trips_through_json():
    spec = extended()
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.block_channels == 16 and spec.feature_channels == 24
    assert extended().replace(blocks=()).feature_channels == 16


def test_later_fields_are_written_only_where_they_say_something():
    """So what was saved before there were any reads back, and digests of it stay what they were."""
    written = SearchSpace.from_name("s2").sample(np.random.default_rng(0)).lower().to_dict()
    assert list(written) == [
        "input_shape",
        "num_classes",
        "stem_channels",
        "stem_stride",
        "first_channels",
        "blocks",
        "tail_channels",
        "dropout",
        "classifier_activation",
        "pooling",
    ]
    block = {
        "name": "block_00",
        "in_channels": 16,
        "hidden_channels": 96,
        "out_channels": 32,
        "kernel_size": 7,
        "stride": 2,
        "se_channels": 24,
        "residual": False,
        "activation": "hard_swish",
        "kind": "inverted_residual",
    }
    assert written["blocks"][0] == block
    assert {"head_channels", "head_bias", "stem_activation", "tail_activation"} <= extended().to_dict().keys()


@pytest.mark.parametrize("change", [{"stem_activation": "swish"}, {"tail_activation": None}])
def test_bad_activations_of_stem_and_tail_are_refused(change):
    with pytest.raises(InputError, match=f"{next(iter(change))}: expected one of"):
        extended(**change)


def test_a_block_without_expansion_is_as_wide_as_its_input():
    with pytest.raises(InputError, match="block_07: hidden_channels: expected 16 as there is no expansion, got 48"):
        InvertedResidualSpec("block_07", 16, 48, 16, 3, expand=False)


def test_identity_cannot_narrow():
    with pytest.raises(InputError, match="cannot narrow 24 to 16"):
        IdentitySpec("a", 24, 16)


def test_replace_changes_only_what_is_named():
    spec = network().replace(num_classes=3)
    assert spec.num_classes == 3
    assert spec.replace(num_classes=10) == network()


def test_numbers_may_be_numpys_and_become_pythons():
    space = SearchSpace.from_name("s1")
    architecture = Architecture((0,) * space.num_layers, space)
    expected = architecture.lower((32, 40, 3), 10)
    for shape in (np.array([32, 40, 3]), [np.int64(32), np.uint8(40), np.int32(3)]):
        spec = architecture.lower(shape, np.int64(10))
        assert spec == expected and json.loads(json.dumps(spec.to_dict())) == expected.to_dict()


@pytest.mark.parametrize("shape", [32, "abc", (32, 40), (32, 40, 0), (32.0, 40, 3), (True, 40, 3), (None, None, 3), {}])
def test_input_shapes_of_the_wrong_kind_are_named(shape):
    space = SearchSpace.from_name("s1")
    with pytest.raises(InputError, match=r"input_shape: expected \(height, width, channels\)"):
        Architecture((0,) * space.num_layers, space).lower(shape)
