"""Top-1, size and latency of one network as float32, int8 by calibration, int8 by quantisation-aware training, and pruned.

For a finished run's retrained network, on all its test images:

    SCARLET_DATA_DIR=... python tools/bench_optimization.py runs/cifar10_small --out bench

Without a run folder a small network is trained on the digits first. Results in --out are not computed again, so an
interrupted bench resumes, and latency can be measured once more on an idle machine. Latencies are ratios to float32
measured in turns, on one thread. Pruned networks come with their zeros stored like other weights, in the format's sparse
storage, and in int8. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import pathlib
import tempfile

import scarlet_tf as st
from scarlet_tf import logs
from scarlet_tf.config import load_config
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.data.inputs import plain
from scarlet_tf.export.folding import MAX_CONDITION_INT8
from scarlet_tf.files import read_json, write_json
from scarlet_tf.latency.timing import new_interpreter, time_interpreters
from scarlet_tf.models.network import Network
from scarlet_tf.space import Stage
from scarlet_tf.training.network import save_model


def main() -> None:
    """Make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run folder with retrain/model.keras (default: digits)")
    parser.add_argument("--out", help="folder of files and checkpoints (default: a temporary one)")
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5, 0.75])
    parser.add_argument("--qat", type=json.loads, default={}, help="QuantizationAwareConfig's fields as JSON")
    parser.add_argument("--pruning", type=json.loads, default={}, help="PruningConfig's fields as JSON")
    parser.add_argument("--rounds", type=int, default=30, help="of timing")
    arguments = parser.parse_args()
    logs.quiet_frameworks()
    logs.log_to_terminal()
    logging.getLogger("scarlet_tf").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(arguments.out or temporary)
        network, data = from_run(pathlib.Path(arguments.run)) if arguments.run else digits(out)
        files = make_files(network, data, out, arguments)
        rows = measure(files, data, out, arguments.rounds)
    settings = {"qat": arguments.qat, "pruning": arguments.pruning}
    print(json.dumps({"network": arguments.run or "digits", "settings": settings, "files": rows}))


def from_run(folder: pathlib.Path) -> tuple[Network, ImageData]:
    """The folded network of a run, and its dataset."""
    network = st.load_network(folder / "retrain" / "model.keras")
    return st.fold(network, MAX_CONDITION_INT8)[0], load_dataset(load_config(folder / "config.yaml").data)


def digits(out: pathlib.Path) -> tuple[Network, ImageData]:
    """A network for the digits, trained for some seconds."""
    data = load_dataset(DataConfig(augmentation="shift", image_size=16))
    choices = st.SearchSpace.from_name("s2").choices
    space = st.SearchSpace("digits", (Stage(16, 3, 2), Stage(24, 2, 2)), choices, 8, 1, 8, 64, input_size=16)
    settings = {"epochs": 30, "batch_size": 64, "learning_rate": 0.05, "optimizer": "sgd", "schedule": "cosine"}
    settings |= {"ema": 0.99, "warmup_epochs": 1, "validate_every_epochs": 30}
    architecture = st.Architecture((1, 9, 3, 1, 4), space)
    network, _ = st.retrain(architecture, data.train, data.validation, settings, out, num_classes=10)
    return network, data


def make_files(network: Network, data: ImageData, out: pathlib.Path, arguments) -> dict[str, pathlib.Path]:
    """Every variant's file by name; those that exist stay."""
    train = plain(data.train)
    names = ["float32", "int8", "int8_qat"]
    names += [f"pruned_{s:g}{kind}" for s in arguments.sparsities for kind in ("", "_sparse_storage", "_int8")]
    files = {name: out / f"{name}.tflite" for name in names}
    if not files["float32"].exists():
        st.export_tflite(network, files["float32"])
    if not files["int8"].exists():
        st.export_tflite(network, files["int8"], "int8", data.train)
    if not files["int8_qat"].exists():
        st.quantize_aware(network, train, files["int8_qat"], arguments.qat, out)
    for sparsity in arguments.sparsities:
        name = f"pruned_{sparsity:g}"
        model = out / f"{name}.keras"
        if not model.exists():
            pruned, figures = st.prune(network, train, {**arguments.pruning, "sparsity": sparsity}, out / name)
            write_json(out / f"{name}.figures.json", figures)
            save_model(pruned, model)
        pruned = st.load_network(model)
        if not files[name].exists():
            st.export_tflite(pruned, files[name])
        if not files[f"{name}_int8"].exists():
            st.export_tflite(pruned, files[f"{name}_int8"], "int8", data.train)
        if not files[f"{name}_sparse_storage"].exists():
            st.export_tflite(pruned, files[f"{name}_sparse_storage"], sparse_storage=True)
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
    return [
        {
            "name": name,
            "top1": found[name]["top1"],
            "images": found[name]["num_images"],
            "kib": round(len(content) / 1024, 1),
            "gzip_kib": round(len(gzip.compress(content)) / 1024, 1),
            "partitions": found[name]["partitions"],
            "densify": found[name]["operations"].get("DENSIFY", 0),
            "ms": round(timing.milliseconds, 4),
            "ratio": round(timing.ratio(timings[0]), 3),
        }
        for (name, content), timing in zip(contents.items(), timings, strict=True)
    ]


if __name__ == "__main__":
    main()
