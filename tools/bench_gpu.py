"""A strictly fair step in lanes on a GPU, under JAX, against the sum of its paths' stand-alone steps. Not run on a GPU so far.

    python tools/bench_gpu.py
    python tools/bench_gpu.py --spaces s1 --dtypes bfloat16 --batch-size 128
    python tools/bench_gpu.py --cpu --spaces tiny --pixels 16 --batch-size 4 --matrix 256 --rounds 1

Needs Keras, JAX for the GPU, NumPy, and of this package what imports no TensorFlow, which need not be installed. Weights and
images are random. Every row is a process of its own, in which three things take turns: `fair`, all paths of a step side by side
in one program (docs/concepts/lanes.md); the m stand-alone networks of the same paths in Keras' own layers, m programs; and
products of two matrices in the same dtype. Both variants begin with the same weights, use SGD with momentum and XLA.

dtypes: `float32` (no TensorFloat-32 anywhere), `tf32` (products in TensorFloat-32), `bfloat16` (Keras' mixed_bfloat16).

`images_per_second`: images of the batch, each of which passes all m paths, in a fair step. `ratio`: fair step over the sum of the
stand-alone steps, the median over the rounds. `peak_share`: the fair step's multiply-adds a second, counted as
`fair_multiply_adds` in fair_paths.py says, over those of the matrix products in the same round (`peak_tflops`). `memory_gb`:
the most that the fair step took of the device's memory, weights and momentum included; with `--cpu` the whole process' peak.
`first_step_seconds`: tracing, compiling and the first run. `gradient_error`: the first step's gradients of the fair step against
the sum of the networks' gradients, the greatest relative difference of a weight's (`difference` in jax_steps.py), from the very
programs that are measured. In float32 more than 0.1 is an error; the other dtypes round in between. A row that does not fit
into the device's memory has `error` instead of figures.

Prints a table and, on the last line, one JSON object. Exit code 1: gradients differ; 2: no JAX.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import statistics
import sys
from collections.abc import Mapping

from measuring import ROUNDS, command_line, in_child, report, round_ratios

SPACES = ("s1", "s2", "lite0", "tiny")
DTYPES = ("float32", "tf32", "bfloat16")
TOLERANCE = 0.1
"""Of a float32 row's `gradient_error`: lite0's space has 0.006 at 32 pixels and batch 8, a wrong path or sum gives about 1."""
COLUMNS = ("space", "pixels", "dtype", "images_per_second", "ratio", "peak_share", "memory_gb")


def main() -> int:
    """Measure every row and print them."""
    parser = command_line(
        __doc__,
        spaces={"nargs": "+", "default": list(SPACES[:3]), "choices": SPACES},
        pixels=[224],
        dtypes={"nargs": "+", "default": list(DTYPES), "choices": DTYPES},
        batch_size=32,
        rounds=(10, ROUNDS),
        matrix=(8192, "rows and columns of the product that stands for the chip's peak"),
        cpu=(False, "on the CPU, to try it out at small sizes"),
    )
    arguments = parser.parse_args()
    for name in ("batch_size", "rounds", "matrix"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(arguments, name)}")
    if min(arguments.pixels) < 8:
        parser.error(f"--pixels: expected at least 8, got {min(arguments.pixels)}")
    if not importlib.util.find_spec("jax"):
        print("bench_gpu: no JAX: pip install 'jax[cuda12]', or 'scarlet_tf[jax]' for --cpu", file=sys.stderr)
        return 2
    child = functools.partial(in_child, complete=functools.partial(under_jax, cpu=arguments.cpu))
    gpu = None if arguments.cpu else child(gpu_name)
    if not (gpu or arguments.cpu):
        print("JAX finds no GPU here: nothing was measured. --cpu tries the benchmark out on the CPU.")
        report("gpu", gpu=None)
        return 0
    print("  ".join(f"{column:>17}" for column in COLUMNS))
    results = []
    for space, pixels, dtype in itertools.product(arguments.spaces, arguments.pixels, arguments.dtypes):
        place = {"space": space, "pixels": pixels, "dtype": dtype}
        measured = child(measure, *place.values(), arguments.batch_size, arguments.rounds, arguments.matrix)
        found = {**place, **(measured if "error" in measured else row(measured, arguments.batch_size))}
        print("  ".join(f"{shown(found.get(column)):>17}" for column in COLUMNS), flush=True)
        results.append(found)
    settings = {"batch_size": arguments.batch_size, "rounds": arguments.rounds, "matrix": arguments.matrix}
    report("gpu", gpu=gpu, device=gpu or "cpu", **settings, results=results)
    wrong = [f for f in results if f["dtype"] == "float32" and f.get("gradient_error", 0) > TOLERANCE]
    for found in wrong:
        print(f"bench_gpu: {found['space']}: gradients differ by {found['gradient_error']:.2g}", file=sys.stderr)
    return int(bool(wrong))


def row(measured: Mapping, batch_size: int) -> dict:
    """The figures of a row; ratio and share are medians of those within a round."""
    seconds = measured["seconds"]
    ratio, ratios = round_ratios(seconds["fair"], seconds["networks"])
    products_over_step, _ = round_ratios(seconds["product"], seconds["fair"])
    fair, networks, products = (statistics.median(seconds[name]) for name in ("fair", "networks", "product"))
    return {
        "images_per_second": batch_size / fair,
        "ratio": ratio,
        "peak_share": measured["multiply_adds"] / measured["product_multiply_adds"] * products_over_step,
        **{name: measured[name] for name in ("memory_gb", "gradient_error", "multiply_adds")},
        **{name: measured[name] for name in ("first_step_seconds", "networks_first_step_seconds")},
        "seconds": fair,
        "networks_seconds": networks,
        "rounds_ratio": ratios,
        "peak_tflops": 2 * measured["product_multiply_adds"] / products / 1e12,
    }


def shown(value) -> str:
    """A cell of the table."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def under_jax(environment: Mapping[str, str], cpu: bool) -> dict[str, str]:
    """The environment of a child, whose Keras uses JAX."""
    return {**environment, "KERAS_BACKEND": "jax", **({"JAX_PLATFORMS": "cpu"} if cpu else {})}


# -- inside a process of its own: Keras and JAX are imported there alone, with its environment -----------------------


def gpu_name() -> str | None:
    """The name of JAX' GPU."""
    import jax_steps

    return jax_steps.gpu_name()


def measure(*row) -> dict:
    """Measure a row, see `jax_steps.measure`; {"error": reason} where the device has too little memory."""
    import jax

    import jax_steps

    try:
        return jax_steps.measure(*row)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"error": str(error).splitlines()[0]}


if __name__ == "__main__":
    sys.exit(main())
