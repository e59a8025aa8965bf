"""Compare the published networks with PyTorch twins that have the same random weights and BN statistics.

    python tools/check_torch_parity.py [--networks scarlet_a ...] [--pixels 224 192]

Needs the extra "torch". Each network takes its twin's checkpoint through `load_torch_weights`; then the twin is emptied
and takes, with strict=True, what `save_torch_weights` writes. Differences of the logits are relative to the greatest
absolute logit. Prints a table and one JSON object. Exit code: 0 all are within TOLERANCE, 1 they are not, 2 no PyTorch.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
import tempfile

import numpy as np

from scarlet_tf.base.logs import quiet_frameworks

quiet_frameworks()

from measuring import parse  # noqa: E402
from scarlet_tf.models.torch_weights import load_torch_weights, save_torch_weights  # noqa: E402
from scarlet_tf.models.zoo import build_zoo_network  # noqa: E402
from scarlet_tf.models.zoo_data import ZOO  # noqa: E402

# Both compute in float32, through some sixty convolutions, in different orders.
TOLERANCE = 1e-4
_IMAGES = 2
# The networks in whose layout the authors publish checkpoints.
AUTHORS = ("fairnas_a", "fairnas_b", "fairnas_c", "scarlet_a", "scarlet_b", "scarlet_c")


def main(networks: list[str], sizes: list[int]) -> int:
    """Print the comparison of each network at each size."""
    rows = []
    print(f"{'network':<10} {'pixels':>6} {'from PyTorch':>12} {'to PyTorch':>10} {'between images':>14}")
    for name in networks:
        for pixels in sizes:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(compare(name, pixels, pathlib.Path(folder)))
            print(
                "{network:<10} {pixels:>6} {load:>12.2g} {save:>10.2g} {between_images:>14.2g}".format(**rows[-1]),
                flush=True,
            )
    ok = all(max(row["load"], row["save"]) <= TOLERANCE for row in rows)
    print(json.dumps({"ok": ok, "tolerance": TOLERANCE, "images": _IMAGES, "networks": rows}))
    return 0 if ok else 1


def compare(name: str, pixels: int, folder: pathlib.Path) -> dict:
    """One row for a network of the zoo: relative differences of the logits after loading and after saving.

    "between_images" is the difference between two images' logits, the scale of the other differences.
    """
    import torch
    from torch_twin import Twin, published_rows, relative_difference

    entry = ZOO[name]
    rows = published_rows(entry.encoding, with_se=any(choice.use_se for choice in entry.space.choices))
    activation = torch.nn.functional.hardswish if entry.space.activation == "hard_swish" else torch.nn.functional.relu6
    twin = Twin(rows, 1000, activation=activation).randomise(seed=pixels, pixels=pixels)
    torch.save({"model_state": twin.state_dict()}, folder / "theirs.pth.tar")
    network = build_zoo_network(name, input_shape=(pixels, pixels, 3), classifier_activation=None)
    load_torch_weights(network, folder / "theirs.pth.tar")
    save_torch_weights(network, folder / "ours.pth")

    images = np.random.default_rng(pixels).normal(size=(_IMAGES, pixels, pixels, 3)).astype(np.float32)
    theirs, ours = twin.logits(images), np.asarray(network(images, training=False))
    empty = Twin(rows, 1000, activation=activation).eval()
    empty.load_state_dict(torch.load(folder / "ours.pth", weights_only=True), strict=True)
    return {
        "network": name,
        "pixels": pixels,
        "load": relative_difference(theirs, ours),
        "save": relative_difference(ours, empty.logits(images)),
        "between_images": relative_difference(theirs, theirs[::-1]),
    }


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is None:
        print("check_torch_parity: PyTorch is not installed: pip install -e '.[torch]'", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "models"))  # the twin comes from the tests
    choices = {"nargs": "+", "choices": AUTHORS, "default": ["scarlet_a", "scarlet_b", "scarlet_c"]}
    arguments = parse(__doc__, networks=choices, pixels=[224, 192])
    sys.exit(main(arguments.networks, arguments.pixels))
