"""The network that a run with a race delivers, against plain ways to one within the same bound, all from scratch.

    python tools/study_delivered.py --data DIR --out runs/delivered --tasks digits cifar10 animals --seeds 0 1 2

Ways, whose networks are chosen by validation images alone and measured on all test images:
  race           `scarlet run`, to the end of its race
  pick           the search's best network, trained as long as the race's winner
  uniform        the greatest network within the bound whose layers are all alike, as long
  pick_longer    the search's best network, for as many multiply-adds as the race's trainings had together
  random         the best of five networks drawn within the bound, for as many as supernet, search and race had together
  uniform_longer the uniform network, likewise
A backward pass is counted as two forward passes; a search's paths as if none shared a layer with another one.
Rows and the images recognised are kept in OUT and not computed again; the last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import shutil
import statistics
from typing import Any

from measuring import Rows, parse, report, use_threads
from scarlet_tf.base.logs import log_to_terminal, quiet_frameworks

quiet_frameworks()

import numpy as np  # noqa: E402

import scarlet_tf as st  # noqa: E402
from scarlet_tf.base.files import read_json  # noqa: E402
from scarlet_tf.config import Config, load_config  # noqa: E402
from scarlet_tf.data.datasets import ImageData, load_dataset  # noqa: E402
from scarlet_tf.evaluation.scoring import inference  # noqa: E402
from scarlet_tf.models.network import load_network  # noqa: E402
from scarlet_tf.race.verdict import paired  # noqa: E402
from scarlet_tf.run.stages import run_all  # noqa: E402
from scarlet_tf.search.budget import Budget  # noqa: E402
from scarlet_tf.search.journal import TRIALS, read_lines  # noqa: E402
from scarlet_tf.search.objectives import cost_model_and_objectives  # noqa: E402
from scarlet_tf.space.cost import cost_table  # noqa: E402
from scarlet_tf.training.sampling import paths_of_a_step  # noqa: E402

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"
RIVALS = ("pick", "uniform", "pick_longer", "random", "uniform_longer")
DRAWN, BACKWARD = 5, 2
ANIMALS, ANIMAL_IMAGES = ("bird", "cat", "deer", "dog", "frog", "horse"), 1500
TASKS: dict[str, tuple[str, dict[str, object]]] = {
    "digits": ("digits.yaml", {}),
    "cifar10": (
        "cifar10_small.yaml",
        {
            "data.max_train_examples": 10000,
            "data.validation_examples": 1000,
            "supernet.image_size": 16,
            "supernet.epochs": 5,
            "search.upper_bounds.multiply_adds": "1.5M",
            "retrain.epochs": 8,
        },
    ),
    "animals": (
        "cifar10_small.yaml",
        {
            "data.source": "folder",
            "data.image_size": 48,
            "data.test_fraction": 2 / 3,
            "data.validation_examples": 600,
            "supernet.image_size": 24,
            "supernet.epochs": 8,
            "supernet.batch_size": 64,
            "search.upper_bounds.multiply_adds": "3M",
            "retrain.epochs": 15,
            "retrain.batch_size": 64,
            "retrain.learning_rate": 0.05,
        },
    ),
}


def recipe(task: str, seed: int, options) -> Config:
    """The configuration of a task: a recipe of the package with changes, without files."""
    name, stated = TASKS[task]
    changes = [*(f"{key}={value}" for key, value in stated.items()), f"seed={seed}"]
    if task == "cifar10" and options.data:
        changes.append(f"data.directory={options.data}")
    if task == "animals":
        changes.append(f"data.directory={animals(options)}")
    config = load_config(CONFIGS / name, [*changes, *filter(None, options.set)])
    return dataclasses.replace(config, retrain=dataclasses.replace(config.retrain, validate_every_epochs=10**6))


def animals(options) -> pathlib.Path:
    """A folder of class folders: CIFAR-10's first images of six animals, as they lie in the prepared data set."""
    import tensorflow_datasets as tfds

    folder = pathlib.Path(options.out).resolve() / "animals"
    if folder.exists():
        return folder
    builder = tfds.builder_from_directory(options.data) if options.data else tfds.builder("cifar10")
    names = builder.info.features["label"].names
    counts = dict.fromkeys(ANIMALS, 0)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for row in builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()}):
        name = names[int(row["label"])]
        if counts.get(name, ANIMAL_IMAGES) < ANIMAL_IMAGES:
            path = part / name / f"{counts[name]:04}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["image"].numpy())
            counts[name] += 1
    return part.rename(folder)


class Task:
    """One task and seed: what its race did, and what its rivals may cost."""

    def __init__(self, task: str, seed: int, options):
        self.config = recipe(task, seed, options)
        self.folder = pathlib.Path(options.out) / f"{task}-{seed}"

    @functools.cached_property
    def data(self) -> ImageData:
        return load_dataset(self.config.data)

    @functools.cached_property
    def race(self) -> dict[str, Any]:
        """The race's result, after the run that makes it."""
        run_all(self.config, self.folder, until="race")
        return read_json(self.folder / "race" / "result.json")

    def entrant(self, name: str) -> dict[str, Any]:
        return next(row for row in self.race["entrants"] if row["name"] == name)

    def compute(self) -> dict[str, float]:
        """Multiply-adds of the run's parts, in forward passes."""
        config, own, images = self.config, self.config.of_supernet, self.data.train.num_examples
        steps, size = self.race["steps_per_epoch"], config.retrain.batch_size
        table = cost_table(own.space, own.data.image_size, self.data.num_classes)
        layers, choices = config.space.num_layers, config.space.num_choices
        mean = table.expected(np.full((layers, choices), 1 / choices))["multiply_adds"][0]
        paths = paths_of_a_step(config.supernet.sampling, config.space, config.supernet.sandwich_random)
        seen = images // config.supernet.batch_size * config.supernet.batch_size
        genomes = [
            line["architecture"] for line in read_lines(self.folder / "search" / TRIALS) if line and "metrics" in line
        ]
        found = table.sums([st.Architecture.parse(text, config.space).choices for text in genomes])["multiply_adds"]
        recalibration = min(config.search.recalibration_batches * config.search.validation_batch_size, images)
        trained = sum(row["rungs"][-1]["steps"] * row["multiply_adds"] for row in self.race["entrants"])
        return {
            "supernet": (1 + BACKWARD) * config.supernet.epochs * seen * paths * mean,
            "search": float(found.sum()) * (recalibration + self.data.validation.num_examples),
            "race": (1 + BACKWARD) * trained * size,
            "epoch": (1 + BACKWARD) * steps * size,  # of one multiply-add
        }

    def drawn(self, seed: int) -> list[st.Architecture]:
        """Networks within the bound, as a race's random rival is drawn, with another seed."""
        space = self.config.space
        costs = cost_table(space, self.config.data.image_size, self.data.num_classes)
        budget = Budget(*cost_model_and_objectives(costs, **self.config.search.objective_settings(costs)))
        return [st.Architecture(genome, space) for genome in budget.sample(DRAWN, np.random.default_rng(1000 + seed))]

    def trained(self, network: st.Architecture, epochs: int) -> tuple[Any, dict]:
        """A network and its validation figures."""
        settings = dataclasses.replace(self.config.retrain, epochs=epochs)
        model, figures = st.retrain(
            network, self.data.train, self.data.validation, settings, num_classes=self.data.num_classes
        )
        return model, figures["validation"]

    def hits(self, model) -> np.ndarray:
        """True for each test image that a network recognises, bool [N]."""
        predict = inference(model)
        batches = self.data.test.batches(self.config.retrain.batch_size)
        return np.concatenate(
            [np.argmax(np.asarray(predict(images)), -1) == np.asarray(labels) for images, labels in batches]
        )


def measured(task: Task, way: str, seed: int) -> dict:
    """A row of one way; the images recognised go to a file."""
    compute, most = task.compute(), task.config.retrain.epochs
    total = compute["supernet"] + compute["search"] + compute["race"]
    entrant = {"race": task.race["winner"], "pick": "finalist_1", "pick_longer": "finalist_1"}.get(way, "uniform")
    row: dict[str, Any] = {"entrant": entrant}
    if way == "random":
        networks = task.drawn(seed)
        costs = [st.count(one, task.config.data.image_size, task.data.num_classes).multiply_adds for one in networks]
        epochs = max(1, round(total / (compute["epoch"] * sum(costs))))
        tried = [(*task.trained(one, epochs), one) for one in networks]
        best = min(range(DRAWN), key=lambda index: tried[index][1]["loss"])
        model, row["entrant"], cost = tried[best][0], networks[best].to_string(), sum(costs)
    else:
        known = task.entrant(entrant)
        cost = known["multiply_adds"]
        share = {"pick_longer": compute["race"], "uniform_longer": total}.get(way)
        epochs = most if share is None else max(1, round(share / (compute["epoch"] * cost)))
        if share is None and known["rungs"][-1]["steps"] == task.race["goals"][-1]:  # trained by the race
            model = load_network(task.folder / "race" / entrant / "retrain" / "model.keras")
        else:
            model, _ = task.trained(st.Architecture.parse(known["architecture"], task.config.space), epochs)
    hits = task.hits(model)
    np.save(task.folder / f"{way}.npy", hits)
    spent = total if way == "race" else compute["epoch"] * cost * epochs
    spent += compute["supernet"] + compute["search"] if way.startswith("pick") else 0
    return {**row, "epochs": epochs, "top1": float(hits.mean()), "multiply_adds": model_cost(model), "spent": spent}


def model_cost(model) -> int:
    """Multiply-adds of a network for one image."""
    return st.count(model.spec).multiply_adds


def compared(rows: list[dict], folder: pathlib.Path) -> list[dict]:
    """For each task and rival: means, deviations over seeds, and the race's gain with its 95 % interval, paired over images."""
    table = []
    for task, way in itertools.product(dict.fromkeys(row["task"] for row in rows), RIVALS):
        by = {(row["seed"], row["way"]): row for row in rows if row["task"] == task}
        seeds = [seed for seed, one in by if one == way and (seed, "race") in by]
        if not seeds:
            continue
        ours, theirs = ([by[seed, one] for seed in seeds] for one in ("race", way))
        hits = [
            np.concatenate([np.load(folder / f"{task}-{seed}" / f"{one}.npy") for seed in seeds])
            for one in ("race", way)
        ]
        gains = [100 * (a["top1"] - b["top1"]) for a, b in zip(ours, theirs, strict=True)]
        found = paired(*hits)
        table.append(
            {
                "task": task,
                "way": way,
                "seeds": len(seeds),
                "race": round(100 * statistics.mean(row["top1"] for row in ours), 2),
                "rival": round(100 * statistics.mean(row["top1"] for row in theirs), 2),
                "gain": round(statistics.mean(gains), 2),
                "deviation": round(statistics.stdev(gains), 2) if len(gains) > 1 else None,
                "paired": [round(100 * found[key], 2) for key in ("low", "high")],
                "spent": round(statistics.mean(b["spent"] / a["spent"] for a, b in zip(ours, theirs, strict=True)), 2),
            }
        )
    return table


def main() -> None:
    """Compute what is missing and print the comparison."""
    options = parse(
        __doc__,
        data=("", "folder of the prepared cifar10"),
        out=("runs/delivered", "folder of results and runs"),
        tasks=(list(TASKS), "of these"),
        seeds=([0, 1, 2], "of hold-outs, order and draws"),
        ways=(["race", *RIVALS], "what to compare"),
        set=([""], "changes of the recipes, key=value"),
        threads=(1, "of TensorFlow's operations"),
    )
    use_threads(options.threads)
    log_to_terminal()
    folder = pathlib.Path(options.out)
    rows = Rows(folder / "results.jsonl")
    for seed, task in itertools.product(options.seeds, options.tasks):
        one = Task(task, seed, options)
        for way in ("race", *(way for way in RIVALS if way in options.ways)):
            rows.once({"task": task, "seed": seed, "way": way}, functools.partial(measured, one, way, seed))
    report("delivered", rows=list(rows), gains=compared(list(rows), folder))


if __name__ == "__main__":
    main()
