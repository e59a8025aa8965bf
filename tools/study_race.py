"""A predictor and a race of finalists, simulated on the published trainings of NAS-Bench-Macro: nothing is trained.

    python tools/study_race.py --data nas-bench-macro_cifar10.json

A training of a network is one of its three published ones, drawn anew in every simulation; its true accuracy is the mean of the
other two.

Predictor: fitted to so many trained networks, it orders all others. Kendall's tau over all, and the mean over windows of 5 M
multiply-adds, with the interval of 95 % of the draws.

Race: networks within 5 M multiply-adds below a budget. Finalists are the best by a made-up score whose tau is given; they and
plain networks (the greatest uniform one and the deepest within the budget, and a random one) are trained, and the best of them is
taken. Regret: points of accuracy below the best of the window. The table has no stops in the middle of a training, so
the race has no rungs here. The last line is JSON.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator

import numpy as np
from scipy import stats

from measuring import parse, report
from nas_bench_macro import SPACE, WINDOW, Ranking, Table, costs, default_path, load_table, over_seeds
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.objectives import CostModel
from scarlet_tf.search.predictor import Predictor

FEWEST = 20
"""Networks that a window needs to have a tau."""


# -- the predictor -------------------------------------------------------------------------------------------------


def taus(predicted: np.ndarray, truth: np.ndarray, multiply_adds: np.ndarray) -> tuple[float, float]:
    """(Kendall's tau over all networks, its mean over windows of costs, each weighted by its networks)."""
    found, sizes = [], []
    windows = multiply_adds // WINDOW
    for window in np.unique(windows):
        inside = windows == window
        if inside.sum() >= FEWEST:
            found.append(stats.kendalltau(predicted[inside], truth[inside]).statistic)
            sizes.append(inside.sum())
    within = float(np.average(np.nan_to_num(found), weights=sizes)) if sizes else float("nan")
    return float(np.nan_to_num(stats.kendalltau(predicted, truth).statistic)), within


def draw(table: Table, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(accuracy of one training of each network [N], mean of its other two [N])."""
    seeds = rng.integers(table.accuracies.shape[1], size=len(table.networks))
    trained = table.accuracies[np.arange(len(seeds)), seeds]
    return trained, (table.accuracies.sum(axis=1) - trained) / (table.accuracies.shape[1] - 1)


def score_of(truth: np.ndarray, tau: float, rng: np.random.Generator) -> np.ndarray:
    """A score [N] of that Kendall's tau: bivariate normal with the ranks of `truth`, where tau = 2 / pi * arcsin(correlation)."""
    ranks = stats.norm.ppf((stats.rankdata(truth, "ordinal") - 0.5) / len(truth))
    correlation = np.sin(np.pi * tau / 2)
    return correlation * ranks + np.sqrt(1 - correlation**2) * rng.normal(size=len(truth))


def predict(table: Table, trained: np.ndarray, known, others, scores: np.ndarray | None = None) -> np.ndarray:
    """Accuracies of the networks `others`, indices into the table, by a predictor of those `known`, with their scores."""
    given, rest = (None, None) if scores is None else (scores[known], scores[others])
    return Predictor(_figures(), table.networks[known], trained[known], given).predict(table.networks[others], rest)


@functools.cache
def _figures() -> CostModel:
    return CostModel(costs())


def predictor_rows(table: Table, trainings: list[int], draws: int, tau: float, seed: int) -> list[dict]:
    """[{"way", "trainings", "all", "windows"}]: mean, low and high of both taus, of predictors and of what they compete with."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        trained, truth = draw(table, rng)
        score = score_of(truth, tau, rng)
        ways = {("one training of each", 0): trained, ("score alone", 0): score}
        ways |= {("multiply-adds", 0): table.multiply_adds, ("layers not skipped", 0): table.depths}
        for way, values in ways.items():
            found.setdefault(way, []).append(taus(values, truth, table.multiply_adds))
        order = rng.permutation(len(truth))
        for count in trainings:
            known, others = order[:count], order[count:]
            for way, scores in (("predictor", None), ("predictor with score", score)):
                predicted = predict(table, trained, known, others, scores)
                pair = taus(predicted, truth[others], table.multiply_adds[others])
                found.setdefault((way, count), []).append(pair)
    rows = []
    for (way, count), pairs in found.items():
        overall, windows = (spread(values) for values in np.transpose(pairs))
        rows.append({"way": way, "trainings": count, "all": overall, "windows": windows})
    return rows


def predictor_figures(table: Table, losses: list[np.ndarray], trainings: list[int], draws: int) -> dict[str, dict]:
    """{way: its figures} of predictors fitted to so many trained networks, without and with a loss [N] as a feature."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for number in range(draws):
        rng = np.random.default_rng([1, number])
        trained, truth = draw(table, rng)
        order = rng.permutation(len(truth))
        for count in trainings:
            known, others = order[:count], order[count:]
            ranking = Ranking(truth[others], table.multiply_adds[others])
            for way, score in (("", None), (" and loss", losses[number % len(losses)])):
                predicted = predict(table, trained, known, others, score)
                found.setdefault(f"{count} trainings{way}", []).append(ranking.curves(predicted))
    return {way: over_seeds([_mean_and_draws(curves)]) for way, curves in found.items()}


def _mean_and_draws(curves: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    values = {name: np.array([curve[name][0] for curve in curves]) for name in curves[0]}
    return {name: np.array([found.mean(), *found]) for name, found in values.items()}


def spread(values: np.ndarray) -> list[float]:
    """[mean, and the interval of 95 % of the values]."""
    return [round(float(v), 4) for v in (np.mean(values), *np.quantile(values, [0.025, 0.975]))]


# -- the race ------------------------------------------------------------------------------------------------------


class Race:
    """Simulations of a race within `budget` multiply-adds; `more` trainings after it are proposed by a predictor."""

    def __init__(self, table: Table, budget: float, finalists: int, more: int):
        self.table, self.finalists, self.more = table, finalists, more
        fits = table.multiply_adds < budget
        self.inside = np.flatnonzero(fits & (table.multiply_adds >= budget - WINDOW))
        uniform = (table.networks == table.networks[:, :1]).all(axis=1) & (table.depths > 0)
        by_depth = np.lexsort([table.multiply_adds, table.depths])
        by_cost = np.argsort(table.multiply_adds)
        self.uniform = by_cost[(fits & uniform)[by_cost]][-1:].tolist()
        self.deepest = by_depth[fits[by_depth]][-1:].tolist()

    def simulate(self, tau: float, rng: np.random.Generator, predict: bool) -> Iterator[tuple[str, int, float]]:
        """(way to come to a network, networks trained, regret in points) of each way, by a score of that tau."""
        trained, truth = draw(self.table, rng)
        score = np.zeros(len(truth))  # the mean, for networks outside the window
        score[self.inside] = score_of(truth[self.inside], tau, rng)
        finalists = self.inside[np.argsort(-score[self.inside])][: self.finalists].tolist()
        drawn, best = rng.permutation(self.inside).tolist(), truth[self.inside].max()
        plain = list(dict.fromkeys([*self.uniform, *self.deepest, drawn[0]]))
        race, alike = list(dict.fromkeys([*finalists, *plain])), self.finalists + 3
        ways = {
            "single pick by score": finalists[:1],
            "uniform": self.uniform,
            "deepest": self.deepest,
            "plain networks": plain,
            f"{self.finalists} finalists": finalists,
            "race: finalists and plain networks": race,
            "best of 5 random": drawn[:5],
            f"best of {alike} random": drawn[:alike],
        }
        if predict and self.more:
            ways[f"race, then {self.more} by predictor"] = self._further(race, trained, score)
            ways[f"best of {alike + self.more} random"] = drawn[: alike + self.more]
        for way, networks in ways.items():
            if networks:
                delivered = networks[int(np.argmax(trained[networks]))]
                yield way, len(networks), 100 * (best - truth[delivered])

    def _further(self, race: list[int], trained: np.ndarray, score: np.ndarray) -> list[int]:
        """The race's networks, and those that a predictor of all trained before, with their scores, proposes one by one."""
        taken, networks = list(race), self.table.networks
        for _ in range(self.more):
            left = np.setdiff1d(self.inside, taken)
            model = Predictor(_figures(), networks[taken], trained[taken], score[taken])
            taken.append(int(left[model.predict(networks[left], score[left]).argmax()]))
        return taken


def race_rows(table: Table, options) -> list[dict]:
    """[{"budget", "tau", "way", "trainings", "regret": mean, error of the mean, 95 % of simulations}]."""
    rows = []
    for budget in options.budgets:
        race = Race(table, budget * 1e6, options.finalists, options.more)
        for tau in options.taus:
            found: dict[str, list[tuple[int, float]]] = {}
            for number in range(options.seeds):
                rng = np.random.default_rng([options.seed, number])
                for way, trainings, regret in race.simulate(tau, rng, number < options.predictor_seeds):
                    found.setdefault(way, []).append((trainings, regret))
            for way, pairs in found.items():
                trainings, regrets = np.transpose(pairs)
                error = regrets.std(ddof=1) / np.sqrt(len(regrets)) if len(regrets) > 1 else 0.0
                figures = [round(float(v), 4) for v in (regrets.mean(), error, np.quantile(regrets, 0.95))]
                count = round(float(trainings.mean()), 2)
                rows.append({"budget": budget, "tau": tau, "way": way, "trainings": count, "regret": figures})
    return rows


# -- what is printed -----------------------------------------------------------------------------------------------


def print_tables(predictors: list[dict], races: list[dict]) -> None:
    """Print both tables in Markdown, budgets beside one another, a way that no score changes once."""
    print("| order by | trainings | tau, all (95 % of draws) | tau within windows |\n|---|---|---|---|")
    for row in predictors:
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*row[key]) for key in ("all", "windows")]
        print(f"| {row['way']} | {row['trainings'] or '-'} | {' | '.join(cells)} |")
    budgets = list(dict.fromkeys(row["budget"] for row in races))
    print(f"\n| way | tau of the score | trainings | {' | '.join(f'regret, {b:g} M (95 %)' for b in budgets)} |")
    print("|---" * (3 + len(budgets)) + "|")
    shown = set()
    for way, tau in sorted(dict.fromkeys((row["way"], row["tau"]) for row in races), key=lambda pair: pair[0]):
        same = {row["budget"]: row for row in races if (row["tau"], row["way"]) == (tau, way)}
        cells = ["{0:.2f} ({2:.2f})".format(*same[b]["regret"]) if b in same else "-" for b in budgets]
        if (
            line := f"| {way} | {{}} | {max(row['trainings'] for row in same.values()):.3g} | {' | '.join(cells)} |"
        ) not in shown:
            free = way in ("uniform", "deepest", "plain networks") or way.startswith("best of")
            print(line.format("-" if free else f"{tau:g}"))
        shown.add(line)


def main() -> None:
    """Simulate and print."""
    options = parse(
        __doc__,
        data=(str(default_path()), "nas-bench-macro_cifar10.json"),
        trainings=([12, 20, 40], "networks that predictors are fitted to"),
        draws=(100, "of the trained networks"),
        score_tau=(0.5, "of the score that a predictor gets"),
        budgets=([40.0, 55.0, 70.0, 85.0], "million multiply-adds"),
        taus=([0.0, 0.25, 0.5], "of the score that finalists are chosen by"),
        finalists=(4, "by the score"),
        more=(5, "trainings after the race, proposed by a predictor one by one"),
        seeds=(1000, "simulations of the race"),
        predictor_seeds=(200, "of them, with the predictor"),
        seed=0,
    )
    try:
        table = load_table(options.data)
        check(table, options)
    except InputError as error:
        print(f"study_race.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    predictors = predictor_rows(table, options.trainings, options.draws, options.score_tau, options.seed)
    races = race_rows(table, options)
    print_tables(predictors, races)
    report("race", space=SPACE.name, networks=len(table.networks), **vars(options), predictors=predictors, races=races)


def check(table: Table, options) -> None:
    """InputError for numbers that cannot be simulated."""
    if min(options.trainings) < 3 or max(options.trainings) > len(table.networks) // 2:
        raise InputError(f"--trainings: expected from 3 to {len(table.networks) // 2}, got {options.trainings}")
    for key in ("draws", "finalists", "seeds"):
        if getattr(options, key) < 1:
            raise InputError(f"--{key}: expected at least 1, got {getattr(options, key)}")
    for key, values in (("--taus", options.taus), ("--score-tau", [options.score_tau])):
        if not all(0 <= tau < 1 for tau in values):
            raise InputError(f"{key}: expected numbers from 0 to below 1, got {values}")
    most = options.finalists + 3 + max(0, options.more)
    for budget in options.budgets:
        fits = (table.multiply_adds < budget * 1e6) & (table.multiply_adds >= budget * 1e6 - WINDOW)
        if fits.sum() < max(FEWEST, 2 * most):
            raise InputError(
                f"--budgets: expected at least {max(FEWEST, 2 * most)} networks within {WINDOW / 1e6:g} M below each,"
                f" got {fits.sum()} below {budget:g} M"
            )


if __name__ == "__main__":
    main()
