"""Write the files that are made from code, which tests compare with it.

    python tools/write_files.py              all of them
    python tools/write_files.py schema

schema: configs/scarlet.schema.json, by which editors check configurations. contract: export/contract_cases.json, small images and
the evaluation path's results, for other languages' tests: each case has an image (height, width, RGB pixels row by row), the
metadata of the preprocessing, and the values [S, S, 3] that a network must get, row by row. Write it again only when the
contract in export/CONTRACT.md changes.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np

from scarlet_tf.base import logs

logs.quiet_frameworks()  # before anything imports TensorFlow

from scarlet_tf.config import json_schema  # noqa: E402
from scarlet_tf.data.data_config import Normalization, Resizing, Statistics  # noqa: E402
from scarlet_tf.data.preprocessing import Preprocessing  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "configs" / "scarlet.schema.json"
CONTRACT = ROOT / "export" / "contract_cases.json"
OWN = Statistics((110.0, 120.0, 130.0), (50.0, 60.0, 70.0))
# name, height, width, image_size, crop_fraction, normalization, resizing
CASES: tuple[tuple[str, int, int, int, float, Normalization, Resizing], ...] = (
    ("nothing to do", 4, 4, 4, 1.0, "unit", "bilinear"),
    ("crop alone", 9, 9, 8, 0.875, "inception", "bilinear"),
    ("half a pixel rounds to even, down", 5, 5, 2, 0.5, "unit", "bilinear"),
    ("half a pixel rounds to even, up", 7, 9, 4, 0.5, "unit", "bilinear"),
    ("an odd margin leaves the greater part right and below", 6, 8, 3, 0.5, "unit", "bilinear"),
    ("enlarged", 3, 3, 7, 1.0, "inception", "bilinear"),
    ("shrunk by a whole number", 8, 8, 4, 1.0, "unit", "bilinear"),
    ("shrunk by a fraction, wide", 7, 12, 4, 0.875, "imagenet", "bilinear"),
    ("shrunk by a fraction, tall", 16, 7, 5, 1.0, "imagenet", "bilinear"),
    ("shrunk much", 17, 17, 2, 1.0, "unit", "bilinear"),
    ("one pixel", 1, 3, 3, 0.875, "unit", "bilinear"),
    ("enlarged, bicubic", 4, 4, 7, 1.0, "lite", "bicubic"),
    ("shrunk by a fraction, bicubic, statistics of its own", 12, 9, 4, 0.875, OWN, "bicubic"),
)


def make_cases() -> list[dict]:
    """Return the cases in plain JSON types; images are drawn from a fixed seed."""
    rng = np.random.default_rng(0)
    return [_case(rng.integers(0, 256, (case[1], case[2], 3), np.uint8), *case) for case in CASES]


def _case(
    image: np.ndarray,
    name: str,
    height: int,
    width: int,
    size: int,
    fraction: float,
    normalization: Normalization,
    resizing: Resizing,
) -> dict:
    how = Preprocessing(size, fraction, normalization, resizing=resizing)
    about = {"image_size": size, "crop_fraction": fraction, "resize": f"{resizing}, antialiased"}
    values = np.asarray(how.prepare(image), np.float64)
    return {
        "name": name,
        "height": height,
        "width": width,
        "pixels": image.ravel().tolist(),
        "preprocessing": {**about, "mean": list(how.mean), "std": list(how.std)},
        "values": [round(value, 6) for value in values.ravel().tolist()],
    }


def schema() -> str:
    """Return the schema's text."""
    return json.dumps(json_schema(), indent=1) + "\n"


def contract() -> str:
    """Return the text of the cases, one a line."""
    return "[\n" + ",\n".join(json.dumps(case) for case in make_cases()) + "\n]\n"


FILES = {"schema": (SCHEMA, schema), "contract": (CONTRACT, contract)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(FILES)} (default: all)")
    for name in parser.parse_args().names or FILES:
        path, text = FILES[name]
        path.write_text(text(), encoding="utf-8", newline="\n")
