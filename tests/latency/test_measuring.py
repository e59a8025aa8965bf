"""Files that are timed, of networks and of the parts they consist of; many files in passes, interrupted and resumed."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from fake_runner import FakeRunner, content
from tiny import randomised, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.export import flatbuffer
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.latency.measuring import (
    BATCH,
    Measurements,
    idle_content,
    network_content,
    part_content,
    part_model,
    takes_nothing,
    timing_content,
)
from scarlet_tf.latency.timing import Measurement
from scarlet_tf.models.network import build_network, get_arrays, set_arrays
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec

SPACE = tiny_space()
EVERY = tiny_space(stages=(Stage(12, 2, 2), Stage(16, 1, 2)))
FILES = {f"file {i}": lambda i=i: content(1.0 + i, 100 + i) for i in range(2 * BATCH + 3)}


def test_the_fastest_pass_counts(tmp_path):
    measurements = Measurements(tmp_path / "m.json", {"a": 1})
    measurements.measure(FILES, FakeRunner(slow=0.5), 3, "x")
    assert measurements.of("file 2") == Measurement(3.0, 0.01, 7)
    assert [row[0] for row in measurements.passes["file 2"]] == [3.5, 3.0, 3.5]
    assert measurements.bytes["file 2"] == 102


def test_every_pass_has_all_files_in_another_order(tmp_path):
    runner = FakeRunner()
    Measurements(tmp_path / "m.json", {}).measure(FILES, runner, 2, "x")
    first, second = runner.seen[: len(FILES)], runner.seen[len(FILES) :]
    assert sorted(first) == sorted(second) == sorted(make() for make in FILES.values()) and first != second


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path):
    path, made = tmp_path / "m.json", []
    files = {name: lambda name=name: made.append(name) or FILES[name]() for name in FILES}
    with pytest.raises(KeyboardInterrupt):
        Measurements(path, {"a": 1}).measure(files, FakeRunner(stop_after=len(FILES) + BATCH + 1), 2, "x")
    assert len(made) == len(FILES)  # the second pass reads what the first made
    rest = FakeRunner()
    measurements = Measurements(path, {"a": 1})
    measurements.measure(files, rest, 2, "x")
    assert len(rest.seen) == len(FILES) - BATCH and all(len(rows) == 2 for rows in measurements.passes.values())


def test_measurements_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "m.json"
    Measurements(path, {"threads": 1}).measure(FILES, FakeRunner(), 1, "x")
    with pytest.raises(InputError, match=r"m\.json: it was begun with another threads: expected 2, found 1; remove it"):
        Measurements(path, {"threads": 2})
    path.write_text(json.dumps([]))
    with pytest.raises(InputError, match=r"m\.json: expected measurements that were begun"):
        Measurements(path, {"threads": 1})


def test_no_passes_are_refused(tmp_path):
    with pytest.raises(InputError, match="passes: expected an integer >= 1, got 0"):
        Measurements(tmp_path / "m.json", {}).measure(FILES, FakeRunner(), 0, "x")


def run(content, image):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), interpreter


def test_a_file_answers_what_the_network_answers_and_runs_in_one_partition(rng):
    model = build_network(Architecture((0, 1, 2, 1), SPACE), (16, 16, 3), 5, seed=0)
    set_arrays(model, randomised(get_arrays(model), rng))
    image = rng.normal(size=(1, 16, 16, 3)).astype(np.float32)
    content = timing_content(model)
    answer, interpreter = run(content, image)
    np.testing.assert_allclose(answer, model(image, training=False), atol=1e-4)
    assert flatbuffer.count_partitions(interpreter) == 1 and not any(
        name in flatbuffer.count_operations(content) for name in ("READ_VARIABLE", "VAR_HANDLE")
    )
    assert len(content) > 4 * sum(np.prod(w.shape) for w in model.trainable_weights if "kernel" in w.path)


@pytest.mark.parametrize("quantization", ["float16", "dynamic", "int8"])
def test_parts_of_fewer_bits_stay_in_one_partition(quantization):
    files = {key: (about, size) for key, about, size in parts(EVERY, 16, 5) if not takes_nothing(EVERY, about)}
    chosen = [key for key in files if " se" in key and "se0" not in key][:1] + [
        k for k in files if k[:4] in ("stem", "tail")
    ][:2]
    for key in chosen:
        content = part_content(EVERY, *files[key], 5, quantization)
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        assert flatbuffer.count_partitions(interpreter) == 1, key
        ends = interpreter.get_input_details()[0]["dtype"]
        assert ends == (np.int8 if quantization == "int8" else np.float32)


def test_a_networks_parts_have_the_operations_of_the_network():
    architecture = Architecture((3, 1, 0), EVERY)
    table = MetricTable(EVERY, 16, 5, ["x"], {key: [1.0] for key, _, _ in parts(EVERY, 16, 5)})
    files = {key: (about, size) for key, about, size in parts(EVERY, 16, 5)}
    added = {}
    for key in table.keys_of(architecture):
        if takes_nothing(EVERY, files[key][0]):
            continue
        for name, count in flatbuffer.count_operations(part_content(EVERY, *files[key], 5)).items():
            added[name] = added.get(name, 0) + count
    whole = flatbuffer.count_operations(network_content(architecture, 16, 5))
    assert added == whole


def test_the_parts_of_a_network_have_its_parameters(rng):
    table = MetricTable(
        SPACE,
        32,
        10,
        ["params"],
        {key: [part_model(SPACE, about, size, 10).count_params()] for key, about, size in parts(SPACE, 32, 10)},
    )
    for _ in range(5):
        architecture = SPACE.sample(rng)
        whole = build_network(architecture, (32, 32, 3), 10)
        assert table.sums([architecture.choices])["params"][0] == whole.count_params()


def test_a_skip_takes_nothing_unless_a_block_with_a_shortcut_can_follow():
    skip = IdentitySpec("block_00", 8, 8, 2)
    assert not takes_nothing(SPACE, skip)  # 8 channels again in the next layer, stride 1
    assert takes_nothing(EVERY, skip) and takes_nothing(SearchSpace.from_name("s2"), IdentitySpec("b", 16, 16, 2))
    assert not takes_nothing(EVERY, IdentitySpec("b", 8, 12, 2)) and not takes_nothing(EVERY, "stem")


def test_next_to_nothing_is_one_operation():
    assert sum(flatbuffer.count_operations(idle_content()).values()) == 1
    keras.backend.clear_session()


def test_timed_files_have_the_operations_of_exported_ones(tmp_path):
    architecture = Architecture((2, 1, 2), EVERY)  # two 7x7 filters, which export splits
    export_tflite(build_network(architecture, (16, 16, 3), 5), tmp_path / "m.tflite")
    exported = flatbuffer.count_operations((tmp_path / "m.tflite").read_bytes())
    assert flatbuffer.count_operations(network_content(architecture, 16, 5)) == exported
