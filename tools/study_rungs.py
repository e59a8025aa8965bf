"""Which rule tells at a race's rung what will come of a network: networks of a recipe, each trained to its end.

    python tools/study_rungs.py --config configs/digits.yaml --out runs/rungs

The networks lie within the recipe's bounds, from half of the greatest cost that the draw met up to it, spread over the costs.
Each is trained by every seed; at each rung (race.rungs) its validation figures are taken of the averaged weights, as a race
does, and of the weights as they are ("raw"), BN statistics measured again. Rules: the most accurate first, of equals the one of
least loss; the one of least loss first. Figures of each, rungs counted from 0:
  tau_last, tau_test, tau_test_loss   Kendall's tau of the order with the last rung's, and with the test figures at the end
  regret, regret_half   points of test accuracy at the end that the first one, and the best of the better half, lack of the best
  regret_race           those that the winner lacks where the better half goes on from each rung
Means over seeds; intervals: 95 % of resamples of the networks; "difference": of the rules, loss less accuracy, on the same
resamples. Trainings are kept in OUT/results.jsonl and not done again; the last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import sys

from measuring import Rows, parse, report, use_threads
from scarlet_tf.base.logs import log_to_terminal, quiet_frameworks

quiet_frameworks()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

import scarlet_tf as st  # noqa: E402
from scarlet_tf.base.errors import InputError  # noqa: E402
from scarlet_tf.config import Config, load_config  # noqa: E402
from scarlet_tf.data.datasets import load_dataset  # noqa: E402
from scarlet_tf.evaluation.scoring import evaluate, inference  # noqa: E402
from scarlet_tf.search.budget import Budget  # noqa: E402
from scarlet_tf.search.objectives import cost_model_and_objectives  # noqa: E402
from scarlet_tf.space.cost import cost_table  # noqa: E402
from scarlet_tf.space.equivalence import canonical  # noqa: E402
from scarlet_tf.training.network import recalibrate_network, retrain  # noqa: E402

POOL, RULES, FORMS = 1000, ("accuracy", "loss"), ("averaged", "raw")


def drawn(budget: Budget, count: int, seed: int) -> list[tuple[int, ...]]:
    """`count` networks within the budget, one of each part of the draw by rising cost."""
    rng = np.random.default_rng(seed)
    pool = np.unique(canonical(budget.sample(POOL, rng), budget.cost_model.costs.space), axis=0)
    costs = np.asarray(budget.cost_model.of(pool)["multiply_adds"])
    order = np.argsort(costs, kind="stable")
    order = order[costs[order] >= costs.max() / 2]
    if not 2 <= count <= len(order):
        raise InputError(f"--networks: expected from 2 to {len(order)}, which the draw has, got {count}")
    return [tuple(pool[rng.choice(part)].tolist()) for part in np.array_split(order, count)]


class Snapshots(keras.callbacks.Callback):
    """The weights after `goals` steps, averaged and as they are: [{form: weights}]."""

    def __init__(self, goals: list[int]):
        super().__init__()
        self.goals, self.steps = goals, 0
        self.found: list[dict[str, list]] = []

    def on_train_batch_end(self, batch, logs=None):
        """Keep both forms; the training goes on with the weights as they are."""
        self.steps += 1
        if self.steps in self.goals:
            raw = [array.copy() for array in self.model.get_weights()]
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
            averaged = [array.copy() for array in self.model.get_weights()]
            self.model.set_weights(raw)
            self.found.append({"averaged": averaged, "raw": raw})


def trained(network: st.Architecture, data, settings: st.RetrainConfig, shares) -> dict:
    """{form: [validation figures at each rung]} and the test figures at the end, of one training."""
    size = settings.batch_size
    total = data.train.steps_per_epoch(size) * settings.epochs
    snapshots = Snapshots([max(1, math.ceil(share * total)) for share in shares])
    model, _ = retrain(
        network, data.train, data.validation, settings, num_classes=data.num_classes, callbacks=[snapshots]
    )
    forward = inference(model)
    found: dict = {"test": evaluate(model, data.test.batches(size), forward), **{form: [] for form in FORMS}}
    for snapshot in snapshots.found:
        for form, weights in snapshot.items():
            model.set_weights(weights)
            recalibrate_network(model, data.train, size, settings.recalibration_batches, settings.seed, settings.epochs)
            found[form].append(evaluate(model, data.validation.batches(size), forward))
    return found


def trainings(config: Config, options, file: pathlib.Path) -> list[list[dict]]:
    """A list for each seed with a row of each network; what `file` has is not trained again."""
    if config.parent.name is not None or config.retrain.teacher is not None:
        raise InputError(f"{options.config}: expected a recipe whose networks start from scratch, without a teacher")
    data = load_dataset(config.data)
    costs = cost_table(config.space, config.data.image_size, data.num_classes)
    budget = Budget(*cost_model_and_objectives(costs, **config.search.objective_settings(costs)))
    networks = [st.Architecture(genome, config.space) for genome in drawn(budget, options.networks, options.draw)]
    rows, found = Rows(file), []
    for seed in options.seeds:
        changes = {"seed": seed, "init": "scratch", "validate_every_epochs": config.retrain.epochs}
        own, key = dataclasses.replace(config.retrain, **changes), {"config": options.config, "set": options.set}
        found.append(
            [
                rows.once(
                    {**key, "network": network.to_string(), "seed": seed},
                    functools.partial(trained, network, data, own, config.race.rungs),
                )
                for network in networks
            ]
        )
    return found


def order(rows: list[dict], form: str, rule: str, rung: int) -> np.ndarray:
    """Indices of the networks by the rule, the best first."""
    accuracy, loss = (np.array([row[form][rung][key] for row in rows]) for key in ("accuracy", "loss"))
    return np.lexsort((loss, -accuracy) if rule == "accuracy" else (-accuracy, loss))


def told(rows: list[dict], form: str, rule: str) -> dict[str, float]:
    """Figures of one seed's trainings: of each rung, and of a race; not a number where networks are all equal."""
    test, loss = (np.array([row["test"][key] for row in rows]) for key in ("accuracy", "loss"))
    orders = [order(rows, form, rule, rung) for rung in range(len(rows[0][form]))]
    found, going = {}, list(range(len(rows)))
    for rung, each in enumerate(orders):
        half = each[: -(-len(each) // 2)]
        for name, truth in (("last", -np.argsort(orders[-1])), ("test", test), ("test_loss", -loss)):
            found[f"tau_{name}_{rung}"] = float(stats.kendalltau(-np.argsort(each), truth).statistic)
        found[f"regret_{rung}"] = 100 * float(test.max() - test[each[0]])
        found[f"regret_half_{rung}"] = 100 * float(test.max() - test[half].max())
        ranked = [index for index in each if index in going]
        going = ranked[: -(-len(ranked) // 2)]
    return {**found, "regret_race": 100 * float(test.max() - test[going[0]])}


def studied(found: list[list[dict]], resamples: int, seed: int) -> list[dict]:
    """A row for each form of the weights and figure: [value, low, high] by each rule, and of the rules' difference."""
    rng, count = np.random.default_rng(seed), len(found[0])
    draws = [np.arange(count), *rng.integers(count, size=(resamples, count))]
    rows = []
    for form in FORMS:
        by = {
            rule: [[told([one[i] for i in chosen], form, rule) for one in found] for chosen in draws] for rule in RULES
        }
        for key in by["loss"][0][0]:
            of = {rule: np.array([[one[key] for one in draw] for draw in by[rule]]) for rule in RULES}
            of["difference"] = of["loss"] - of["accuracy"]
            rows.append({"weights": form, "figure": key, **{name: interval(each) for name, each in of.items()}})
    return rows


def interval(values: np.ndarray) -> list[float]:
    """[value, low, high] of values [draws, seeds]: the mean of the first draw, and what 95 % of the others' lie between."""
    means = np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)
    ends = np.nanquantile(means[1:], [0.025, 0.975]) if len(means) > 1 else means[[0, 0]]
    return [round(float(value), 4) for value in (means[0], *ends)]


def main() -> None:
    """Train what is missing and print what the rungs told."""
    options = parse(
        __doc__,
        config=("configs/digits.yaml", "recipe"),
        set=([""], "changes of the recipe, key=value"),
        out=("runs/rungs", "folder of the results"),
        networks=(12, "trained by each seed"),
        seeds=([0, 1, 2], "of the trainings"),
        draw=(0, "seed of the networks"),
        resamples=(500, "of the intervals"),
        threads=(1, "of TensorFlow's operations"),
    )
    use_threads(options.threads)
    log_to_terminal()
    file = pathlib.Path(options.out) / "results.jsonl"
    try:
        config = load_config(options.config, [change for change in options.set if change])
        found = trainings(config, options, file)
    except InputError as error:
        print(f"study_rungs.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    rows = studied(found, options.resamples, options.draw)
    print("| weights | figure | accuracy first | loss first | difference |\n|---|---|---|---|---|")
    for row in rows:
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*row[key]) for key in (*RULES, "difference")]
        print(f"| {row['weights']} | {row['figure']} | {' | '.join(cells)} |")
    report("rungs", **vars(options), rungs=config.race.rungs, figures=rows)


if __name__ == "__main__":
    main()
