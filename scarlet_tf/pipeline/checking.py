"""Verifies exported files again, on the machine and with the libraries of today."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from scarlet_tf.config import load_config
from scarlet_tf.errors import InputError
from scarlet_tf.pipeline.exporting import verification
from scarlet_tf.pipeline.run import Run


def verify_files(files: Sequence, run_dir=None) -> list[dict[str, Any]]:
    """One row a file; `run_dir` is found from the first file's place when not given."""
    paths = [pathlib.Path(file) for file in files]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: expected a .tflite file or a SavedModel folder, found nothing")
    folder = pathlib.Path(run_dir) if run_dir else find_run_dir(paths[0])
    if not (folder / "config.yaml").exists():
        raise InputError(f"{folder}: expected a run folder with config.yaml")
    run = Run(load_config(folder / "config.yaml"), folder)
    return [{"file": str(path), **verification(run, path)} for path in paths]


def find_run_dir(path: pathlib.Path) -> pathlib.Path:
    """The nearest folder above `path` that holds a config.yaml."""
    for folder in path.resolve().parents:
        if (folder / "config.yaml").exists():
            return folder
    raise InputError(f"{path}: it lies in no run folder; name the run it belongs to with --run-dir")
