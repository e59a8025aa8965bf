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

import pathlib
import shutil
import statistics
import sys
import tempfile

from scarlet_tf.base import logs

logs.quiet_frameworks()

import numpy as np  # noqa: E402

from bench_deploy import VARIANTS, measure_statistics  # noqa: E402
from browser_page import MissingProgram, build_page, open_chromium, serve  # noqa: E402
from measuring import parse, report, round_ratios  # noqa: E402
from scarlet_tf.base.progress import progress_bar  # noqa: E402
from scarlet_tf.data.preprocessing import Preprocessing  # noqa: E402
from scarlet_tf.export.tflite import export_tflite  # noqa: E402
from scarlet_tf.latency.timing import new_interpreter, time_interpreters  # noqa: E402
from scarlet_tf.models.zoo import build_zoo_network  # noqa: E402

NETWORKS = ["scarlet_a", "scarlet_b", "scarlet_c"]
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
    """Export and measure; 2 where a program is missing."""
    arguments = parse(
        __doc__,
        networks=(NETWORKS, "names of the zoo"),
        rounds=(10, "turns that each file takes"),
        folder=(None, "keep the files here, and use those that are there"),
    )
    with tempfile.TemporaryDirectory() as temporary:
        try:
            page = build_page(pathlib.Path(temporary))
            with open_chromium() as browser:
                files = export(arguments.networks, pathlib.Path(arguments.folder or temporary))
                for file in files.values():
                    shutil.copy(file, page)
                with serve(page) as address:
                    tab, rows = browser.new_page(), []
                    tab.goto(address)
                    for name in arguments.networks:
                        rows += measure(tab, name, {v: files[name, v] for v in VARIANTS}, arguments.rounds)
                version = browser.version
        except MissingProgram as error:
            print(f"bench_browser: skipped: {error}", file=sys.stderr)
            return 2
    report("browser", chromium=version, pixels=PIXELS, models=rows)
    return 0


def export(networks: list[str], folder: pathlib.Path) -> dict[tuple[str, str], pathlib.Path]:
    """A .tflite file for every (network, variant)."""
    files = {(name, variant): folder / f"{name}_{variant}.tflite" for name in networks for variant in VARIANTS}
    calibration = np.random.default_rng(1).normal(0, 0.5, [4, PIXELS, PIXELS, 3]).astype(np.float32)
    with progress_bar("export", len(files)) as bar:
        for name in networks:
            network = build_zoo_network(name, classifier_activation=None)
            measure_statistics(network, calibration)
            for variant, quantization in VARIANTS.items():
                if not files[name, variant].exists():
                    scaled = Preprocessing(PIXELS, 0.875)
                    export_tflite(network, files[name, variant], quantization, calibration, preprocessing=scaled)
                bar.advance()
    return files


def measure(page, name: str, files: dict[str, pathlib.Path], rounds: int) -> list[dict]:
    """One row a variant of the network."""
    pixels = np.random.default_rng(0).uniform(-1, 1, [PIXELS, PIXELS, 3]).astype(np.float32)
    names = [file.name for file in files.values()]
    found = page.evaluate(_MEASURE, [names, pixels.ravel().tolist(), rounds, RUNS_A_ROUND])
    interpreters = [new_interpreter(file.read_bytes()) for file in files.values()]
    native, rows = time_interpreters(interpreters, rounds), []
    for variant, one, interpreter, timing in zip(files, found, interpreters, native, strict=True):
        medians, expected = one["medians"], logits(interpreter, pixels)
        row = {"name": name, "variant": variant, "mb": files[variant].stat().st_size / 1e6, "threads": one["threads"]}
        row |= {"browser_ms": statistics.median(medians), "browser_best_ms": min(medians)}
        best = float(min(map(np.median, timing.rounds)))
        row |= {"native_ms": timing.milliseconds, "native_best_ms": best}
        row["ratio_to_float32"] = round_ratios(medians, found[0]["medians"])[0]
        row["max_logit_difference"] = float(np.abs(expected - one["logits"]).max())
        rows.append({**row, "max_logit": float(np.abs(one["logits"]).max())})
    return rows


def logits(interpreter, pixels: np.ndarray) -> np.ndarray:
    """Logits of LiteRT in Python."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


if __name__ == "__main__":
    sys.exit(main())
