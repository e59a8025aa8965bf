"""Draw the pictures of docs/concepts into docs/pictures, as SVG on white.

    python tools/draw_concepts.py
    python tools/draw_concepts.py --out elsewhere lanes folding

Draws, trees and distances in them are computed by the package, not invented.
"""

from __future__ import annotations

import argparse
import pathlib

from pictures import folding, searching, training
from pictures.diagram import save

PICTURES = {
    "let": training.let,
    "strict_fairness": training.strict_fairness,
    "lanes": training.lanes,
    "folding": folding.folding,
    "prefix_tree": searching.prefixes,
    "crowding": searching.crowding,
    "mutation": searching.mutation,
}
FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "pictures"


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--out", type=pathlib.Path, default=FOLDER, metavar="DIR", help="default: docs/pictures")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in PICTURES:
            parser.error(f"NAME: expected some of {', '.join(PICTURES)}, got {name}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or PICTURES:
        save(PICTURES[name](), arguments.out / f"{name}.svg")


if __name__ == "__main__":
    main()
