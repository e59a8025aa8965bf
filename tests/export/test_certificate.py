import pytest

from scarlet_tf.cost import count
from scarlet_tf.errors import InputError
from scarlet_tf.export.certificate import digest, write_certificate
from scarlet_tf.export.verification import verify
from scarlet_tf.files import read_json

SIZE = 16
CLASSES = 4


def test_certificate_states_files_and_evidence(float_file, model, data, tmp_path, architecture):
    copy = tmp_path / "model.tflite"
    copy.write_bytes(float_file.read_bytes())
    certificate = write_certificate(
        tmp_path / "certificate.json",
        architecture=architecture,
        cost=count(architecture, SIZE, CLASSES),
        files={copy: verify(copy, model, data)},
        seeds={"search": 1},
        dataset={"name": "digits", "fingerprint": "0" * 16},
    )
    assert read_json(tmp_path / "certificate.json") == certificate
    [entry] = certificate["files"]
    assert entry["file"] == "model.tflite" and entry["bytes"] == copy.stat().st_size and len(entry["sha256"]) == 64
    assert entry["verification"]["agreement"] == 1 and certificate["architecture"]["string"] == "1,9"
    assert certificate["versions"]["tensorflow"].startswith("2.") and certificate["certificate_version"] == 1
    assert certificate["params"] == model.count_params() - sum(w.shape[0] for w in model.non_trainable_weights)


def test_digest_of_a_folder_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = digest(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert first[0] == digest(tmp_path / "a")[0] == 1 and first != digest(tmp_path / "a")
    with pytest.raises(InputError, match="found none"):
        digest(tmp_path / "b")
