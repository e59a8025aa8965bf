"""A supernet's ranking of networks against NAS-Bench-Macro, a table of trainings that others published.

    python tools/study_nas_bench_macro.py --out runs/nas_bench_macro
    python tools/study_nas_bench_macro.py --costs

A supernet of the table's space is trained on CIFAR-10, small: at --pixels and --width instead of 32 pixels and the whole
width. It scores networks of the table, spread over all costs, on held-out training images with batch normalisation
recalibrated. What each score is worth against the mean of the table's three accuracies is printed beside what needs none:
  loss, accuracy   of the path in the supernet
  loss and depth   loss + --depth-weight x layers that are not skipped, both standardised; the weight is a guess made beforehand
  depth, cost      layers that are not skipped; multiply-adds
  N trainings      a predictor of N of the scored networks, each with one training of the table; also with the loss as a feature
  N own trainings  the same with trainings of our own on the supernet's images, for --own N: of --own-epochs each
  ceiling          one training of each network against the mean of its other two
  random           regrets of networks drawn at random
Intervals of 95 %: with one seed over networks (of regrets, over windows) drawn with replacement, with several over the
trainings of the supernet (Student's t), of N trainings over draws of them.

--tiny takes minutes, the default about 25 minutes of a processor, --full hours. A training goes on from its last checkpoint
and scores are kept, in OUT; a finished one is a row of OUT/results.jsonl and not computed again. Every row is shown in a
table; the last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import sys
import time

import numpy as np

from measuring import Rows, parse, report, use_threads
from nas_bench_macro import (
    CLASSES,
    FIGURES,
    SPACE,
    Ranking,
    Table,
    default_path,
    equal_costs,
    load_table,
    over_seeds,
    plain_figures,
    standardised,
)
from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json
from scarlet_tf.base.logs import log_to_terminal, quiet_frameworks
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import RetrainConfig, SupernetConfig
from study_race import predict, predictor_figures

SAMPLINGS = {"strict": "strict_fair", "uniform": "uniform", "sandwich": "sandwich"}
DEFAULT = {"epochs": 20, "images": 10_240, "held_out": 1500, "networks": 300, "seeds": [0]}
PRESETS = {
    "tiny": {"epochs": 6, "images": 4096, "held_out": 1000, "networks": 150, "seeds": [0]},
    "full": {"epochs": 40, "images": 30_720, "held_out": 5000, "networks": 1000, "seeds": [0, 1, 2]},
}
CELL = (
    *("pixels", "width", "tail", "epochs", "images", "sampling", "learning_rate", "skip", "batch_size", "weight_decay"),
    *("warmup", "clip_norm", "distillation", "batches", "held_out", "networks", "draw"),
)
"""Options that a row of the results is known by, beside its seed."""
LEAST = {"epochs": 1, "draws": 1, "resamples": 0, "batches": 1, "draw": 0, "threads": 1, "own": 0, "own_epochs": 0}
GROUP = 25
"""Networks that are scored at once."""


# -- the supernet --------------------------------------------------------------------------------------------------


class Meter:
    """Processor seconds of all processes that worked on something, in a file; a killed one loses those since its last `save`."""

    def __init__(self, file: pathlib.Path):
        self._file, self._started = file, time.process_time()
        self._before = read_json(file)["cpu_seconds"] if file.exists() else 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self._before + time.process_time() - self._started

    def save(self, *_) -> None:
        """Write them down."""
        write_json(self._file, {"cpu_seconds": round(self.seconds, 1)})


def settings_of(cell: dict) -> tuple[DataConfig, SupernetConfig]:
    """The images and the training of a cell; InputError for values that cannot be."""
    data = DataConfig(
        source="tfds",
        name="cifar10",
        directory=cell["data"] or None,
        image_size=cell["pixels"],
        validation_examples=cell["held_out"],
        max_train_examples=cell["images"],
        augmentation="crop_flip",
        seed=cell["seed"],
    )
    keys = ("epochs", "learning_rate", "skip", "batch_size", "weight_decay", "clip_norm", "distillation", "seed")
    shared = {key: cell[key] for key in keys}
    more = {"sampling": SAMPLINGS[cell["sampling"]], "warmup_epochs": cell["warmup"]}
    return data, SupernetConfig(**shared, **more, checkpoint_seconds=30.0)


def space_of(cell: dict) -> SearchSpace:
    """The table's space with the cell's widths and images."""
    small = {"width_multiplier": cell["width"], "tail_channels": cell["tail"], "input_size": cell["pixels"]}
    return dataclasses.replace(SPACE, **small)


def scored(cell: dict, networks: np.ndarray, folder: pathlib.Path) -> dict:
    """{"losses", "accuracies", one of each network, "cpu_minutes", of them "training_cpu_minutes"}; resumes in its folder."""
    import keras

    import scarlet_tf as st
    from scarlet_tf.assessment.store import Store
    from scarlet_tf.data.datasets import load_dataset
    from scarlet_tf.training.supernet import new_supernet

    data_config, config = settings_of(cell)
    space = space_of(cell)
    folder.mkdir(parents=True, exist_ok=True)
    meter, training = Meter(folder / "cpu.json"), folder / "training.json"
    data = load_dataset(data_config)
    supernet = new_supernet(config, space, (cell["pixels"], cell["pixels"], 3), data.num_classes)
    watch = keras.callbacks.LambdaCallback(on_epoch_end=meter.save)
    st.train_supernet(supernet, data.train, config, run_dir=folder, callbacks=[watch])
    meter.save()
    if not training.exists():
        write_json(training, {"cpu_seconds": meter.seconds})
    recalibration = {"recalibration_data": data.train, "recalibration_batches": cell["batches"]}
    evaluator = st.Evaluator(supernet, data.validation, **recalibration, group_size=GROUP, seed=cell["seed"])
    store = Store(folder, "scores", {"batches": cell["batches"], "held_out": cell["held_out"]})
    names = ["".join(map(str, network)) for network in networks.tolist()]
    missing = sorted(name for name in names if store.known(name) is None)
    evaluator.begin_generation([tuple(map(int, name)) for name in missing])
    for number, name in enumerate(missing):
        store.put(name, evaluator.evaluate(tuple(map(int, name))))
        if number % GROUP == 0:
            meter.save()
    found = [read_json(store.path(name)) for name in names]
    return {
        "losses": [round(figures["loss"], 6) for figures in found],
        "accuracies": [figures["accuracy"] for figures in found],
        "cpu_minutes": round(meter.seconds / 60, 2),
        "training_cpu_minutes": round(read_json(training)["cpu_seconds"] / 60, 2),
    }


def trained_alone(cell: dict, epochs: int, networks: np.ndarray, folder: pathlib.Path) -> tuple[np.ndarray, float]:
    """(accuracies [N] of networks [N, 8] trained on the cell's images, CPU minutes); resumes in its folder."""
    from scarlet_tf.assessment.ranking import train_alone
    from scarlet_tf.data.datasets import load_dataset

    folder.mkdir(parents=True, exist_ok=True)
    meter, space = Meter(folder / "cpu.json"), space_of(cell)
    data = load_dataset(settings_of(cell)[0])
    config = RetrainConfig(
        epochs=epochs,
        batch_size=cell["batch_size"],
        weight_decay=cell["weight_decay"],
        seed=cell["seed"],
        optimizer="sgd",
        learning_rate=0.1,
        schedule="cosine",
        warmup_epochs=min(1.0, epochs / 4),
        ema=0.0,
        validate_every_epochs=epochs + 1,
    )
    accuracies = []
    for network in networks.tolist():
        alone = [Architecture(tuple(network), space)]
        found = train_alone(alone, data.train, data.validation, config, folder, (cell["pixels"],) * 2 + (3,), CLASSES)
        accuracies.append(found[0]["accuracy"])
        meter.save()
    return np.array(accuracies), meter.seconds / 60


# -- what its scores are worth -------------------------------------------------------------------------------------


def scores_of(row: dict, depths: np.ndarray, weight: float) -> dict[str, np.ndarray]:
    """{way: score [N], more is better} of a supernet."""
    losses = -np.asarray(row["losses"])
    both = standardised(losses) + weight * standardised(depths)
    return {"loss": losses, "accuracy": np.asarray(row["accuracies"]), "loss and depth": both}


def supernet_figures(rows: list[dict], table: Table, weight: float, resamples: int) -> dict[str, dict]:
    """{way: its figures} of a supernet's scores, over the seeds of its trainings."""
    ranking = Ranking(table.accuracies.mean(axis=1), table.multiply_adds, resamples)
    scores = [scores_of(row, table.depths, weight) for row in rows]
    return {way: over_seeds([ranking.curves(each[way]) for each in scores]) for way in scores[0]}


def own_figures(cell: dict, losses: list, table: Table, options) -> tuple[dict[str, dict], float]:
    """({way: figures} of predictors of networks trained here, without and with the losses of a supernet; CPU minutes)."""
    from scarlet_tf.assessment.store import digest

    keys = ("pixels", "width", "tail", "images", "batch_size", "weight_decay", "held_out", "data", "seed")
    rng = np.random.default_rng(options.draw)
    known = np.array([rng.choice(part) for part in np.array_split(np.arange(options.networks), options.own)])
    others = np.setdiff1d(np.arange(options.networks), known)
    epochs = options.own_epochs or cell["epochs"]
    folder = pathlib.Path(options.out) / f"own-{digest({key: cell[key] for key in keys} | {'epochs': epochs})}"
    trained = np.zeros(options.networks)
    trained[known], minutes = trained_alone(cell, epochs, table.networks[known], folder)
    ranking = Ranking(table.accuracies.mean(axis=1)[others], table.multiply_adds[others], options.resamples)
    ways = {f"{options.own} own trainings": None, f"{options.own} own trainings and loss": -np.asarray(losses)}
    found = {way: ranking.curves(predict(table, trained, known, others, scores)) for way, scores in ways.items()}
    return {way: over_seeds([curves]) for way, curves in found.items()}, minutes


# -- what is printed -----------------------------------------------------------------------------------------------


def print_tables(results: Rows, table: Table, options) -> None:
    """Print all rows that scored the same networks, seeds together, in Markdown."""
    groups: dict[str, list[dict]] = {}
    for row in results:
        if (row["networks"], row["draw"]) == (options.networks, options.draw):
            groups.setdefault(json.dumps({key: row[key] for key in CELL}), []).append(row)
    print("| px | width | tail | epochs | images | sampling | rate | skip | batch | decay | seeds | CPU min |", end="")
    print(" loss | accuracy | loss and depth |\n" + "|---" * 15 + "|")
    for group in groups.values():
        found = supernet_figures(group, table, options.depth_weight, 0)
        cells = [str(group[0][key]) for key in CELL[:10]]
        cells += [str(len(group)), f"{np.mean([row['cpu_minutes'] for row in group]):.1f}"]
        pairs = ((way["tau"][0], way["tau_window"][0]) for way in found.values())
        cells += [" / ".join("-" if tau is None else f"{tau:.2f}" for tau in pair) for pair in pairs]
        print(f"| {' | '.join(cells)} |")


def print_figures(figures: dict[str, dict]) -> None:
    """Print the figures of each way in Markdown."""
    print(f"\n| score | {' | '.join(FIGURES)} |\n{'|---' * (1 + len(FIGURES))}|")
    for way, found in figures.items():
        cells = []
        for name in FIGURES:
            value, low, high = found.get(name, [None] * 3)
            spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
            cells.append("-" if value is None else f"{value:.2f}{spread}")
        print(f"| {way} | {' | '.join(cells)} |")


def summary(figures: dict[str, dict], trainings: list[int]) -> dict:
    """The values alone, of the loss by their names, of other scores with the score's name in front."""
    names = {"accuracy": "accuracy", "loss and depth": "combined", "depth": "depth", "cost": "cost"}
    names |= {f"{min(trainings)} trainings": "additive", f"{min(trainings)} trainings and loss": "additive_loss"}
    names |= {"ceiling": "ceiling", "random": "random"}
    found = {name: value for name, (value, *_) in figures["loss"].items()}
    for way, prefix in names.items():
        found |= {f"{prefix}_{name}": value for name, (value, *_) in figures[way].items()}
    return found


def main() -> None:
    """Compute what is missing and print all."""
    options = parse(
        __doc__,
        table=(str(default_path()), "nas-bench-macro_cifar10.json"),
        costs=(False, "compare the costs of all networks with the table's, and end"),
        data=("", "folder of the prepared cifar10; by default under SCARLET_DATA_DIR"),
        out=("runs/nas_bench_macro", "folder of results and trainings"),
        tiny=(False, f"minutes: {PRESETS['tiny']}"),
        full=(False, f"hours: {PRESETS['full']}"),
        pixels=(16, "side of the supernet's images"),
        width=(0.5, "multiplier of the supernet's widths"),
        tail=(640, "channels of its last convolution; with 1,280 a rate of 0.03 is too great for strict sampling"),
        epochs={"type": int, "help": "passes over the training images"},
        images={"type": int, "help": "training images"},
        held_out={"type": int, "help": "of the other training images, to score on"},
        networks={"type": int, "help": "how many are scored"},
        seeds={"type": int, "nargs": "+", "help": "of the supernet's training, with other held-out images each"},
        sampling={"choices": list(SAMPLINGS), "default": "strict", "help": "paths of a step"},
        distillation=(0.0, "of sandwich sampling, as supernet.distillation"),
        learning_rate=(0.03, "at its greatest"),
        warmup=(1.0, "epochs in which it rises"),
        clip_norm=(0.0, "greatest norm of a step's gradients, 0 for any"),
        skip={"choices": ["let", "identity", "relu"], "default": "let", "help": "of layers that keep their shape"},
        batch_size=128,
        weight_decay=4e-5,
        batches=(6, "training batches to recalibrate batch normalisation on"),
        draw=(0, "seed of the scored networks"),
        depth_weight=(0.5, "of the depth beside the loss"),
        trainings=([12, 20, 40], "networks that predictors are fitted to"),
        draws=(100, "of these networks"),
        own=(0, "networks that are trained on their own here, for the first seed"),
        own_epochs=(0, "of each; 0: as the supernet's"),
        resamples=(2000, "of the intervals"),
        threads=(2, "of TensorFlow's operations"),
    )
    try:
        host.set_faster()
        quiet_frameworks()
        if options.costs:
            equal, number = equal_costs(options.table)
            print(json.dumps({"costs_equal": equal, "costs": number}))
            raise SystemExit(0 if equal == number else 1)
        study(options)
    except InputError as error:
        print(f"study_nas_bench_macro.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("study_nas_bench_macro.py: interrupted; the same command resumes", file=sys.stderr)
        raise SystemExit(130) from None


def study(options) -> None:
    """Compute and print; InputError for what is wrong with the options or the files."""
    from scarlet_tf.assessment.store import digest
    from scarlet_tf.run.folder import alone_in

    complete(options)
    whole = load_table(options.table)
    check(options, len(whole.networks))
    table = whole.spread(options.networks, options.draw)
    cell = {key: getattr(options, key) for key in CELL} | {"data": options.data}
    cells = [{**cell, "seed": seed} for seed in options.seeds]
    for each in cells:
        settings_of(each)
    use_threads(options.threads)
    log_to_terminal()
    out = pathlib.Path(options.out)
    with alone_in(out):
        results = Rows(out / "results.jsonl")
        rows = [
            results.once(each, functools.partial(scored, each, table.networks, out / digest(each))) for each in cells
        ]
    figures = supernet_figures(rows, table, options.depth_weight, options.resamples)
    figures |= plain_figures(table, options.resamples)
    losses = [-np.asarray(row["losses"]) for row in rows]
    figures |= predictor_figures(table, losses, options.trainings, options.draws)
    own_minutes = 0.0
    if options.own:
        own, own_minutes = own_figures(cells[0], rows[0]["losses"], table, options)
        figures |= own
    print_tables(results, table, options)
    print_figures(figures)
    report(
        "nas_bench_macro",
        settings={**cell, "seeds": options.seeds, "depth_weight": options.depth_weight},
        windows=len(Ranking(table.depths, table.multiply_adds).windows),
        cpu_hours=round(sum(row["cpu_minutes"] for row in rows) / 60, 4),
        own_cpu_hours=round(own_minutes / 60, 4),
        **summary(figures, options.trainings),
        figures=figures,
    )


def complete(options) -> None:
    """Give options that were left open the values of the preset."""
    if options.tiny and options.full:
        raise InputError("--tiny: expected it without --full")
    preset = DEFAULT | (PRESETS["tiny"] if options.tiny else PRESETS["full"] if options.full else {})
    for name, value in preset.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def check(options, number: int) -> None:
    """InputError for numbers that cannot be scored or drawn."""
    if not 10 <= options.networks <= number:
        raise InputError(f"--networks: expected from 10 to {number}, got {options.networks}")
    if min(options.trainings) < 3 or max(options.trainings) > options.networks // 2:
        most = options.networks // 2
        raise InputError(f"--trainings: expected from 3 to {most}, half of the networks, got {options.trainings}")
    if len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
        raise InputError(f"--seeds: expected different integers >= 0, got {options.seeds}")
    if options.own and not 3 <= options.own <= options.networks // 2:
        raise InputError(f"--own: expected 0, or from 3 to {options.networks // 2}, got {options.own}")
    for key, least in LEAST.items():
        if getattr(options, key) < least:
            raise InputError(f"--{key}: expected at least {least}, got {getattr(options, key)}")


if __name__ == "__main__":
    main()
