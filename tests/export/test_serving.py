"""The REST client against a server on this machine that answers with the SavedModel's own signature."""

import base64
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny_space

from scarlet_tf.data.datasets import DataConfig, load_dataset
from scarlet_tf.export.saved_model import export_saved_model
from scarlet_tf.models.network import build_network
from write_held_out import write_images

SERVING = pathlib.Path(__file__).parents[2] / "export" / "serving"
IMAGES = 11


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(source="digits", image_size=8))


@pytest.fixture(scope="module")
def network():
    return build_network(tiny_space().sample(np.random.default_rng(0)), num_classes=10, seed=1)


@pytest.fixture(scope="module")
def exported(digits, network, tmp_path_factory):
    labels = [f"digit {name}" for name in digits.class_names]
    return export_saved_model(network, tmp_path_factory.mktemp("scarlet") / "1", digits.preprocessing, labels)


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "held_out"
    write_images(digits.test.take(IMAGES), digits.class_names, folder)
    return sorted(folder.glob("*/*.png"), key=lambda path: path.name)


class Server(http.server.BaseHTTPRequestHandler):
    """POST /v1/models/scarlet:predict in the columnar format of TensorFlow Serving's REST interface."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        if self.server.answer is not None:
            self.reply(*self.server.answer)
        elif self.path != "/v1/models/scarlet:predict":
            self.reply(404, {"error": f"Servable not found for request: {self.path}"})
        else:
            self.predict(body)

    def predict(self, body):
        inputs = {
            name: tf.constant([base64.b64decode(value["b64"]) for value in values])
            for name, values in body["inputs"].items()
        }
        try:
            [output] = self.server.model.signatures[body["signature_name"]](**inputs).values()
        except tf.errors.InvalidArgumentError as error:
            self.reply(400, {"error": error.message})
        else:
            self.reply(200, {"outputs": output.numpy().tolist()})

    def reply(self, status, answer):
        if status == "sleep":
            time.sleep(answer)
            return
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running(exported):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.model, server.url = tf.saved_model.load(str(exported)), f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(running):
    running.answer, running.requests = None, []
    return running


def ask(url, *arguments):
    """The client without any package: -I leaves out PYTHONPATH, -S the installed ones."""
    command = [sys.executable, "-I", "-S", SERVING / "client.py", "--url", url, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_real_images_get_the_classes_and_probabilities_of_the_network(server, exported, files, digits, network):
    done = ask(server.url, "--saved-model", exported, "--batch-size", 4, *files)
    assert done.returncode == 0, done.stderr
    images, _ = next(digits.test.take(IMAGES).batches(IMAGES).as_numpy_iterator())
    probabilities = np.asarray(tf.nn.softmax(network(images, training=False)))
    assert [len(request["inputs"]["encoded"]) for request in server.requests] == [4, 4, 3]
    for line, file, expected in zip(done.stdout.splitlines(), files, probabilities, strict=True):
        name, label, probability = line.split("\t")
        assert name == str(file) and label == f"digit {expected.argmax()}"
        assert float(probability) == pytest.approx(expected.max(), abs=1e-3)


def test_labels_come_from_a_file_or_are_numbers(server, files, tmp_path):
    (tmp_path / "labels.txt").write_text("".join(f"n{i}\n" for i in range(10)))
    named, bare = ask(server.url, "--labels", tmp_path / "labels.txt", files[0]), ask(server.url, files[0])
    assert named.stdout.split("\t")[1] == f"n{bare.stdout.split(chr(9))[1]}"


def test_a_file_that_is_no_image_is_refused_by_the_signature(server, files, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    done = ask(server.url, files[0], tmp_path / "text.png")
    assert done.returncode == 2 and "HTTP 400" in done.stderr and "expected JPEG or PNG files" in done.stderr


@pytest.mark.parametrize(
    "answer, message",
    [
        ((400, {"error": "Malformed request"}), "HTTP 400: Malformed request"),
        ((503, b"<html>busy</html>"), "HTTP 503: Service Unavailable"),
        ((200, b"<html>another program</html>"), "expected JSON"),
        ((200, {"predictions": [[1.0]]}), "expected outputs for 1 images"),
        ((200, {"outputs": []}), "expected outputs for 1 images"),
        ((200, [1]), "expected outputs for 1 images"),
        (("sleep", 1.5), "no answer within 0.5 s"),
    ],
)
def test_useless_answers_are_errors_without_a_traceback(server, files, answer, message):
    server.answer = answer
    done = ask(server.url, "--timeout", 0.5, files[0])
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_server_or_model_that_is_not_there_is_told(server, files):
    done = ask(server.url, "--model", "other", files[0])
    assert done.returncode == 2 and "Servable not found for request: /v1/models/other:predict" in done.stderr
    done = ask("http://127.0.0.1:9", files[0])
    assert done.returncode == 2 and "no answer: " in done.stderr and "Traceback" not in done.stderr


def test_bad_arguments_are_refused(files, tmp_path):
    assert ask("localhost:8501", files[0]).returncode == 2
    assert ask("http://127.0.0.1:9", "--batch-size", 0, files[0]).returncode == 2
    missing = ask("http://127.0.0.1:9", tmp_path / "none.png")
    assert missing.returncode == 2 and "none.png" in missing.stderr
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "metadata.json").write_text("{}")
    other = ask("http://127.0.0.1:9", "--saved-model", tmp_path, files[0])
    assert other.returncode == 2 and "expected the metadata of an exported SavedModel" in other.stderr


def test_the_model_config_names_the_model_that_the_client_asks_for():
    text_format = pytest.importorskip("google.protobuf.text_format")
    server_config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    parsed = text_format.Parse((SERVING / "models.config").read_text(), server_config.ModelServerConfig())
    [config] = parsed.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("scarlet", "/models/scarlet", "tensorflow")
    assert config.model_version_policy.latest.num_versions == 1
    assert '"scarlet"' in (SERVING / "client.py").read_text()


def test_the_batching_config_is_a_text_proto_of_the_servers_fields():
    """The server's BatchingParameters are not in the package: the fields are declared here as its source does."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory, text_format, wrappers_pb2

    wanted = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3, "num_batch_threads": 4}
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="batching", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for name, number in wanted.items():
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("batching.BatchingParameters"))
    parsed = text_format.Parse((SERVING / "batching.config").read_text(), kind())
    assert all(getattr(parsed, name).value > 0 for name in wanted)
