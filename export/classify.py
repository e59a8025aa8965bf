"""Classifies images with an exported .tflite file; needs ai-edge-litert, numpy and pillow, but not this package.

    python export/classify.py runs/digits/export/model_float32.tflite photo.jpg [more images]
    python export/classify.py runs/digits/export/model_int8.tflite --evaluate held_out      # one folder a class

Everything that it must know about the network (size, crop, normalisation, labels) is read from the .tflite file itself, so
it is also a template for programs in other languages: export/CONTRACT.md says in words what is done here.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import pathlib
import platform
import struct
import sys
import warnings
import zipfile

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

METADATA_NAME, METADATA_VERSION = b"scarlet_tf", 1
TASK_METADATA_NAME = b"TFLITE_METADATA"
# How far, in pixels, the filters of metadata's `resize` reach.
RADIUS = {"bilinear, antialiased": 1, "bicubic, antialiased": 2}
# A JPEG file with further pictures behind the first is called MPO by Pillow.
_JPEG = ("JPEG", "MPO")
# Pillow's names of what turns the pixels of EXIF orientations 2 to 8 upright.
_TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
_TURNS |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}


def main(arguments: list[str] | None = None) -> int:
    """Prints one line an image: file, most likely class, probability; or with --evaluate the share of right answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="an exported .tflite file")
    parser.add_argument("images", type=pathlib.Path, nargs="*", help="JPEG or PNG files")
    parser.add_argument("--evaluate", type=pathlib.Path, metavar="DIR", help="classify DIR/<label>/* and state top-1")
    parser.add_argument("--json", action="store_true", help="print one JSON object, logits included")
    options = parser.parse_args(arguments)
    if bool(options.images) == bool(options.evaluate):
        parser.error("expected either images or --evaluate DIR")
    try:
        result = _run(options)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"classify: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result))
    elif options.evaluate:
        print(f"top-1 {result['top1']:.2%} of {result['num_images']} images")
    else:
        for row in result["images"]:
            print(f"{row['file']}\t{row['label']}\t{row['probability']:.3f}")
    return 0


def _run(options: argparse.Namespace) -> dict:
    classifier = Classifier(options.model)
    about = {
        "model": str(options.model),
        "quantization": classifier.metadata["quantization"],
        "runtime": f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')} on {platform.machine()}",
    }
    if options.evaluate is None:
        return about | {"images": [_row(classifier, path) for path in options.images]}
    files = labelled_files(options.evaluate, classifier.labels)
    rows = [_row(classifier, path) | {"expected": expected} for path, expected in files]
    correct = sum(row["class"] == row["expected"] for row in rows)
    return about | {"top1": correct / len(rows), "num_images": len(rows), "images": rows}


def _row(classifier: Classifier, path: pathlib.Path) -> dict:
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as image,
        ):
            scores, probabilities = classifier(image)
    except Exception as error:  # torn files make Pillow raise many kinds, too large ones one of its own
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error
    best = int(scores.argmax())
    return {
        "file": str(path),
        "class": best,
        "label": classifier.labels[best],
        "probability": float(probabilities[best]),
        "logits": [float(score) for score in scores],
    }


def labelled_files(folder: pathlib.Path, labels: list[str]) -> list[tuple[pathlib.Path, int]]:
    """(file, class number) of every file in `folder`/<label>/, sorted; ValueError for a folder that is no label."""
    files = []
    for path in sorted(part for part in folder.iterdir() if not part.name.startswith(".")):
        if path.name not in labels:
            raise ValueError(f"{path}: expected a folder named like one of the labels {labels}")
        files += [(file, labels.index(path.name)) for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    if not files:
        raise ValueError(f"{folder}: expected <label>/<image> files, found none")
    return files


class Classifier:
    """A .tflite file, with what its metadata say about images and labels."""

    def __init__(self, path: pathlib.Path):
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ValueError(f"{path}: expected a .tflite file")
        try:
            # This examines the whole file; the metadata are then read without a further look.
            self.interpreter = Interpreter(model_content=content)
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: torn, or with operations that are not built in: {error}") from error
        self.input, self.output = self.interpreter.get_input_details()[0], self.interpreter.get_output_details()[0]
        try:
            self.metadata = read_metadata(content)
            check_metadata(self.metadata, self.input["shape"], self.output["shape"])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error
        self.labels = self.metadata["labels"]
        if self.labels is None:
            self.labels = [str(number) for number in range(self.output["shape"][-1])]
        elif read_buffer(content, TASK_METADATA_NAME) is not None and not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError(f"{path}: torn: expected a ZIP archive of its labels at its end")

    def __call__(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """(outputs, probabilities), each float32 [classes]."""
        pixels = prepare(image, self.metadata["preprocessing"])
        self.interpreter.set_tensor(self.input["index"], quantize(pixels[np.newaxis], self.input))
        self.interpreter.invoke()
        scores = dequantize(self.interpreter.get_tensor(self.output["index"])[0], self.output)
        return scores, scores if self.metadata["output"]["name"] == "probabilities" else softmax(scores)


def read_metadata(content: bytes) -> dict | None:
    """The JSON object in the metadata buffer called scarlet_tf of a .tflite file; None without one."""
    buffer = read_buffer(content, METADATA_NAME)
    try:
        return None if buffer is None else json.loads(buffer)
    except ValueError as error:
        raise ValueError(f"its metadata are torn: {error}") from error


def read_buffer(content: bytes, name: bytes) -> bytes | None:
    """The metadata buffer of that name; None without one."""
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == name:
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return None


def check_metadata(metadata, image_shape, scores_shape) -> None:
    """ValueError unless the metadata are of the known version and hold, for that input and output, all that is read here."""
    if not isinstance(metadata, dict) or metadata.get("metadata_version") != METADATA_VERSION:
        raise ValueError(f"expected metadata named scarlet_tf of version {METADATA_VERSION}")
    if metadata.get("preprocessing", ...) is None:
        raise ValueError("its metadata do not say how images are prepared")
    checks = {
        "quantization": lambda: isinstance(metadata["quantization"], str),
        "output": lambda: metadata["output"]["name"] in ("logits", "probabilities"),
        "labels": lambda: metadata["labels"] is None or _are_names(metadata["labels"], scores_shape[-1]),
        "image_size": lambda: all(metadata["preprocessing"]["image_size"] == side for side in image_shape[1:3]),
        "crop_fraction": lambda: 0 < metadata["preprocessing"]["crop_fraction"] <= 1,
        "resize": lambda: metadata["preprocessing"].get("resize", "bilinear, antialiased") in RADIUS,
        "mean": lambda: _are_finite(metadata["preprocessing"]["mean"]),
        "std": lambda: _are_finite(metadata["preprocessing"]["std"]) and min(metadata["preprocessing"]["std"]) > 0,
    }
    for key, holds in checks.items():
        try:
            sound = holds()
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise ValueError(f"its metadata are torn: {key}")


def _are_names(labels, count: int) -> bool:
    return len(labels) == count and all(isinstance(label, str) for label in labels)


def _are_finite(numbers) -> bool:
    return len(numbers) == 3 and bool(np.isfinite(np.array(numbers, np.float64)).all())


def prepare(image: Image.Image, how: dict) -> np.ndarray:
    """float32 [S, S, 3] for the network: upright, RGB, central square, resized, (pixel - mean) / std."""
    square = central_square(rgb(image), how["crop_fraction"])
    pixels = resize(square, how["image_size"], RADIUS[how.get("resize", "bilinear, antialiased")])
    return (pixels - np.float32(how["mean"])) * np.float32(1 / np.float64(how["std"]))


def rgb(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3]: turned as the EXIF orientation says, grey repeated, alpha dropped, 16 bits cut to 8."""
    image.load()  # a PNG file's EXIF may follow the pixels
    exif, is_inverted = image.info.get("exif", b""), image.mode == "CMYK" and "adobe" not in image.info
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if is_inverted:  # Pillow takes every CMYK file for one of Adobe's, which are
        image = Image.fromarray(255 - np.asarray(image), "CMYK")
    if value := _TURNS.get(orientation(exif)):
        image = image.transpose(Image.Transpose[value])
    return np.asarray(image.convert("RGB"))


def orientation(exif: bytes) -> int:
    """Tag 0x0112 of an EXIF block's first directory, a single SHORT or LONG from 1 to 8; 1 where it cannot be read."""
    tiff = exif
    while tiff.startswith(b"Exif\0\0"):
        tiff = tiff[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (begin,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, begin)
        for position in range(begin + 2, begin + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI4x", tiff, position)
            if tag == 0x0112:
                (value,) = struct.unpack_from(order + {3: "H", 4: "I"}[kind], tiff, position + 8)
                return value if count == 1 and 1 <= value <= 8 else 1
    except (struct.error, KeyError):  # cut off, or of another type
        pass
    return 1


def central_square(pixels: np.ndarray, crop_fraction: float) -> np.ndarray:
    """The middle of [H, W, 3]; its side is computed in float32 and rounded half to even."""
    height, width = pixels.shape[:2]
    side = max(1, int(np.rint(np.float32(crop_fraction) * np.float32(min(height, width)))))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def resize(square: np.ndarray, size: int, radius: int = 1) -> np.ndarray:
    """[N, N, 3] to float32 [size, size, 3] in 0..255, rows first, by `filter_weights`; nothing is rounded."""
    weights = filter_weights(len(square), size, radius)
    rows = np.tensordot(weights, square.astype(np.float32), axes=(1, 0))
    return np.clip(np.tensordot(rows, weights, axes=(1, 1)).transpose(0, 2, 1), 0, 255)


def filter_weights(source: int, target: int, radius: int = 1) -> np.ndarray:
    """float32 [target, source]: what each source pixel gives to each target pixel; rows sum to 1.

    radius: 1 for a triangle (bilinear), 2 for Keys' cubic kernel with a = -0.5 (bicubic), around the target pixel's centre, in
    source pixels, or in target pixels where these are larger.
    """
    one, half = np.float32(1), np.float32(0.5)
    shrink = one / (np.float32(target) / np.float32(source))
    centers = (np.arange(target, dtype=np.float32) + half) * shrink
    x = np.abs(np.arange(source, dtype=np.float32) + half - centers[:, np.newaxis]) / max(shrink, one)
    if radius == 1:
        weights = np.maximum(np.float32(0), one - x)
    else:
        near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, np.float32(0)))
    return weights * (one / weights.sum(axis=1, keepdims=True))


def quantize(values: np.ndarray, tensor: dict) -> np.ndarray:
    """float32 as the tensor wants it: unchanged, or rounded (half to even) to its scale and zero point."""
    if tensor["dtype"] is np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / np.float32(scale) + zero_point), limits.min, limits.max).astype(tensor["dtype"])


def dequantize(values: np.ndarray, tensor: dict) -> np.ndarray:
    """What the tensor's values mean, in float32."""
    if tensor["dtype"] is np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of [classes] logits."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return (powers / powers.sum()).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
