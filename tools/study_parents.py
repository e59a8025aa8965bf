"""A searched network that starts from a trained one, against the plain ways of making that one cheaper, on CIFAR-10.

    python tools/study_parents.py --data DIR --out runs/parents --epochs 5 --seeds 0 1 2

All ways see the same training images as often. At each budget, a share of the multiply-adds of EfficientNet-Lite0 at 64 pixels:
  searched   `scarlet run` with configs/cifar10_lite0.yaml, without a race, at the input sizes that `scarlet init` would try
  smaller    the whole network at the greatest input size within the budget
  shallower  at 64 pixels, without blocks that have a shortcut: from the end of each stage, as many as the budget asks for
  skipped    without all of them, at the greatest input size within the budget
Results are kept in OUT/results.jsonl and not computed again; the last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import pathlib
import statistics
from collections.abc import Iterable

from measuring import Rows, parse, report
from scarlet_tf.base.logs import log_to_terminal, quiet_frameworks

quiet_frameworks()

import scarlet_tf as st  # noqa: E402
from scarlet_tf.config import load_config  # noqa: E402
from scarlet_tf.data.datasets import load_dataset  # noqa: E402
from scarlet_tf.evaluation.scoring import evaluate  # noqa: E402
from scarlet_tf.models.network import get_arrays  # noqa: E402
from scarlet_tf.parents.around import sizes_and_costs, sizes_to_try  # noqa: E402
from scarlet_tf.parents.warm_start import warm_start  # noqa: E402
from scarlet_tf.run.stages import run_all  # noqa: E402
from scarlet_tf.search.budget import shortened  # noqa: E402

CONFIG = pathlib.Path(__file__).resolve().parents[1] / "configs" / "cifar10_lite0.yaml"
PARENT, SIDE, CLASSES = "lite0", 64, 10


def plain(way: str, parent, limit: float) -> st.Architecture:
    """The network of a plain way within `limit` multiply-adds, in a space of the input size that it has."""
    sizes = range(SIDE, SIDE + 1) if way == "shallower" else range(2 * SIDE, 15, -4)
    for size in sizes:
        space = st.space_around(parent, input_size=size)
        paths = shortened(space)
        for path in {"smaller": paths[:1], "skipped": paths[-1:], "shallower": paths}[way]:
            network = st.Architecture(path, space)
            if st.count(network, size, CLASSES).multiply_adds <= limit:
                return network
    return network  # shallower: as far as it goes


def train_plain(network: st.Architecture, parent, config, epochs: int) -> dict:
    """Fine-tune a network with the parent's weights for so many epochs; figures on the test images."""
    size = network.space.input_size
    data = load_dataset(dataclasses.replace(config.data, image_size=size))
    supernet = st.Supernet(network.space, (size, size, 3), CLASSES, skip="shortcut", seed=config.seed)
    batches = data.train.batches(64, training=True, seed=config.seed, drop_remainder=False)
    warm_start(supernet, parent, batches.take(config.parent.images // 64))
    folded, _ = st.fold(st.extract(supernet, network))
    settings = dataclasses.replace(config.retrain, epochs=epochs, teacher=None, init="scratch")
    model, _ = st.retrain(folded.spec, data.train, data.validation, settings, initial=get_arrays(folded))
    accuracy = evaluate(model, data.test.batches(100))["accuracy"]
    return {"size": size, "multiply_adds": st.count(folded.spec).multiply_adds, "top1": accuracy}


def train_searched(config, limit: float, sizes: tuple[int, ...], epochs: int, folder) -> dict:
    """Run the recipe within `limit`; its supernet is not trained, and so knows too little of the classes for a teacher."""
    settings = {
        "search": dataclasses.replace(config.search, upper_bounds={"multiply_adds": limit}, input_sizes=sizes),
        "race": dataclasses.replace(config.race, finalists=0),
        "supernet": dataclasses.replace(config.supernet, epochs=0),
        "retrain": dataclasses.replace(config.retrain, epochs=epochs, teacher=None),
        "export": dataclasses.replace(config.export, formats=("float32",), saved_model=False, benchmark_threads=0),
    }
    run_all(dataclasses.replace(config, **settings), folder)
    found = json.loads((folder / "retrain" / "result.json").read_text())
    size = json.loads((folder / "pareto.json").read_text())["input_size"]
    return {"size": size, "multiply_adds": found["multiply_adds"], "top1": found["test"]["accuracy"]}


def main() -> None:
    """Compute what is missing and print the table."""
    options = parse(
        __doc__,
        data=("", "folder of the prepared cifar10"),
        out=("runs/parents", "folder of results and runs"),
        epochs=(5, "passes over the training images, of all trainings together"),
        budgets=([1.0, 0.6, 0.35], "shares of the parent's multiply-adds at 64 pixels"),
        ways=(["searched", "smaller", "shallower", "skipped"], "what to compare"),
        seeds=([0, 1, 2], "of hold-outs, order and draws"),
        images=(10000, "training images"),
    )
    log_to_terminal()
    parent = st.parent(PARENT)
    whole = st.count(parent.spec.replace(input_shape=(SIDE, SIDE, 3), num_classes=CLASSES)).multiply_adds
    rows = Rows(pathlib.Path(options.out) / "results.jsonl")
    for seed, budget, way in itertools.product(options.seeds, options.budgets, options.ways):
        key = {"way": way, "budget": budget, "epochs": options.epochs, "images": options.images, "seed": seed}
        rows.once(key, functools.partial(train, parent, key, budget * whole, rows, options))
    report("parents", results=list(rows), means=means(rows))


def train(parent, key: dict, limit: float, rows: Rows, options) -> dict:
    """Figures of one way; a plain network that another budget has led to is not trained again."""
    changes = [f"seed={key['seed']}", f"data.max_train_examples={options.images}"]
    changes += [f"data.directory={options.data}"] if options.data else []
    if key["way"] == "searched":
        sizes = sizes_to_try(dict(sizes_and_costs(parent, CLASSES)), limit)
        config = load_config(CONFIG, [*changes, f"data.image_size={sizes[0]}"])
        folder = pathlib.Path(options.out) / "-".join(map(str, key.values()))
        return train_searched(config, limit, sizes, options.epochs, folder)
    network = plain(key["way"], parent, limit)
    same = {"network": f"{network.to_string()} at {network.space.input_size} pixels"}
    same |= {name: key[name] for name in ("epochs", "images", "seed")}
    return same | (rows.known(same) or train_plain(network, parent, load_config(CONFIG, changes), options.epochs)) | key


def means(rows: Iterable[dict]) -> list[dict]:
    """Mean top-1 over the seeds of each way, and the standard error of that mean."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["epochs"], row["images"], row["way"]), []).append(row)
    table = []
    for (budget, epochs, images, way), members in sorted(groups.items()):
        top1 = [row["top1"] for row in members]
        error = statistics.stdev(top1) / len(top1) ** 0.5 if len(top1) > 1 else None
        figures = {"top1": statistics.mean(top1), "standard_error": error, "seeds": len(top1)}
        costs = statistics.mean(row["multiply_adds"] for row in members)
        table.append(
            {"budget": budget, "epochs": epochs, "images": images, "way": way, **figures, "multiply_adds": costs}
        )
    return table


if __name__ == "__main__":
    main()
