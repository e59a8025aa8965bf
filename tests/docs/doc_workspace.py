"""A folder in which the documentation's code runs: small images, a small space, and a finished run under the usual names."""

import os
import pathlib

import numpy as np
import yaml
from doc_blocks import ROOT
from PIL import Image

from scarlet_tf import cli

SPACE = {
    "name": "tiny",
    "stem_channels": 8,
    "stem_stride": 2,
    "first_channels": 8,
    "stages": [{"channels": 8, "depth": 2, "stride": 2}],
    "choices": [{"expansion": 2, "kernel_size": 3}, {"skip": True}],
    "tail_channels": 16,
    "input_size": 16,
}
TRAINING = {"epochs": 1, "batch_size": 16}
CONFIG = {
    "data": {"source": "folder", "directory": "photos", "image_size": 16},
    "space": "space.yaml",
    "supernet": TRAINING,
    "search": {
        "upper_bounds": {"multiply_adds": "20M"},
        "population_size": 2,
        "generations": 2,
        "recalibration_batches": 1,
    },
    "race": "off",
    "retrain": {**TRAINING, "optimizer": "sgd", "learning_rate": 0.05, "warmup_epochs": 0, "ema": 0},
    "export": {
        "formats": ["float32", "int8"],
        "calibration_examples": 8,
        "verification_examples": 8,
        "benchmark_threads": 0,
    },
    "ranking": {"architectures": 3, "strata": 3},
}
CLASSES = ("bus", "car", "tram")


def make_workspace(folder: pathlib.Path) -> pathlib.Path:
    """Fills `folder` and returns it; the run in it is also there under the other names that the documentation uses."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for number in range(60):
            _write_image(folder / "photos" / name / f"{number:04}.png", rng)
    _write_image(folder / "photo.jpg", rng)
    _write_image(folder / "digit.png", rng)
    (folder / "android_aarch64_benchmark_model").touch()
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (folder / "my.yaml").write_text(yaml.safe_dump(CONFIG))
    for name in ("configs", "tools", "export", "docs", "setup.cfg"):
        (folder / name).symlink_to(ROOT / name)
    here = os.getcwd()
    os.chdir(folder)
    try:
        assert cli.main(["run", "my.yaml"]) == 0
    finally:
        os.chdir(here)
    (folder / "runs/digits").symlink_to("my")
    return folder


def _write_image(path: pathlib.Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


def names(document: str) -> dict:
    """What the document's Python takes for granted: normalised images with labels, held-out ones, a generator."""
    rng = np.random.default_rng(0)
    labels = np.arange(32, dtype=np.int32) % 10
    images = rng.normal(size=(32, 16, 16, 3)).astype(np.float32)
    return {
        "images": images,
        "labels": labels,
        "held_out": images[:20],
        "held_out_labels": labels[:20],
        "rng": rng,
        **(PREPARATIONS[document]() if document in PREPARATIONS else {}),
    }


def _zoo() -> dict:
    """Weights of a published network without its top, and pixels of the size that another is built for."""
    import scarlet_tf as st

    st.applications.MobileNetV2(include_top=False).save_weights("my.weights.h5")
    return {"images": np.zeros((2, 192, 192, 3), np.uint8)}


PREPARATIONS = {"docs/zoo.md": _zoo}
