"""Top-1, size and latency of one network as float32, int8 by calibration, int8 by quantisation-aware training, and pruned.

    SCARLET_DATA_DIR=... python tools/bench_optimization.py runs/cifar10_small --out bench

The network is a finished run's retrained one, the images are all its test images. Results in --out are not computed again, so an
interrupted bench resumes, and latency can be measured once more on an idle machine. Latencies are ratios to float32
measured in turns, on one thread. Pruned networks come with their zeros stored like other weights, in the format's sparse
storage, and in int8. The last line is one JSON object.
"""

from __future__ import annotations

import gzip
import json
import logging
import pathlib
import tempfile
from collections.abc import Callable

import scarlet_tf as st
from measuring import command_line, report
from scarlet_tf.base import logs
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.config import load_config
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.data.inputs import plain
from scarlet_tf.export.folding import MAX_CONDITION_INT8
from scarlet_tf.latency.timing import new_interpreter, time_interpreters
from scarlet_tf.models.network import Network
from scarlet_tf.training.network import save_model


def main() -> None:
    """Make what is missing, then measure."""
    parser = command_line(
        __doc__,
        out=(None, "folder of files and checkpoints (default: a temporary one)"),
        sparsities={"type": float, "nargs": "*", "default": [0.5, 0.75]},
        qat={"type": json.loads, "default": {}, "help": "QuantizationAwareConfig's fields as JSON"},
        pruning={"type": json.loads, "default": {}, "help": "PruningConfig's fields as JSON"},
        rounds=(30, "of timing"),
    )
    parser.add_argument("run", metavar="RUN_DIR", type=pathlib.Path, help="a run folder with retrain/model.keras")
    arguments = parser.parse_args()
    logs.quiet_frameworks()
    logs.log_to_terminal()
    logging.getLogger("scarlet_tf").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(arguments.out or temporary)
        network, data = from_run(arguments.run)
        files = make_files(network, data, out, arguments)
        rows = measure(files, data, out, arguments.rounds)
    settings = {"qat": arguments.qat, "pruning": arguments.pruning}
    report("optimization", network=str(arguments.run), settings=settings, files=rows)


def from_run(folder: pathlib.Path) -> tuple[Network, ImageData]:
    """The folded network of a run, and its dataset."""
    network = st.load_network(folder / "retrain" / "model.keras")
    return st.fold(network, MAX_CONDITION_INT8)[0], load_dataset(load_config(folder / "config.yaml").data)


def make_files(network: Network, data: ImageData, out: pathlib.Path, arguments) -> dict[str, pathlib.Path]:
    """Every variant's file by name; those that exist stay."""
    files: dict[str, pathlib.Path] = {}
    train = plain(data.train)

    def make(name: str, export: Callable, *rest, **options) -> None:
        files[name] = out / f"{name}.tflite"
        if not files[name].exists():
            export(rest[0], files[name], *rest[1:], **options)

    make("float32", st.export_tflite, network)
    make("int8", st.export_tflite, network, "int8", data.train)
    make("int8_qat", lambda model, path: st.quantize_aware(model, train, path, arguments.qat, out), network)
    for sparsity in arguments.sparsities:
        name = f"pruned_{sparsity:g}"
        model = out / f"{name}.keras"
        if not model.exists():
            pruned, figures = st.prune(network, train, {**arguments.pruning, "sparsity": sparsity}, out / name)
            write_json(out / f"{name}.figures.json", figures)
            save_model(pruned, model)
        pruned = st.load_network(model)
        make(name, st.export_tflite, pruned)
        make(f"{name}_sparse_storage", st.export_tflite, pruned, sparse_storage=True)
        make(f"{name}_int8", st.export_tflite, pruned, "int8", data.train)
    return files


def measure(files: dict[str, pathlib.Path], data: ImageData, out: pathlib.Path, rounds: int) -> list[dict]:
    """One row a file."""
    known = out / "verification.json"
    found = read_json(known) if known.exists() else {}
    for name, path in files.items():
        if name not in found:
            found[name] = st.verify(path, None, data.test)
            write_json(known, found)
    contents = {name: path.read_bytes() for name, path in files.items()}
    timings = time_interpreters([new_interpreter(content) for content in contents.values()], rounds)
    rows = []
    for (name, content), timing in zip(contents.items(), timings, strict=True):
        verified, (kib, gzip_kib) = found[name], (round(len(b) / 1024, 1) for b in (content, gzip.compress(content)))
        row = {
            "name": name,
            "top1": verified["top1"],
            "images": verified["num_images"],
            "kib": kib,
            "gzip_kib": gzip_kib,
        }
        row |= {"partitions": verified["partitions"], "densify": verified["operations"].get("DENSIFY", 0)}
        rows.append({**row, "ms": round(timing.milliseconds, 4), "ratio": round(timing.ratio(timings[0]), 3)})
    return rows


if __name__ == "__main__":
    main()
