"""TFLite's own metadata, read by an independent reader of flatbuffers that knows nothing but the format."""

import io
import struct
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export import flatbuffer
from scarlet_tf.export.metadata import build_metadata, check_labels, task_metadata, with_labels
from scarlet_tf.export.tflite import describe_tflite, export_tflite

SIZE = 16
NAMES = ["ant, the", '"bee" \'s', "Eichhörnchen", "犬 "]


class Table:
    """The table at a position: fields are found by their numbers in the schema."""

    def __init__(self, content, at=None):
        self.content = content
        self.at = self._read("I", 0) if at is None else at
        table = self.at - self._read("i", self.at)
        slots = [self._read("H", table + 4 + 2 * i) for i in range(self._read("H", table) // 2 - 2)]
        self.fields = {field: self.at + slot for field, slot in enumerate(slots) if slot}

    def number(self, field, form):
        return self._read(form, self.fields[field])

    def text(self, field):
        start, length = self._vector(field)
        assert self.content[start + length] == 0
        return self.content[start : start + length].decode()

    def floats(self, field):
        start, length = self._vector(field)
        assert start % 4 == 0
        return list(struct.unpack_from(f"<{length}f", self.content, start))

    def table(self, field):
        return Table(self.content, self._target(self.fields[field]))

    def tables(self, field):
        start, length = self._vector(field)
        return [Table(self.content, self._target(start + 4 * i)) for i in range(length)]

    def _vector(self, field):
        start = self._target(self.fields[field])
        return start + 4, self._read("I", start)

    def _target(self, at):
        return at + self._read("I", at)

    def _read(self, form, at):
        return struct.unpack_from("<" + form, self.content, at)[0]


def parts(content):
    """(model, input, output, graph) of a file's metadata."""
    entries = [entry for entry in Table(content).tables(6) if entry.text(0) == "TFLITE_METADATA"]
    assert len(entries) == 1
    start, length = Table(content).tables(4)[entries[0].number(1, "I")]._vector(0)
    metadata = content[start : start + length]
    assert start % 16 == 0 and metadata[4:8] == b"M001"
    model = Table(metadata)
    [graph] = model.tables(3)
    [image], [scores] = graph.tables(2), graph.tables(3)
    return model, graph, image, scores


@pytest.fixture(scope="module")
def imagenet_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("task") / "model.tflite"
    export_tflite(model, path, labels=NAMES, preprocessing=Preprocessing(SIZE, normalization="imagenet"))
    return path


def test_every_field_is_where_the_schema_has_it(imagenet_file):
    model, graph, image, scores = parts(imagenet_file.read_bytes())
    assert set(model.fields) == {0, 1, 3, 7} and set(graph.fields) == {2, 3}
    assert (model.text(0), model.text(7)) == ("Image classifier", "1.0.0")
    assert model.text(1).startswith("Made by scarlet_tf ")

    assert set(image.fields) == {0, 3, 4, 5} and image.text(0) == "image"
    content = image.table(3)
    assert set(content.fields) == {0, 1} and content.number(0, "B") == 2  # ImageProperties
    assert content.table(1).number(0, "b") == 1  # RGB
    [unit] = image.tables(4)
    assert unit.number(0, "B") == 1  # NormalizationOptions
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # ImageNet's, times 255
    np.testing.assert_allclose(unit.table(1).floats(0), mean, rtol=1e-6)
    np.testing.assert_allclose(unit.table(1).floats(1), std, rtol=1e-6)
    limits = image.table(5)
    np.testing.assert_allclose(limits.floats(0), [2.248908, 2.428571, 2.640000], rtol=1e-6)  # white
    np.testing.assert_allclose(limits.floats(1), [-2.117904, -2.035714, -1.804444], rtol=1e-6)  # black

    assert set(scores.fields) == {0, 4, 6} and scores.text(0) == "logits"
    [unit] = scores.tables(4)
    assert unit.number(0, "B") == 3  # ScoreThresholdingOptions
    assert unit.table(1).number(0, "f") == np.finfo(np.float32).min
    [file] = scores.tables(6)
    assert (
        set(file.fields) == {0, 2} and file.text(0) == "labels.txt" and file.number(2, "b") == 2
    )  # TENSOR_AXIS_LABELS


def test_the_labels_are_a_stored_file_behind_the_model(imagenet_file, model, data):
    content = imagenet_file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [entry] = archive.infolist()
        assert archive.testzip() is None and archive.read("labels.txt").decode().split("\n") == [*NAMES, ""]
    assert entry.filename == "labels.txt" and entry.compress_type == zipfile.ZIP_STORED
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    # The model in front of it is whole, and packing it again leaves the archive away.
    assert flatbuffer.pack(flatbuffer.unpack(content)) == content[: entry.header_offset]
    assert describe_tflite(imagenet_file)["metadata"]["labels"] == NAMES
    runner = Interpreter(model_content=content).get_signature_runner()
    np.testing.assert_allclose(runner(image=data[0][:1])["logits"], model(data[0][:1]), atol=1e-4)


def test_what_is_not_known_is_left_out(model, int8_file):
    content = int8_file.read_bytes()  # without labels and preprocessing
    _, _, image, scores = parts(content)
    assert set(image.fields) == {0, 3} and set(scores.fields) == {0, 4}
    assert not zipfile.is_zipfile(io.BytesIO(content))
    metadata = build_metadata(model)
    probabilities = task_metadata({**metadata, "output": {**metadata["output"], "name": "probabilities"}})
    [graph] = Table(probabilities).tables(3)
    assert set(graph.tables(3)[0].fields) == {0}


def test_labels_that_are_torn_or_others_are_refused(imagenet_file, tmp_path):
    content, torn = imagenet_file.read_bytes(), tmp_path / "torn.tflite"
    start = content.rindex(b"PK\x03\x04")
    for changed, message in (
        (content[:start], "expected a ZIP archive with labels.txt at the file's end"),
        (content[:-1], "expected a ZIP archive"),
        (content[:start] + content[start:].replace(b"ant, the", b"ant, she"), "expected a ZIP archive.*CRC"),
        (with_labels(content[:start], NAMES[::-1]), "has other labels"),
        (content.replace(b'{"metadata_version"', b'["metadata_version"'), "its metadata are torn"),
    ):
        torn.write_bytes(changed)
        with pytest.raises(InputError, match=rf"torn\.tflite: .*{message}"):
            describe_tflite(torn)
    check_labels(content, NAMES)


def test_names_of_more_than_one_line_are_refused(model):
    with pytest.raises(InputError, match=r"labels: expected class names without line breaks .*, got 'b\\nc'"):
        build_metadata(model, labels=["a", "b\nc", "d", "e"])
