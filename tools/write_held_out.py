"""Write held-out images of a run as PNG files, one folder a class, for programs that read only files.

    python tools/write_held_out.py runs/digits held_out
    python export/classify.py runs/digits/export/model_int8.tflite --evaluate held_out

They are the test images that the run's certificate was made with, as they were before any preprocessing. Exit code: 0
success, 2 bad input.
"""

from __future__ import annotations

import pathlib
import sys

from scarlet_tf.base import logs

logs.quiet_frameworks()  # before anything imports TensorFlow

import tensorflow as tf  # noqa: E402

from measuring import command_line  # noqa: E402
from scarlet_tf.base.errors import InputError  # noqa: E402
from scarlet_tf.config import load_config  # noqa: E402
from scarlet_tf.data.datasets import load_dataset  # noqa: E402
from scarlet_tf.data.pixels import rgb  # noqa: E402
from scarlet_tf.data.preprocessing import Preprocessing  # noqa: E402
from scarlet_tf.data.splits import Split  # noqa: E402


def main() -> int:
    """Parse the command line and write the files."""
    count = {"type": int, "help": "images (default: export.verification_examples of the run)"}
    parser = command_line(__doc__, count=count)
    parser.add_argument("run_dir", metavar="RUN_DIR", type=pathlib.Path, help="a run folder, with config.yaml")
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="new folder for the images")
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.run_dir / "config.yaml")
        data = load_dataset(config.data)
        count = config.export.verification_examples if arguments.count is None else arguments.count
        written = write_images(data.test.take(min(count, data.test.num_examples)), data.class_names, arguments.folder)
    except InputError as error:
        print(f"write_held_out: error: {error}", file=sys.stderr)
        return 2
    print(f"{written} images in {arguments.folder}")
    return 0


def write_images(split: Split, class_names, folder: pathlib.Path) -> int:
    """Write `folder`/<class>/<number>.png, RGB, in the split's order; return their number."""
    if folder.exists():
        raise InputError(f"{folder}: expected a folder that does not exist yet")
    images = split.with_preprocessing(_Unprepared(split.preprocessing.image_size)).batches(1)
    written = 0
    for written, ([image], [label]) in enumerate(images.as_numpy_iterator(), 1):
        path = folder / class_names[label] / f"{written:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return written


class _Unprepared(Preprocessing):
    """Preprocessing that only converts colours: uint8 [..., H, W, 3]."""

    def prepare(self, image) -> tf.Tensor:
        return rgb(image)


if __name__ == "__main__":
    sys.exit(main())
