"""Strict-fair training under stock `fit`, under TensorFlow and, in a process of its own, under JAX."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny import images_and_labels, tiny_space

from scarlet_tf.models.supernet import FairAccuracy, FairCrossentropy, FairLanes, Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.training.sampling import strict_fair_paths

SPACE = tiny_space(stages=(Stage(8, 2, 2),), choices=(Choice(2, 3), Choice(2, 5, True), Choice()))
ONE_LAYER = tiny_space(stages=(Stage(8, 1, 2),), choices=SPACE.choices)  # JAX takes seconds to compile a layer
BATCH = 32


class PrescribedPaths(keras.utils.PyDataset):
    """Batches of scikit-learn's digits in order, each with the fair paths of its step."""

    def __init__(self):
        super().__init__()
        self.images, self.labels = digits()

    def __len__(self):
        return len(self.labels) // BATCH

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        inputs = {"images": self.images[part], "paths": strict_fair_paths(ONE_LAYER, 0, index)}
        return inputs, self.labels[part]


def digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = np.repeat(images.reshape(-1, 8, 8, 1) / 8 - 1, 3, axis=-1)
    return images.astype(np.float32), labels.astype(np.int32)


def train(weights_file) -> dict:
    """One epoch from the given weights; the epoch's loss and accuracy, and the loss of the trained net on a fixed batch."""
    supernet = Supernet(ONE_LAYER, num_classes=10)
    lanes = compiled(supernet)
    with np.load(weights_file) as arrays:
        for index, variable in enumerate(supernet.variables):
            variable.assign(arrays[str(index)])
    history = lanes.fit(PrescribedPaths(), verbose=0, shuffle=False).history
    return {key: values[0] for key, values in history.items()}


def compiled(supernet):
    lanes = FairLanes(supernet)
    lanes.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=FairCrossentropy(), metrics=[FairAccuracy()])
    return lanes


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "start.npz"
    supernet = Supernet(ONE_LAYER, num_classes=10)
    np.savez(path, **{str(i): np.asarray(v) for i, v in enumerate(supernet.variables)})
    return path


def test_fit_draws_fair_paths_and_learns(rng):
    images, labels = images_and_labels(rng, 60)
    supernet = Supernet(SPACE, num_classes=5)
    lanes = compiled(supernet)
    drawn = np.array([lanes._draw() for _ in range(20)])
    assert (np.sort(drawn, axis=1) == np.arange(3)[None, :, None]).all()
    assert len({d.tobytes() for d in drawn}) > 10
    before = np.array(supernet.choice_blocks[0].candidates[0].trainable_variables[0])
    history = lanes.fit(images, labels, batch_size=20, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.5  # a sum over three paths
    assert history["accuracy"][-1] > history["accuracy"][0]
    assert not np.array_equal(before, supernet.choice_blocks[0].candidates[0].trainable_variables[0])
    assert lanes.predict(images, verbose=0).shape == (60, 3, 5)


def test_the_loss_is_the_sum_over_the_paths(rng):
    logits, labels = rng.normal(size=(4, 3, 5)).astype(np.float32), np.array([0, 4, 2, 2])
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    expected = -sum(log_probabilities[i, :, label].sum() for i, label in enumerate(labels)) / 4
    np.testing.assert_allclose(FairCrossentropy()(labels, logits), expected, rtol=1e-5)


def test_it_saves_and_loads(tmp_path, rng):
    images, _ = images_and_labels(rng, 4)
    lanes = FairLanes(Supernet(SPACE, num_classes=5), seed=3)
    inputs = {"images": images, "paths": strict_fair_paths(SPACE, 0, 0)}
    expected = lanes(inputs)
    lanes.save(tmp_path / "lanes.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "lanes.keras")(inputs), expected)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed: pip install 'scarlet_tf[jax]'")
def test_jax_reaches_tensorflows_loss(weights_file):
    code = f"import json, test_fair_lanes as t; print(json.dumps(t.train({str(weights_file)!r})))"
    here = pathlib.Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent), str(here.parent.parent)])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes longer than all steps
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    under_jax, under_tensorflow = json.loads(done.stdout.splitlines()[-1]), train(weights_file)
    assert under_tensorflow["loss"] < 3 * np.log(10) - 0.3  # one epoch has taught it something
    np.testing.assert_allclose(under_jax["loss"], under_tensorflow["loss"], rtol=0.02)
    np.testing.assert_allclose(under_jax["accuracy"], under_tensorflow["accuracy"], atol=0.03)
