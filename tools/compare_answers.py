"""Compare the outputs of export/classify.py on two machines; tools/check_aarch64.sh calls it.

    python tools/compare_answers.py FOLDER      # holds <n>/here.json and <n>/<core>.json for each exported file

Prints a table and one JSON object. Exit code: 0 all classes are the same and the logits of float files within
LOGIT_TOLERANCE, 1 they are not.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

# Both compute in float32, in different orders; logits are of the order of 10.
LOGIT_TOLERANCE = 1e-4
# Weights and activations of these are floats when they are computed with.
FLOAT_QUANTIZATIONS = ("none", "float16")


def main(folder: pathlib.Path) -> int:
    """Print the comparison of each core's outputs with this machine's."""
    rows = []
    for here in sorted(folder.glob("*/here.json"), key=lambda path: int(path.parent.name)):
        others = sorted(path for path in here.parent.glob("*.json") if path != here)
        rows += [compare(other.stem, _read(here), _read(other)) for other in others]
    print(
        f"{'file':<24} {'core':<12} {'images':>6} {'same class':>10} {'logit difference':>16} {'top-1':>8} {'here':>8}"
    )
    for row in rows:
        print(
            f"{pathlib.Path(row['file']).name:<24} {row['core']:<12} {row['images']:>6} {row['same_class']:>10}"
            f" {row['max_logit_difference']:>16.2g} {row['top1']:>8.2%} {row['top1_here']:>8.2%}"
        )
    ok = all(row["ok"] for row in rows)
    print(json.dumps({"ok": ok, "logit_tolerance": LOGIT_TOLERANCE, "files": rows}))
    return 0 if ok else 1


def compare(core: str, here: dict, there: dict) -> dict:
    """One row, in plain JSON types, of two outputs (classify.py --evaluate --json) of one file on the same images."""
    if [row["file"] for row in here["images"]] != [row["file"] for row in there["images"]]:
        raise ValueError(f"{here['model']}: expected answers about the same images")
    logits, others = (np.array([row["logits"] for row in answer["images"]]) for answer in (here, there))
    same = int((logits.argmax(1) == others.argmax(1)).sum())
    difference = float(np.abs(logits - others).max())
    near = (
        bool(np.isfinite(difference))
        if here["quantization"] not in FLOAT_QUANTIZATIONS
        else difference <= LOGIT_TOLERANCE
    )
    row = {"file": here["model"], "core": core, "quantization": here["quantization"], "images": len(logits)}
    row |= {"same_class": same, "max_logit_difference": difference, "ok": same == len(logits) and near}
    row["images_with_identical_logits"] = int((logits == others).all(axis=1).sum())
    return (
        row
        | {"top1": there["top1"], "top1_here": here["top1"]}
        | {"runtime": there["runtime"], "runtime_here": here["runtime"]}
    )


def _read(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
