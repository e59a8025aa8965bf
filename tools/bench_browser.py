"""Milliseconds an image in headless Chromium, through the page in export/browser, beside LiteRT in Python.

    python tools/bench_browser.py
    python tools/bench_browser.py --networks scarlet_a --folder /tmp/files     files that are kept for the next call

Published networks with random weights at 224 pixels, each exported as float32, with weights in int8 ("dynamic") and in int8
with h-swish in float. The files of one network are loaded side by side and take turns in every round, first in the
browser, then in Python; one thread both times. Prints one JSON object: `browser_ms` and `native_ms` are medians over
the rounds, the `best` ones those of the fastest round, `ratio_to_float32` is the median of the rounds' ratios in the
browser, and `max_logit_difference` the greatest between browser and Python for one image of random values. If
Chromium, playwright or npm is missing, it says so and exits with 2.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile

from scarlet_tf import logs

logs.quiet_frameworks()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from browser_page import MissingProgram, build_page, open_chromium, serve  # noqa: E402
from scarlet_tf.data.preprocessing import Preprocessing  # noqa: E402
from scarlet_tf.export.tflite import export_tflite  # noqa: E402
from scarlet_tf.latency.timing import new_interpreter, time_interpreters  # noqa: E402
from scarlet_tf.models.zoo import build_zoo_network  # noqa: E402
from scarlet_tf.progress import progress_bar  # noqa: E402

NETWORKS = ["scarlet_a", "scarlet_b", "scarlet_c"]
VARIANTS = {"float32": "none", "dynamic": "dynamic", "int8": "int8"}
PIXELS = 224
RUNS_A_ROUND = 3

_MEASURE = """
async ([files, pixels, rounds, runs]) => {
    const {Classifier} = await import("/classifier.js");
    const image = Float32Array.from(pixels);
    const networks = [];
    for (const file of files) {
        const bytes = new Uint8Array(await (await fetch(file)).arrayBuffer());
        networks.push({classifier: await Classifier.load(bytes), medians: []});
    }
    for (let round = 0; round < rounds; round++) {
        for (const {classifier, medians} of networks) medians.push((await classifier.measure(image, runs)).median);
    }
    const answers = [];
    for (const {classifier, medians} of networks) {
        answers.push({medians, threads: classifier.threads, logits: Array.from(await classifier.run(image))});
        classifier.delete();
    }
    return answers;
}
"""


def main() -> int:
    """Parse, export, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names of the zoo")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each file takes")
    parser.add_argument("--folder", type=pathlib.Path, help="keep the files here, and use those that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            page = build_page(pathlib.Path(temporary))
            with open_chromium() as browser:
                files = export(arguments.networks, arguments.folder or pathlib.Path(temporary))
                for file in files.values():
                    shutil.copy(file, page)
                with serve(page) as address:
                    rows = [
                        row for name in arguments.networks for row in measure(browser, address, name, files, arguments)
                    ]
                version = browser.version
        except MissingProgram as error:
            print(f"bench_browser: skipped: {error}", file=sys.stderr)
            return 2
    print(json.dumps({"benchmark": "browser", "chromium": version, "pixels": PIXELS, "models": rows}))
    return 0


def export(networks: list[str], folder: pathlib.Path) -> dict[tuple[str, str], pathlib.Path]:
    """A .tflite file for every (network, variant)."""
    files = {(name, variant): folder / f"{name}_{variant}.tflite" for name in networks for variant in VARIANTS}
    calibration = np.random.default_rng(1).normal(0, 0.5, [4, PIXELS, PIXELS, 3]).astype(np.float32)
    with progress_bar("export", len(files)) as bar:
        for name in networks:
            network = None
            for variant, quantization in VARIANTS.items():
                if not files[name, variant].exists():
                    network = network or trained(build_zoo_network(name, classifier_activation=None), calibration)
                    scaled = Preprocessing(PIXELS, 0.875)
                    export_tflite(network, files[name, variant], quantization, calibration, preprocessing=scaled)
                bar.advance()
    return files


def trained(network: keras.Model, images: np.ndarray) -> keras.Model:
    """The network with BN statistics measured on `images`, so that activations have the scale they have after training."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images, training=True)
    return network


def measure(browser, address: str, name: str, files: dict, arguments) -> list[dict]:
    """One row a variant of the network."""
    contents = [files[name, variant].read_bytes() for variant in VARIANTS]
    pixels = np.random.default_rng(0).uniform(-1, 1, [PIXELS, PIXELS, 3]).astype(np.float32)
    page = browser.new_page()
    page.goto(address)
    names = [files[name, variant].name for variant in VARIANTS]
    answers = page.evaluate(_MEASURE, [names, pixels.ravel().tolist(), arguments.rounds, RUNS_A_ROUND])
    page.close()
    interpreters = [new_interpreter(content) for content in contents]
    native = time_interpreters(interpreters, arguments.rounds)
    rows = []
    for variant, content, answer, interpreter, timing in zip(
        VARIANTS, contents, answers, interpreters, native, strict=True
    ):
        ratios = [mine / theirs for mine, theirs in zip(answer["medians"], answers[0]["medians"], strict=True)]
        rows.append(
            {
                "name": name,
                "variant": variant,
                "mb": len(content) / 1e6,
                "threads": answer["threads"],
                "browser_ms": statistics.median(answer["medians"]),
                "browser_best_ms": min(answer["medians"]),
                "native_ms": timing.milliseconds,
                "native_best_ms": float(min(map(np.median, timing.rounds))),
                "ratio_to_float32": statistics.median(ratios),
                "max_logit_difference": float(np.abs(logits(interpreter, pixels) - answer["logits"]).max()),
                "max_logit": float(np.abs(answer["logits"]).max()),
            }
        )
    return rows


def logits(interpreter, pixels: np.ndarray) -> np.ndarray:
    """Logits of LiteRT in Python."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


if __name__ == "__main__":
    sys.exit(main())
