import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.export.certificate import certificate_text, check_digests, digest, make_certificate
from scarlet_tf.export.verification import verify
from scarlet_tf.latency.benchmark import benchmark
from scarlet_tf.space.cost import count

SIZE = 16
CLASSES = 4


@pytest.fixture(scope="module")
def certificate(float_file, model, data, tmp_path_factory, architecture):
    folder = tmp_path_factory.mktemp("export")
    copy, labels = folder / "model.tflite", folder / "labels.txt"
    copy.write_bytes(float_file.read_bytes())
    labels.write_text("ant\n")
    [row] = benchmark([copy], rounds=2, seconds_per_round=0.01)
    made = make_certificate(
        folder,
        architecture=architecture,
        cost=count(architecture, SIZE, CLASSES),
        files={copy: verify(copy, model, data)},
        seeds={"search": 1},
        dataset={"name": "digits", "classes": ["a", "b"], "fingerprint": "0" * 16},
        others=[labels],
        latencies={str(copy): row},
        host={"processor": "a | b", "threads": 1},
    )
    write_json(folder / "certificate.json", made)
    return folder, made


def test_certificate_states_files_and_evidence(certificate, architecture, model):
    folder, made = certificate
    assert read_json(folder / "certificate.json") == made
    [entry] = made["files"]
    size = (folder / "model.tflite").stat().st_size
    assert entry["file"] == "model.tflite" and entry["bytes"] == size and len(entry["sha256"]) == 64
    assert entry["verification"]["agreement"] == 1 and made["architecture"]["string"] == "1,9"
    assert made["passed"] and all(check["passed"] for check in entry["verification"]["checks"])
    assert entry["latency"]["milliseconds"] > 0 and entry["latency"]["ratio"] == 1
    assert [row["file"] for row in made["other_files"]] == ["labels.txt"]
    assert made["versions"]["tensorflow"].startswith("2.") and made["certificate_version"] == 2
    assert made["params"] == model.count_params() - sum(w.shape[0] for w in model.non_trainable_weights)


def test_the_text_states_the_same_figures(certificate):
    folder, made = certificate
    text = certificate_text(made)
    assert "| model.tflite | " in text and "100.00 %" in text and "6 of 6 checks passed" in text
    for row in (*made["files"], *made["other_files"]):
        assert f"{row['sha256']}  {row['file']}" in text
    assert certificate_text(read_json(folder / "certificate.json")) == text


def test_the_text_names_a_check_that_failed(certificate):
    _, made = certificate
    row = made["files"][0]
    bad = {"name": "top-1", "expected": "little", "found": "much", "passed": False}
    verification = {**row["verification"], "checks": [bad]}
    text = certificate_text({**made, "files": [{**row, "verification": verification, "latency": None}]})
    assert "0 of 1 checks passed" in text and "FAILED: model.tflite: top-1: expected little, found much" in text
    assert "Latency" not in text


def test_the_text_marks_a_network_that_is_no_better_than_chance(certificate):
    _, made = certificate
    test = {"accuracy": 0.1, "num_examples": 400, "most_frequent": 0.125}
    for above, marked in ((False, True), (True, False)):
        text = certificate_text({**made, "details": {**made["details"], "test": {**test, "above_chance": above}}})
        assert ("**The network is not better than chance: top-1 of 10.00 % on 400 test images" in text) == marked


def test_digests_tell_changed_files_from_missing_ones(certificate, tmp_path):
    folder, made = certificate
    assert all(check.passed for check in check_digests(made, folder))
    (tmp_path / "model.tflite").write_bytes((folder / "model.tflite").read_bytes() + b"\0")
    changed, missing = check_digests(made, tmp_path)
    assert not changed.passed and not missing.passed and missing.found == "no such file"


def test_digest_of_a_folder_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = digest(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert first[0] == digest(tmp_path / "a")[0] == 1 and first != digest(tmp_path / "a")
    with pytest.raises(InputError, match="found none"):
        digest(tmp_path / "b")
