"""The check that counts: a tiny network is built, trained for a step, converted and run."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np

from scarlet_tf.doctor.finding import OK, PROBLEM, Finding
from scarlet_tf.space import Architecture, Choice, SearchSpace, Stage

_SPACE = SearchSpace(
    "trial",
    (Stage(8, 1, 2),),
    (Choice(3, 3), Choice()),
    stem_channels=8,
    first_channels=8,
    tail_channels=16,
    input_size=16,
)
# Float32 sums come in another order in the file; a wrong weight is far above.
TOLERANCE = 1e-3


def check_trial() -> Iterator[Finding]:
    """From a training step to LiteRT's answer for the same images."""
    from scarlet_tf.export.tflite import export_tflite
    from scarlet_tf.training.network import retrain

    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(16, 16, 16, 3)).astype("float32"), np.arange(16, dtype="int32") % 2
    settings = {
        "epochs": 1,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "warmup_epochs": 0,
        "ema": 0.0,
    }
    with tempfile.TemporaryDirectory(prefix="scarlet-doctor-") as folder:
        architecture = Architecture((0,), _SPACE)
        data = (images, labels)
        model, _ = retrain(architecture, data, data, settings, run_dir=folder, input_shape=(16, 16, 3), num_classes=2)
        file = pathlib.Path(folder) / "trial.tflite"
        export_tflite(model, file)
        difference = float(np.max(np.abs(_answers(file, images) - model(images, training=False).numpy())))
    if difference <= TOLERANCE:
        found = f"a tiny network was trained, converted and run; its file is within {difference:.1g} of Keras' logits"
        yield Finding("trial", OK, found)
    else:
        found = f"a tiny network's file is {difference:.3g} off Keras' logits, expected at most {TOLERANCE:g}"
        yield Finding("trial", PROBLEM, found, "pip install --force-reinstall tensorflow keras ai-edge-litert")


def _answers(file: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """LiteRT's logits, [N, classes]."""
    from scarlet_tf.export.quiet import quiet
    from scarlet_tf.export.timing import new_interpreter

    with quiet():
        interpreter = new_interpreter(file.read_bytes())
    rows = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(rows)
