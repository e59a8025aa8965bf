import subprocess
import sys

import keras
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.export.metadata import build_metadata
from scarlet_tf.export.tflite import describe_tflite
from scarlet_tf.space.cost import count

LABELS = ["ant", "bee", "cat", "dog"]


def test_metadata_is_embedded_and_lies_beside_the_file(float_file, architecture):
    embedded = describe_tflite(float_file)["metadata"]
    assert embedded == read_json(float_file.with_suffix(".json"))
    assert embedded["labels"] == LABELS and embedded["provenance"] == {"seed": 3}
    assert embedded["preprocessing"]["mean"] == [127.5] * 3 and embedded["preprocessing"]["crop_fraction"] == 0.875
    assert embedded["architecture"] == architecture.to_dict()
    cost = count(architecture, 16, len(LABELS))
    assert (embedded["multiply_adds"], embedded["params"]) == (cost.multiply_adds, cost.params)
    assert float_file.with_name("labels.txt").read_text() == "ant\nbee\ncat\ndog\n"


def test_output_is_named_probabilities_after_softmax():
    image = keras.Input([4, 4, 3])
    answer = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(image))
    assert build_metadata(keras.Model(image, answer))["output"]["name"] == "probabilities"
    assert build_metadata(keras.Model(image, answer))["multiply_adds"] is None


@pytest.mark.parametrize("label", ["a\nb", "a\x85b", ""])
def test_labels_that_are_no_line_of_text_are_refused(label):
    image = keras.Input([4, 4, 3])
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(InputError, match="labels: expected class names without line breaks"):
        build_metadata(model, labels=["ant", label])


def test_the_tflite_reader_needs_no_keras(float_file):
    """What the file says of itself is enough for another program."""
    code = (
        "import sys; sys.modules['keras'] = sys.modules['tensorflow'] = None\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "print(list(Interpreter(sys.argv[1]).get_signature_list()['serving_default']['inputs']))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(float_file)], capture_output=True, text=True)
    assert done.stdout.strip() == "['image']", done.stderr
