"""Top-1 of sub-networks of EfficientNet-Lite0 right after the warm start, before any training.

    python tools/study_warm_start.py --data-dir data
    python tools/study_warm_start.py --data-dir data --widths 1.0 0.9 0.75

Everything that a layer may be replaces it in one layer; one kind of choice, or drawn ones ("mixed"), in two, five and all layers.
Larger kernels, with zeros around them, are the same function. LETs are fitted and batch normalisation is recalibrated on
the 63 photographs that are scored. Prints one JSON object: how many are recognised [without recalibration, with it].

With --widths it scores the parent with so many times its channels instead, see Parent.narrowed.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time

import numpy as np

from scarlet_tf.base import logs

logs.quiet_frameworks()  # before anything imports TensorFlow

import scarlet_tf as st  # noqa: E402
from measuring import command_line, report  # noqa: E402
from scarlet_tf.base.errors import InputError  # noqa: E402
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate  # noqa: E402
from scarlet_tf.parents.around import parent_path, space_around  # noqa: E402


def main() -> None:
    """Score the parent and all sub-networks."""
    data_dir = os.environ.get("SCARLET_DATA_DIR", "data")
    draws = (5, "of several layers, for each kind")
    widths = {"type": float, "nargs": "+", "default": [], "help": "multipliers of the parent's channels"}
    parser = command_line(__doc__, pixels=160, draws=draws, seed=0, data_dir=data_dir, widths=widths)
    arguments, started = parser.parse_args(), time.perf_counter()
    files = sorted((pathlib.Path(arguments.data_dir) / "photos").glob("n*.jpg"))
    if len(files) != 63:
        parser.error(f"--data-dir: expected a folder with 63 files photos/n*.jpg, found {len(files)}")
    logs.log_to_terminal()
    try:
        parent = st.parent("lite0")
        changes = {"image_size": arguments.pixels, "crop_fraction": 0.875, "resizing": "bicubic"}
        preparation = dataclasses.replace(parent.preprocessing, **changes)
    except InputError as error:
        parser.error(str(error))
    images = np.stack([preparation.decode_and_prepare(file.read_bytes()) for file in files])
    labels = 4 + 16 * np.arange(63)
    if arguments.widths:
        networks = [whole(parent.narrowed(width), images, labels) for width in arguments.widths]
    else:
        networks = study(parent, images, labels, arguments.draws, arguments.seed)
    report("warm_start", **vars(arguments), networks=networks, seconds=round(time.perf_counter() - started, 1))


def study(parent: st.Parent, images: np.ndarray, labels: np.ndarray, draws: int, seed: int) -> list[dict]:
    """[{"kind", "layers", "right": counts}] of the parent and other networks, for normalised images [N, S, S, 3]."""
    space, photographs = space_around(parent, input_size=images.shape[1]), (images, labels)
    supernet = st.Supernet(space, images.shape[1:], parent.spec.num_classes or 1000, skip="shortcut")
    parent.warm_start(supernet, [photographs])
    own = parent_path(parent, space).choices
    changes = [("parent", {}), *subnetworks(replacements(supernet, own), draws, seed)]
    paths = [tuple(change.get(layer, choice) for layer, choice in enumerate(own)) for _, change in changes]
    right = []
    for recalibration in (None, photographs):
        evaluator = st.Evaluator(supernet, photographs, recalibration, batch_size=len(images), group_size=len(paths))
        evaluator.begin_generation(paths)
        right.append([round(evaluator.evaluate(path)["accuracy"] * len(images)) for path in paths])
    rows = zip(changes, zip(*right, strict=True), strict=True)
    return [{"kind": kind, "layers": sorted(change), "right": pair} for (kind, change), pair in rows]


def whole(parent: st.Parent, images: np.ndarray, labels: np.ndarray) -> dict:
    """{"kind", "multiply_adds", "params", "right": counts} of a parent, for normalised images [N, S, S, 3]."""
    network = parent.network(images.shape[1:])
    cost, right = st.count(network.spec), []
    for batches in (None, [(images, labels)]):
        if batches is not None:
            statistics, momentum = moving_statistics(network), network.spec.conventions.bn_momentum
            recalibrate(lambda x: network(x, training=True), batches, statistics, momentum)
        right.append(int(np.sum(np.argmax(network(images), axis=-1) == labels)))
    return {"kind": parent.name, "multiply_adds": cost.multiply_adds, "params": cost.params, "right": right}


def replacements(supernet: st.Supernet, own: tuple[int, ...]) -> dict[str, dict[int, int]]:
    """{kind: {layer: choice}} of everything that a layer may be instead of the parent's `own` choice."""
    found: dict[str, dict[int, int]] = {}
    for layer, (block, mine) in enumerate(zip(supernet.choice_blocks, own, strict=True)):
        whole = block.candidates[mine].spec
        for choice, spec in enumerate(candidate.spec for candidate in block.candidates):
            kind = {"identity": "skip", "linear": "LET"}.get(spec.kind)
            if kind is None and spec.kernel_size <= whole.kernel_size:
                half, small = spec.hidden_channels < whole.hidden_channels, spec.kernel_size < whole.kernel_size
                kind = " and ".join(["half"] * half + ["small kernel"] * small)
            if kind:  # the parent's own block has none
                found.setdefault(kind, {})[layer] = choice
    return found


def subnetworks(kinds: dict[str, dict[int, int]], draws: int, seed: int) -> list[tuple[str, dict[int, int]]]:
    """(kind, {layer: choice}) of each network: every single layer, then `draws` of two, of five and of all layers."""
    found = [(kind, {layer: choice}) for kind, choices in kinds.items() for layer, choice in choices.items()]
    rng, every = np.random.default_rng(seed), sorted({layer for choices in kinds.values() for layer in choices})
    for count, kind, _ in [(c, k, d) for c in (2, 5, len(every)) for k in (*kinds, "mixed") for d in range(draws)]:
        layers = rng.permutation(sorted(kinds.get(kind, every)))[:count].tolist()
        ways = {i: [kinds[k][i] for k in kinds if i in kinds[k] and kind in (k, "mixed")] for i in layers}
        network = kind, {layer: int(rng.choice(choices)) for layer, choices in ways.items()}
        found += [network] * (network not in found)
    return found


if __name__ == "__main__":
    main()
