"""Write export/contract_cases.json: small images and the evaluation path's results, for other languages' tests.

    python tools/write_contract_cases.py [FILE]

Each case has an image (height, width, RGB pixels row by row), the metadata of the preprocessing, and the values [S, S, 3]
that a network must get, row by row. Run it again only when the contract in export/CONTRACT.md changes.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

from scarlet_tf import logs

logs.quiet_frameworks()  # before anything imports TensorFlow

from scarlet_tf.data.preprocessing import Preprocessing  # noqa: E402

FILE = pathlib.Path(__file__).parents[1] / "export" / "contract_cases.json"
# name, height, width, image_size, crop_fraction, normalization
CASES = (
    ("nothing to do", 4, 4, 4, 1.0, "unit"),
    ("crop alone", 9, 9, 8, 0.875, "inception"),
    ("half a pixel rounds to even, down", 5, 5, 2, 0.5, "unit"),
    ("half a pixel rounds to even, up", 7, 9, 4, 0.5, "unit"),
    ("an odd margin leaves the greater part right and below", 6, 8, 3, 0.5, "unit"),
    ("enlarged", 3, 3, 7, 1.0, "inception"),
    ("shrunk by a whole number", 8, 8, 4, 1.0, "unit"),
    ("shrunk by a fraction, wide", 7, 12, 4, 0.875, "imagenet"),
    ("shrunk by a fraction, tall", 16, 7, 5, 1.0, "imagenet"),
    ("shrunk much", 17, 17, 2, 1.0, "unit"),
    ("one pixel", 1, 3, 3, 0.875, "unit"),
)


def main(path: pathlib.Path) -> None:
    """Write the cases, one per line."""
    lines = ",\n".join(json.dumps(case) for case in make_cases())
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def make_cases() -> list[dict]:
    """The cases in plain JSON types; images are drawn from a fixed seed."""
    rng = np.random.default_rng(0)
    return [_case(rng.integers(0, 256, (case[1], case[2], 3), np.uint8), *case) for case in CASES]


def _case(
    image: np.ndarray, name: str, height: int, width: int, size: int, fraction: float, normalization: str
) -> dict:
    how = Preprocessing(size, fraction, normalization)
    values = np.asarray(how.prepare(image), np.float64)
    return {
        "name": name,
        "height": height,
        "width": width,
        "pixels": image.ravel().tolist(),
        "preprocessing": {
            "image_size": size,
            "crop_fraction": fraction,
            "mean": list(how.mean),
            "std": list(how.std),
        },
        "values": [round(value, 6) for value in values.ravel().tolist()],
    }


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
