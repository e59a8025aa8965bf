import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import get_arrays
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain
from scarlet_tf.training.network_step import Distillation, load_teacher

SHAPE = (8, 8, 3)
ARCHITECTURE = Architecture((0,), tiny_space(stages=(Stage(8, 1, 2),)))
CONFIG = {"epochs": 2, "batch_size": 10, "learning_rate": 0.02, "warmup_epochs": 0.0, "recalibration_batches": 2}


def data():
    images, labels = images_and_labels(np.random.default_rng(0), 40)
    return (images[:30], labels[:30]), (images[30:], labels[30:])


def teacher(activation=None, classes=5, shape=SHAPE):
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes, activation=activation, name="answer")(x))


def constant(row, activation=None):
    """A teacher that answers `row` to every image."""
    model = teacher(activation, len(row))
    model.get_layer("answer").set_weights([np.zeros([3, len(row)]), np.asarray(row)])
    return model


def test_divergence_by_hand():
    """Teacher (3/4, 1/4), student (1/2, 1/2), T = 1: 3/4 log 3/2 + 1/4 log 1/2 an image."""
    images, logits = tf.zeros([2, *SHAPE]), tf.zeros([2, 2])
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    found = Distillation(constant([np.log(3.0), 0.0]), 4)(images, logits)
    assert float(found) == pytest.approx(2 * expected / 4, rel=1e-5)
    # At T = 2 a teacher with twice those logits has the same soft answer; T^2 is 4.
    found = Distillation(constant([2 * np.log(3.0), 0.0]), 4, 2.0)(images, logits)
    assert float(found) == pytest.approx(4 * 2 * expected / 4, rel=1e-5)


def test_a_softmax_at_the_end_is_undone(rng):
    images, logits = tf.zeros([3, *SHAPE]), tf.constant(rng.normal(size=[3, 4]), tf.float32)
    row = [1.0, -0.5, 0.3, 0.0]
    answers = [float(Distillation(constant(row, end), 3, 3.0)(images, logits)) for end in (None, "softmax")]
    assert answers[0] == pytest.approx(answers[1], rel=1e-4)  # float32 logarithms of probabilities


def test_retraining_follows_the_teacher(tmp_path):
    """With all weight on a teacher that always answers class 2, so does the student, whatever the labels say."""
    path = str(tmp_path / "teacher.keras")
    constant([0.0, 0.0, 8.0, 0.0, 0.0]).save(path)
    config = {**CONFIG, "epochs": 12, "teacher": path, "teacher_weight": 1.0, "ema": 0.0, "dropout": 0.0}
    model, _ = retrain(ARCHITECTURE, *data(), config, input_shape=SHAPE, num_classes=5)
    answers = np.argmax(model(data()[1][0]), axis=-1)
    assert (answers == 2).mean() >= 0.9


def test_without_weight_the_teacher_changes_nothing(tmp_path):
    path = str(tmp_path / "teacher.keras")
    teacher().save(path)
    arguments = {"input_shape": SHAPE, "num_classes": 5}
    alone, _ = retrain(ARCHITECTURE, *data(), CONFIG, **arguments)
    taught, _ = retrain(ARCHITECTURE, *data(), {**CONFIG, "teacher": path, "teacher_weight": 0.0}, **arguments)
    for key, array in get_arrays(alone).items():
        np.testing.assert_array_equal(array, get_arrays(taught)[key], err_msg=key)


def test_the_loss_is_the_weighted_sum(tmp_path):
    """One step without learning: the figure shown is (1 - w) CE + w T^2 KL of the same logits."""
    path = str(tmp_path / "teacher.keras")
    teacher().save(path)

    def first_loss(**options):
        config = {**CONFIG, "epochs": 1, "batch_size": 30, "learning_rate": 1e-12, "dropout": 0.0, **options}
        _, figures = retrain(ARCHITECTURE, *data(), config, input_shape=SHAPE, num_classes=5)
        return figures["history"][0]["loss"]

    options = {"teacher": path, "teacher_temperature": 2.0}
    alone, taught = first_loss(), first_loss(**options, teacher_weight=1.0)
    assert first_loss(**options, teacher_weight=0.25) == pytest.approx(0.75 * alone + 0.25 * taught, rel=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (None, None, 3)])
def test_a_teacher_that_fits_is_loaded(tmp_path, shape):
    teacher(shape=shape).save(tmp_path / "t.keras")
    assert not load_teacher(tmp_path / "t.keras", SHAPE, 5).trainable_variables


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "expected a .keras file, got"),
        (lambda path: path.write_bytes(b"torn"), "expected a .keras file, got"),
        (lambda path: teacher(classes=7).save(path), "and 5 classes"),
        (lambda path: teacher(shape=(16, 16, 3)).save(path), r"for images \[8, 8, 3\]"),
    ],
    ids=["missing", "torn", "classes", "size"],
)
def test_a_teacher_that_does_not_fit_is_refused(tmp_path, make, message):
    path = tmp_path / "t.keras"
    make(path)
    with pytest.raises(InputError, match=rf"retrain\.teacher: .*{message}"):
        load_teacher(path, SHAPE, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_weight": 1.5}, "retrain.teacher_weight: expected a number from 0 to 1, got 1.5"),
        ({"teacher_temperature": 0.0}, "retrain.teacher_temperature: expected a number > 0"),
        ({"teacher": ""}, "retrain.teacher: expected a non-empty string or null"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        RetrainConfig(**change)
