import json

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.export import latency
from scarlet_tf.metric_table import MetricTable, parts
from scarlet_tf.models.network import build_network
from scarlet_tf.space import Architecture

SPACE = tiny_space()


@pytest.fixture
def measured(monkeypatch):
    """Parts are built as models but not measured; lists the models."""
    models = []

    def measure(model, threads=1):
        models.append(model)
        return 0.5 + model.count_params() / 1e4, 100 + 4 * model.count_params()

    monkeypatch.setattr(latency, "measure_model", measure)
    return models


def test_the_parts_of_a_network_are_its_layers(measured, tmp_path, rng):
    table = latency.build_latency_table(SPACE, tmp_path / "t.json", 32, 10)
    for _ in range(5):
        choices = tuple(rng.integers(SPACE.num_choices, size=SPACE.num_layers).tolist())
        whole = build_network(Architecture(choices, SPACE), (32, 32, 3), 10)
        # Measured as bytes here are 4 a parameter, so the parts of a network have to add up to it.
        assert table.sums([choices])["file_bytes"][0] == 4 * whole.count_params()
    assert MetricTable.load(tmp_path / "t.json", SPACE, 32, 10).to_dict() == table.to_dict()
    assert not (tmp_path / "t.json.partial").exists()


def test_a_table_that_was_interrupted_is_continued(monkeypatch, measured, tmp_path):
    whole = latency.build_latency_table(SPACE, tmp_path / "whole.json", 32, 10)
    count, measure = len(measured), latency.measure_model
    calls = []

    def interrupted(model, threads=1):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(model)
        return measure(model, threads)

    monkeypatch.setattr(latency, "measure_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        latency.build_latency_table(SPACE, tmp_path / "t.json", 32, 10)
    monkeypatch.setattr(latency, "measure_model", measure)
    before = len(measured)
    with pytest.raises(
        InputError, match=r"t\.json\.partial: it was begun with another num_classes: expected 9, found 10"
    ):
        latency.build_latency_table(SPACE, tmp_path / "t.json", 32, 9)
    assert latency.build_latency_table(SPACE, tmp_path / "t.json", 32, 10).to_dict() == whole.to_dict()
    assert len(measured) - before == count - 3  # 4 calls were one of nothing and 3 of parts; nothing is measured anew


def test_a_model_is_measured_by_litert():
    milliseconds, size = latency.measure_model(
        build_network(Architecture((0,) * SPACE.num_layers, SPACE), (16, 16, 3), 5)
    )
    params = build_network(Architecture((0,) * SPACE.num_layers, SPACE), (16, 16, 3), 5).count_params()
    assert 0 < milliseconds < 1000 and size > 3 * params


def test_every_part_has_one_key():
    keys = [key for key, _, _ in parts(SPACE, 32, 10)]
    assert len(keys) == len(set(keys)) and any(key.startswith("stem") for key in keys)
    assert np.all([key.endswith(f"@{size[0]}x{size[1]}") for key, _, size in parts(SPACE, 32, 10)])
    json.dumps(keys)
