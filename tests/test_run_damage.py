"""Damaged files of a run: changed figures are found, told and, where that is possible, made again; no stage takes long here."""

import pytest
import test_pipeline

from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json, write_text
from scarlet_tf.cli.verify import print_verification
from scarlet_tf.export.certificate import certificate_text
from scarlet_tf.models.network import Network
from scarlet_tf.run import methods
from scarlet_tf.run.folder import Run
from scarlet_tf.search.journal import format_line, read_lines
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.checkpoints import values_digest

calls = test_pipeline.calls  # a fixture
config, failed = test_pipeline.config, test_pipeline.failed

CHANGES = {
    "retrain/result.json": ('"accuracy": 0.9375', '"accuracy": 1.9'),
    "pareto.json": ('"accuracy": 0.75', '"accuracy": 0.95'),
    "supernet/result.json": ('"steps": 3', '"steps": 4'),
    "dataset.json": ('"test": 30', '"test": 90'),
    "timing.json": ('"search": ', '"search": 9'),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_figure_fails_the_verification_and_the_next_run_makes_it_again(calls, tmp_path, caplog, name):
    summary = runs.run_all(config(), tmp_path) | {"seconds": {}}
    path = tmp_path / name
    before, after = CHANGES[name]
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert name in failed(tmp_path, digests_only=True)
    caplog.clear()
    assert runs.run_all(config(), tmp_path) | {"seconds": {}} == summary
    assert f"{path}: " in caplog.text and " changed after it was written" in caplog.text
    assert failed(tmp_path, digests_only=True) == []


@pytest.mark.parametrize("name", ["retrain/result.json", "pareto.json", "supernet/result.json", "search/trials.jsonl"])
def test_a_changed_figure_is_told_though_its_file_says_nothing_of_itself(calls, tmp_path, name):
    """As one whose digest was taken away, or a line whose CRC was computed again; the certificate knows what it was."""
    runs.run_all(config(), tmp_path)
    path = tmp_path / name
    if name.endswith(".jsonl"):
        *lines, last = read_lines(path)
        lines.append({**last, "metrics": {"accuracy": 0.95}})
        path.write_bytes(b"".join(map(format_line, lines)))
    else:
        path.write_text(without_digest(path.read_text().replace(*CHANGES[name])))
    (warning,) = runs.run_all(config(), tmp_path)["warnings"][:1]
    assert (
        warning.startswith(f"{path}: expected the ")
        and f"that {tmp_path / 'export/certificate.json'} states" in warning
    )
    assert f"../{name} SHA-256" in failed(tmp_path)


def without_digest(text: str) -> str:
    return text[: text.index(',\n "sha256_of_all_above"')] + "\n}\n"


def test_a_run_of_an_earlier_version_is_verified_with_a_sentence_that_says_what_is_not_checked(
    calls, tmp_path, caplog, capsys
):
    """Its certificate names exported files and the network, and no file has a digest."""
    runs.run_all(config(), tmp_path)
    for path in (*tmp_path.rglob("result.json"), *tmp_path.glob("*.json"), tmp_path / "export/certificate.json"):
        path.write_text(without_digest(path.read_text()))
    path = tmp_path / "export/certificate.json"
    certificate = read_json(path)
    rows = [row for row in certificate["other_files"] if not row["file"].startswith("../")]
    write_json(path, certificate | {"other_files": rows})
    write_text(path.with_suffix(".md"), certificate_text(read_json(path)))
    found = runs.verify_run(tmp_path)
    assert found["passed"] and found["unchecked"] == OLD
    print_verification({**found, "files": []})
    assert "an earlier version wrote them without a digest: dataset.json, " in capsys.readouterr().out
    runs.run_all(config(), tmp_path)
    assert "an earlier version wrote these without a digest" in caplog.text
    result = tmp_path / "retrain/result.json"
    write_json(result, {**read_json(result), "test": {"accuracy": 1.9, "num_examples": 30}})
    assert failed(tmp_path) == ["test figures"]
    assert "expected the test figures that" in runs.run_all(config(), tmp_path)["warnings"][0]


OLD = [
    "dataset.json",
    "supernet/result.json",
    "pareto.json",
    "retrain/result.json",
    "export/certificate.json",
    "timing.json",
]
OLD += ["summary.json"]


def test_the_front_is_made_again_from_what_was_evaluated_once_a_network_was_retrained(calls, tmp_path, monkeypatch):
    """A search that goes on would find others."""
    hours, search = [], methods.search

    def note(*arguments, max_hours, **options):
        hours.append(max_hours)
        search(*arguments, max_hours=max_hours, **options)

    monkeypatch.setattr(methods, "search", note)
    runs.run_all(config(), tmp_path)
    (tmp_path / "retrain").mkdir(exist_ok=True)
    (tmp_path / "pareto.json").write_text("{")
    runs.run_stage("search", config(), tmp_path, max_hours=3)
    assert hours == [None, 0]


@pytest.mark.parametrize(
    "name, count", [("export/model_int8.tflite", 4), ("export/labels.txt", 5), ("retrain/model.keras", 0)]
)
def test_what_was_changed_is_not_run(calls, tmp_path, name, count):
    """An interpreter may crash over it; of a network that was changed, no file can be compared with it."""
    runs.run_all(config(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    calls.clear()
    assert not runs.verify_run(tmp_path)["passed"]
    assert calls.count("verify") == count
    (warning,) = runs.run_all(config(), tmp_path)["warnings"]
    assert warning.startswith(f"{tmp_path / name}: expected the file that ")


def test_a_stage_names_the_command_that_makes_a_damaged_result_of_another_again(calls, tmp_path):
    runs.run_all(config(), tmp_path)
    path = tmp_path / "pareto.json"
    path.write_text(path.read_text().replace(*CHANGES["pareto.json"]))
    with pytest.raises(
        InputError, match=r"pareto\.json: changed after it was written.*; this makes it again: scarlet search my\.yaml"
    ):
        runs.run_stage("export", config(), tmp_path, "my.yaml")
    runs.run_stage("search", config(), tmp_path, "my.yaml")
    runs.run_stage("export", config(), tmp_path, "my.yaml")


@pytest.mark.parametrize("change", [("epochs: 1", "epochs: 1,"), ("name: test", "nome: test"), ("name", "na\x00me")])
def test_a_damaged_copy_of_the_configuration_is_told_with_the_remedy(calls, tmp_path, change):
    runs.run_stage("train-supernet", config(), tmp_path)
    path = tmp_path / "config.yaml"
    whole = path.read_text()
    path.write_text(whole.replace(*change, 1))
    with pytest.raises(
        InputError, match=r"config\.yaml: (?s:.*)remove this copy if the run was begun with the configuration of now"
    ):
        runs.run_all(config(), tmp_path)
    path.unlink()
    runs.run_all(config(), tmp_path)
    assert path.read_text() == whole


@pytest.mark.parametrize("damage", ["", "{", '{"fingerprint": "abc"'])
def test_a_damaged_dataset_file_is_made_again_where_other_files_know_the_dataset(calls, tmp_path, caplog, damage):
    path = tmp_path / "dataset.json"
    runs.run_stage("train-supernet", config(), tmp_path)
    whole = path.read_text()
    path.write_text(damage)
    with pytest.raises(
        InputError, match=r"dataset\.json: expected JSON: .*; if the images are those .* remove the file and start"
    ):
        runs.run_all(config(), tmp_path)
    header = {"version": 1, "fingerprint": {"context": {"caller": {"dataset": "xyz"}}}}
    path_of_trials = tmp_path / "search" / "trials.jsonl"
    write_text(path_of_trials, format_line(header).decode())
    with pytest.raises(InputError, match="the dataset has changed since the run began: fingerprint xyz then, abc now"):
        runs.run_all(config(), tmp_path)
    header["fingerprint"]["context"]["caller"]["dataset"] = "abc"
    write_text(path_of_trials, format_line(header).decode())
    runs.run_all(config(), tmp_path)
    assert path.read_text() == whole and "it is written again" in caplog.text


def test_weights_that_are_not_those_of_the_result_are_refused(tmp_path):
    spec = Architecture((0, 6, 3), config().space).lower((8, 8, 3), 2)
    opened = Run(config(), tmp_path)
    opened.network_file.parent.mkdir()
    saved = Network(spec, seed=0)
    saved.save(opened.network_file)
    opened.keep(test_pipeline.network_result(weights_sha256=values_digest(saved.weights)))
    assert Run(config(), tmp_path).network.spec == spec
    Network(spec, seed=1).save(opened.network_file)
    with pytest.raises(InputError, match=r"model\.keras: its weights are not those that .*result\.json states; remove"):
        _ = Run(config(), tmp_path).network
