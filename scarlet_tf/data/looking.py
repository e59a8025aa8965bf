"""A quick look at a dataset: classes, numbers, sizes and a run's warnings. Imports TensorFlow for TFDS alone."""

from __future__ import annotations

import contextlib
import pathlib
import time
import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image
from PIL.Image import Image
from PIL.Image import open as open_image

from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.facts import DatasetFacts, describe_copies, describe_range, digests_of_alike
from scarlet_tf.data.folder_files import list_files
from scarlet_tf.data.image_files import DAMAGED, FORBIDDEN

# Of files with more pixels only the header is read: decoding one takes hundreds of MB.
_MOST_PIXELS = 100_000_000


def look_at(config: DataConfig, num_images: int = 400) -> DatasetFacts:
    """Classes, numbers and sizes of the images, of which at most `num_images` are decoded; InputError as `load_dataset`."""
    if config.source == "folder":
        return look_at_folder(config, num_images)
    if config.source == "digits":
        return _look_at_digits(num_images)
    from scarlet_tf.data import tfds_source  # slow to import

    return tfds_source.look(config, num_images)


def _look_at_digits(num_images: int) -> DatasetFacts:
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    names, count = tuple(str(name) for name in digits.target_names), len(digits.images)
    shapes = (digits.images.shape[1:],) * min(num_images, count)
    return DatasetFacts("digits", names, {"train": count}, np.bincount(digits.target), shapes)


def look_at_folder(config: DataConfig, num_images: int) -> DatasetFacts:
    """Facts of a folder: `num_images` of the training files, spread evenly over them, are decoded one at a time."""
    listed = list_files(str(config.directory))
    listed.log_names()
    train = listed.splits["train"]
    chosen = np.unique(np.linspace(0, len(train.paths) - 1, num_images).astype(int))
    paths, name = [train.paths[i] for i in chosen], config.name or listed.name
    shapes, unreadable, peaks, seconds = [], [], [], 0.0
    with progress_bar(f"looking at {name}", len(paths), transient=True) as bar:
        for path in paths:
            began = time.process_time()
            found = train.problems.get(path) or _size_and_peak(path)
            bar.advance()
            if isinstance(found, str):
                unreadable.append(f"{path} ({found})")
                continue
            seconds += time.process_time() - began
            shapes.append(found[0])
            peaks.append(found[1])
    return DatasetFacts(
        name,
        listed.class_names,
        {split: len(files.paths) for split, files in listed.splits.items()},
        np.bincount(train.labels, minlength=len(listed.class_names)),
        tuple(shapes),
        tuple(unreadable),
        (*listed.notes, *describe_range(name, peaks), *describe_copies(listed, digests_of_alike(listed))),
        seconds / max(len(shapes), 1),
    )


def _size_and_peak(path: pathlib.Path) -> tuple[tuple[int, int], int | None] | str:
    """((height, width), greatest sample of a 16-bit PNG file), or the reason why the image cannot be read.

    A JPEG file is decoded at an eighth of its size, which reads all of it.
    """
    try:
        with open(path, "rb") as file, _of_any_size(), open_image(file) as image:
            size = image.height, image.width
            if size[0] * size[1] > _MOST_PIXELS:
                return size, None
            image.draft("RGB", (1, 1))
            image.load()
            file.seek(24)
            is_deep = image.format == "PNG" and file.read(1) == b"\x10"  # bits a sample
            return size, _sixteen_bit_peak(image) if is_deep else None
    except PermissionError:
        return FORBIDDEN
    except OSError as error:
        return error.strerror or DAMAGED
    except Exception:  # damaged files make Pillow raise many kinds
        return DAMAGED


def _sixteen_bit_peak(image: Image) -> int:
    """Greatest sample that the file may hold; of colour files Pillow keeps only the upper 8 bits."""
    if image.mode.startswith("I"):
        return int(np.asarray(image).max())
    return 256 * int(np.asarray(image.convert("RGB")).max()) + 255


@contextlib.contextmanager
def _of_any_size() -> Iterator[None]:
    """Let Pillow read the size of large files, too, without its warnings."""
    limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit
