"""Keras finds every class of the package in a saved model after `import scarlet_tf` alone."""

import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
from tiny import tiny_space

import scarlet_tf
from scarlet_tf import registration
from scarlet_tf.models.supernet import FairCrossentropy

DECORATED = re.compile(
    r'^@keras\.saving\.register_keras_serializable\(package="scarlet_tf"\)\nclass (\w+)', re.MULTILINE
)


def save(folder, rng):
    """A network of the package, saved, with an input and what it answers."""
    network = scarlet_tf.build_network(tiny_space().sample(rng), num_classes=5)
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    network.save(folder / "n.keras")
    np.savez(folder / "n.npz", x=x, y=network(x))
    return x, network(x)


def test_every_decorated_class_has_a_stand_in():
    package = pathlib.Path(scarlet_tf.__file__).parent
    found = {}
    for file in package.rglob("*.py"):
        if names := DECORATED.findall(file.read_text(encoding="utf-8")):
            module = ".".join(("scarlet_tf", *file.relative_to(package).with_suffix("").parts))
            found[module] = tuple(sorted(names))
    assert found == registration.CLASSES


def test_a_model_loads_where_only_the_package_was_imported(tmp_path, rng):
    save(tmp_path, rng)
    program = (
        "import sys, scarlet_tf, numpy as np; assert 'keras' not in sys.modules; import keras\n"
        "assert 'scarlet_tf.models.network' not in sys.modules\n"
        "model, data = keras.saving.load_model('n.keras'), np.load('n.npz')\n"
        "assert np.array_equal(model(data['x']), data['y']) and isinstance(model, scarlet_tf.Network)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_stand_ins_are_registered_at_once_where_keras_is_imported(tmp_path, rng, monkeypatch):
    x, expected = save(tmp_path, rng)
    objects = keras.saving.get_custom_objects()
    for name in [name for name in objects if name.startswith("scarlet_tf>")]:
        monkeypatch.delitem(objects, name)
    monkeypatch.setitem(objects, "scarlet_tf>Network", scarlet_tf.Network)
    registration.register_with_keras()
    assert objects["scarlet_tf>Network"] is scarlet_tf.Network  # a class that is there stays
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "n.keras")(x), expected)
    restored = keras.losses.deserialize(keras.losses.serialize(FairCrossentropy(name="mine")))
    assert type(restored) is FairCrossentropy and restored.name == "mine"
