"""Classifies images with an exported .tflite file; needs ai-edge-litert, numpy and pillow, but not this package.

    python export/classify.py runs/digits/export/model_float32.tflite photo.jpg [more images]

Everything that it must know about the network (size, crop, normalisation, labels) is read from the JSON file beside the
network, so it is also a template for programs in other languages. Resizing is Pillow's; its antialiased bilinear filter
is not TensorFlow's to the last bit.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def main(arguments: list[str]) -> int:
    """Prints one line an image: file, most likely class, probability."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        path = arguments[0]
        classify = Classifier(path)
        for path in arguments[1:]:
            label, probability = classify(Image.open(path))
            print(f"{path}\t{label}\t{probability:.3f}")
    except (OSError, ValueError) as error:
        print(f"classify: {path}: {error}", file=sys.stderr)
        return 2
    return 0


class Classifier:
    """A .tflite file with the JSON beside it."""

    def __init__(self, path: str):
        self.metadata = json.loads(pathlib.Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        self.interpreter = Interpreter(model_path=path)
        self.interpreter.allocate_tensors()

    def __call__(self, image: Image.Image) -> tuple[str, float]:
        """(label, probability) of the most likely class."""
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], self.pixels(image)[None])
        self.interpreter.invoke()
        logits = self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])[0].astype(np.float64)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        best = int(probabilities.argmax())
        return self.metadata["labels"][best], float(probabilities[best])

    def pixels(self, image: Image.Image) -> np.ndarray:
        """float32 [S, S, 3]: central square, resized, (pixel - mean) / std."""
        how = self.metadata["preprocessing"]
        image = ImageOps.exif_transpose(image).convert("RGB")
        side = max(1, round(how["crop_fraction"] * min(image.size)))
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        resized = square.resize((how["image_size"],) * 2, Image.Resampling.BILINEAR)
        return ((np.asarray(resized, np.float32) - how["mean"]) / how["std"]).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
