"""Results of stages: what is written is read back with its types, and a file that does not fit is refused by its key."""

import dataclasses
import math

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.results import Dataset, NetworkResult, Score, SupernetResult, to_json
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()
NETWORK = NetworkResult(
    architecture=Architecture((1, 3, 0, 2), SPACE),
    init="scratch",
    multiply_adds=300,
    params=20,
    test=Score(0.5, 40, most_frequent=0.125, above_chance=True),
    validation=Score(0.75, 8),
    pick="best",
    history=({"epoch": 0, "loss": 1.5},),
    steps=3,
)


def test_a_result_is_read_as_it_was_written(tmp_path):
    scaled = dataclasses.replace(NETWORK, scaling=Scaling(1.4), searched_multiply_adds=100, searched_params=10)
    for result in (NETWORK, scaled, Dataset("digits", ("0", "1"), {"train": 30}, "abc")):
        assert result.write(tmp_path, SPACE) == result == type(result).read(tmp_path, SPACE)


def test_keys_without_a_value_are_left_out_and_numbers_are_plain(tmp_path):
    result = SupernetResult(({"loss": math.nan, "accuracy": np.float32(0.5)},), np.int64(3))
    kept = result.write(tmp_path, SPACE)
    assert read_json(tmp_path / "supernet/result.json") == {"history": [{"loss": None, "accuracy": 0.5}], "steps": 3}
    assert kept == SupernetResult(({"loss": None, "accuracy": 0.5},), 3)


def test_a_fine_tuned_network_inherits_no_more_than_its_lineage():
    tuned = dataclasses.replace(NETWORK, init="finetune", origin={"network": "a"}, folding=({"name": "let"},))
    assert tuned.provenance == {"init": "finetune", "origin": {"network": "a"}}
    assert tuned.lineage == {"architecture": NETWORK.architecture.to_dict(), "folding": [{"name": "let"}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": None}, r"init: it is missing; expected a file as this version writes it"),
        ({"params": "many"}, r"params: .* got 'many'"),
        ({"test": {"num_examples": 3}}, r"test\.accuracy: it is missing"),
        (
            {"architecture": {"version": 1, "space": "tiny", "choices": [9, 0, 0, 0]}},
            r"result\.json: architecture: .*, got 9",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_its_key(tmp_path, change, message):
    values = {key: value for key, value in (to_json(NETWORK) | change).items() if value is not None}
    write_json(tmp_path / "retrain" / "result.json", values)
    with pytest.raises(InputError, match=message):
        NetworkResult.read(tmp_path, SPACE)


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_another_file_is_named(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.json: expected "):
        Dataset.read(tmp_path, SPACE)
