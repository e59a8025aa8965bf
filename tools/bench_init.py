"""Peak memory and time of `scarlet init` and of the folder part of `scarlet doctor` for many large photographs.

    python tools/bench_init.py
    python tools/bench_init.py --images 40 400 --size 4000 3000

Makes JPEG files of two classes (12 megapixels each unless --size says otherwise) in a temporary folder; they differ in their last
bytes alone, so that comparing files has work, too. Each command runs in its own process, whose peak resident set counts.
Linux and macOS. Prints one JSON object: for each number of images MiB, processor seconds and whether TensorFlow was imported.
"""

from __future__ import annotations

import io
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from measuring import parse, report

# `scarlet` and, after it, what `doctor --config` does with the images, without its other checks.
_INIT = (
    "import sys; from scarlet_tf.cli import main; code = main(sys.argv[1:]); print('tensorflow' in sys.modules);"
    " sys.exit(code)"
)
_DOCTOR = (
    "import sys; from scarlet_tf.cli.doctor_checks import check_config; print(*check_config(sys.argv[1]), sep='\\n');"
    " print('tensorflow' in sys.modules)"
)


def main() -> None:
    """Measure both commands for every number of images."""
    sizes = {"type": int, "nargs": 2, "default": [4000, 3000], "metavar": ("W", "H"), "help": "of each, in pixels"}
    options = parse(__doc__, images=([40, 400], "photographs in the folder"), size=sizes)
    found = {}
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder:
            make_photographs(pathlib.Path(folder) / "photos", count, tuple(options.size))
            init = peak([_INIT, "init", "photos", "--budget", "2G", "--quiet"], folder)
            found[str(count)] = {"init": init, "doctor": peak([_DOCTOR, "photos.yaml"], folder)}
    report("init", **found)


def make_photographs(folder: pathlib.Path, count: int, size: tuple[int, int]) -> None:
    """Half of them in each of two class folders, with blots and grain."""
    rng = np.random.default_rng(0)
    blots = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.integers(-8, 9, (size[1], size[0], 1), np.int16)
    pixels = np.clip(np.asarray(blots, np.int16) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=90)
    for number in range(count):
        path = folder / ("ant", "bee")[number % 2] / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue() + number.to_bytes(4, "big"))


def peak(arguments: Sequence[str], folder: str) -> dict[str, float | bool]:
    """{"mib", "cpu_seconds", "imports_tensorflow"} of `python -c` with the arguments."""
    process = subprocess.Popen([sys.executable, "-c", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments[1:]} failed: {printed}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "mib": round(used.ru_maxrss / unit),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "imports_tensorflow": printed.splitlines()[-1] == "True",
    }


if __name__ == "__main__":
    main()
