import dataclasses
import json

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.metric_table import MetricTable, block_key, parts, stem_key, tail_key
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import InvertedResidualSpec, LinearSpec

SPACE = tiny_space()


def entries(metrics=2, space=SPACE):
    rng = np.random.default_rng(0)
    return {key: rng.uniform(1, 2, metrics).round(6).tolist() for key, _, _ in parts(space, 32, 10)}


def test_a_network_is_the_sum_of_its_parts(rng):
    known = entries()
    table = MetricTable(SPACE, 32, 10, ["latency_ms", "file_bytes"], known)
    for _ in range(20):
        architecture = Architecture(tuple(rng.integers(SPACE.num_choices, size=SPACE.num_layers).tolist()), SPACE)
        spec = architecture.lower((32, 32, 3), 10)
        size = (-(-32 // SPACE.stem_stride),) * 2
        total = np.array(known[stem_key(SPACE, (32, 32))])
        for block in spec.blocks:
            total = total + known[block_key(block, size)]
            size = tuple(-(-side // block.stride) for side in size)
        total = total + known[tail_key(SPACE, spec.feature_channels, 10, size)]
        sums = table.sums(np.array([architecture.choices]))
        np.testing.assert_allclose([sums["latency_ms"][0], sums["file_bytes"][0]], total, rtol=1e-12)


def test_keys_tell_blocks_apart_that_differ_in_expansion_or_gate():
    block = InvertedResidualSpec("b", 8, 8, 8, 3, residual=True, se_channels=2)
    assert block_key(block, (4, 4)) == "ir 8>8>8 k3 s1 se2 hard_swish shortcut @4x4"
    plain = dataclasses.replace(block, expand=False)
    assert block_key(plain, (4, 4)) == "ds 8>8>8 k3 s1 se2 hard_swish shortcut @4x4"
    gated = dataclasses.replace(block, se_gate="sigmoid")
    assert block_key(gated, (4, 4)) == "ir 8>8>8 k3 s1 se2 sigmoid hard_swish shortcut @4x4"


def test_keys_tell_skips_apart_that_differ_in_batch_normalisation():
    skip = LinearSpec("l", 8, 12, 2)
    assert block_key(skip, (4, 4)) == "linear 8>12 s2 @4x4"
    assert block_key(dataclasses.replace(skip, batch_norm=True), (4, 4)) == "linear 8>12 s2 bn @4x4"


def test_bounds_are_the_extremes_of_all_networks():
    table = MetricTable(SPACE, 32, 10, ["latency_ms"], entries(1))
    grid = np.stack(np.meshgrid(*[np.arange(SPACE.num_choices)] * SPACE.num_layers), -1).reshape(-1, SPACE.num_layers)
    values = table.sums(grid)["latency_ms"]
    assert table.bounds["latency_ms"] == pytest.approx((values.min(), values.max()), rel=1e-12)


def test_a_saved_table_is_read_back(tmp_path):
    table = MetricTable(SPACE, 32, 10, ["latency_ms", "file_bytes"], entries(), {"cpu": "one"})
    table.save(tmp_path / "t.json")
    back = MetricTable.load(tmp_path / "t.json", SPACE, 32, 10)
    assert back.to_dict() == table.to_dict() and back.fingerprint == table.fingerprint
    assert MetricTable(SPACE, 32, 10, ["latency_ms", "x"], entries()).fingerprint != table.fingerprint


@pytest.mark.parametrize(
    "change, message",
    [
        ({"version": 9}, r"version: expected 1, got 9"),
        ({"metrics": "latency_ms"}, r"metrics: expected a list of names, got 'latency_ms'"),
        ({"device": "phone"}, r"device: expected a mapping, got 'phone'"),
        ({"entries": [1]}, r"entries: expected a mapping, got \[1\]"),
        ({"entries": {}}, r"entries: expected all \d+ parts of space .* are missing, the first is '"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path, change, message):
    table = MetricTable(SPACE, 32, 10, ["latency_ms"], entries(1))
    (tmp_path / "t.json").write_text(json.dumps({**table.to_dict(), **change}))
    with pytest.raises(InputError, match=rf"t\.json: {message}"):
        MetricTable.load(tmp_path / "t.json", SPACE, 32, 10)


def test_an_entry_that_is_no_number_is_named():
    known = entries(1)
    key = next(iter(known))
    with pytest.raises(InputError, match=r"entries\..*: expected 1 finite numbers, got \['x'\]"):
        MetricTable(SPACE, 32, 10, ["latency_ms"], {**known, key: ["x"]})


@pytest.mark.parametrize("name", ["t.json", "t.yaml", "t.yml"])
def test_json_and_yaml_hold_the_same_with_what_else_is_known(tmp_path, name):
    details = {"measured": {"idle": [0.001, 0.0, 90]}, "calibration": {"left_out": {"spearman": None}}}
    table = MetricTable(SPACE, 32, 10, ["latency_ms", "file_bytes"], entries(), {"cpu": "one"}, details=details)
    table.save(tmp_path / name)
    back = MetricTable.load(tmp_path / name, SPACE)
    assert back.to_dict() == table.to_dict() and back.details == details
    assert back.fingerprint == MetricTable(SPACE, 32, 10, ["latency_ms", "file_bytes"], entries()).fingerprint


@pytest.mark.parametrize(
    "text, message",
    [("a: [", r"t\.yaml: expected YAML"), ("a: 1\na: 2", "is given twice"), ("7", r"t\.yaml: version: expected 1")],
)
def test_a_bad_yaml_file_is_named(tmp_path, text, message):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        MetricTable.load(tmp_path / "t.yaml", SPACE)
    with pytest.raises(InputError, match=r"u\.yaml: could not be read"):
        MetricTable.load(tmp_path / "u.yaml", SPACE)


def test_a_network_is_the_sum_of_the_entries_it_names(rng):
    table = MetricTable(SPACE, 32, 10, ["latency_ms"], entries(1))
    for _ in range(20):
        architecture = SPACE.sample(rng)
        total = sum(table.entries[key][0] for key in table.keys_of(architecture))
        assert table.sums([architecture.choices])["latency_ms"][0] == pytest.approx(total, rel=1e-12)


def test_one_metric_can_be_replaced():
    table = MetricTable(SPACE, 32, 10, ["latency_ms", "file_bytes"], entries(), details={"a": 1})
    doubled = table.with_metric("latency_ms", {key: 2 * values[0] for key, values in table.entries.items()})
    assert doubled.bounds["latency_ms"] == pytest.approx(tuple(2 * value for value in table.bounds["latency_ms"]))
    assert doubled.bounds["file_bytes"] == table.bounds["file_bytes"] and doubled.details == {"a": 1}
