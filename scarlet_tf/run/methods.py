"""Methods: the ways in which a run comes to its network, and the checks of each before anything is trained."""

from __future__ import annotations

import abc
import functools
import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar

from scarlet_tf.base.cluster import search_role
from scarlet_tf.base.errors import InputError
from scarlet_tf.betanas.derive import derive
from scarlet_tf.betanas.training import check_betanas, train_betanas
from scarlet_tf.config import MAY_DIFFER, Config
from scarlet_tf.config.from_parent import parent_in
from scarlet_tf.latency.correction import LATENCY
from scarlet_tf.latency.finalists import measure_finalists
from scarlet_tf.latency.table import table_runner
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.parents.warm_start import warm_start
from scarlet_tf.report.record import View
from scarlet_tf.report.views import BetaNASView, FinetuneView, SearchView
from scarlet_tf.results import InputSizes, NetworkResult, SupernetResult, to_json
from scarlet_tf.run.folder import Run
from scarlet_tf.run.networks import SourceNetwork, load_source
from scarlet_tf.run.scoring import PredictedScores, check_ranking, scores_of, settle_size, warn_of_few_steps
from scarlet_tf.search.front import check_picks_of
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.objectives import CostModel, Objectives, check_known, cost_model_and_objectives
from scarlet_tf.search.run import SearchResult, search
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.training.devices import copy_variables
from scarlet_tf.training.network_step import load_teacher
from scarlet_tf.training.supernet import new_supernet, train_supernet

logger = logging.getLogger("scarlet_tf")
WARM_START_BATCH = 64
PARENT = "parent"
"""The value of `retrain.teacher` that is the parent's path in the supernet."""


class Method(abc.ABC):
    """A way to a trained network: its stages, and the sections of the configuration that describe them.

    stages: before "optimize" and "export". trainings: sections whose batches must not exceed the training images.
    seeded: sections whose seeds the certificate states. view: how the page shows such runs.
    """

    stages: ClassVar[tuple[str, ...]]
    trainings: ClassVar[tuple[str, ...]]
    seeded: ClassVar[tuple[str, ...]]
    view: ClassVar[View]

    @abc.abstractmethod
    def examine(self, run: Run) -> None:
        """Refuse settings at which a stage of this method would fail, before anything is trained."""

    @abc.abstractmethod
    def account(self, run: Run) -> dict[str, Any]:
        """Figures of a finished run, in plain JSON types, that say where its network came from."""


class SupernetSearch(Method):
    """A fair supernet, a search among its paths, and a training of its own for one of them."""

    stages = ("train-supernet", "search", "race", "retrain")
    trainings = ("supernet", "retrain")
    seeded = ("supernet", "search", "race", "retrain")
    view: ClassVar[View] = SearchView()

    def examine(self, run: Run) -> None:
        self._check_search(run)
        self._check_supernet(run)
        names, pick = self.pick_names(run.config), run.config.retrain.pick
        if pick != "best" and str(pick) not in names:
            raise InputError(f"retrain.pick: expected best or one of search.picks, {', '.join(names)}, got {pick!r}")
        teacher = run.config.retrain.teacher
        if teacher == PARENT and run.config.parent.name is None:
            raise InputError("retrain.teacher: expected a .keras file or null, since parent.name is null, got parent")
        if teacher not in (None, PARENT):
            load_teacher(teacher, run.input_shape, run.data.num_classes)

    def _check_supernet(self, run: Run) -> None:
        """Refuse a supernet that is smaller than the networks to be found where its own weights or costs are needed."""
        config, wanted = run.config, run.config.supernet
        if config.of_supernet is config:
            return
        key, value = ("image_size", wanted.image_size)
        if wanted.width_multiplier != 1:
            key, value = "width_multiplier", wanted.width_multiplier
        reasons = {
            "parent.name, whose weights it starts from": config.parent.name,
            "search.input_sizes": config.search.input_sizes,
            "search.algorithm: betanas, which weighs its costs": config.search.is_betanas,
            "search.halving_loss": config.search.halving_loss,
            "retrain.init: supernet, whose weights the network takes": config.retrain.init == "supernet",
        }
        for reason, is_there in reasons.items():
            if is_there:
                raise InputError(f"supernet.{key}: expected the network's own with {reason}, got {value!r}")

    def _check_search(self, run: Run) -> None:
        config = run.config.search
        if config.score == "predictor":
            if run.config.parent.name is not None:
                raise InputError("search.score: expected loss or accuracy with parent.name, got predictor")
            check_ranking(run)
        if run.config.without_supernet and run.config.retrain.init == "supernet":
            raise InputError(
                "retrain.init: expected scratch with supernet.epochs: 0, which trains no supernet, got supernet"
            )
        cost_model, objectives = cost_model_and_objectives(run.costs, **config.objective_settings(run.costs))
        self._check_objectives(run.config, cost_model, objectives)
        check_picks_of(config.picks, run.config.space, ("accuracy", *cost_model.names))
        budget, greatest = config.budget, cost_model.bounds["multiply_adds"][1]
        begins = not (run.folder / "config.yaml").exists()  # logged once
        if begins:
            warn_of_few_steps(run)
        if begins and budget is not None and budget > greatest:
            logger.warning(
                "search.upper_bounds.multiply_adds: %g M excludes nothing: the greatest network of the space costs %.2f M",
                budget / 1e6,
                greatest / 1e6,
            )

    @staticmethod
    def _check_alone(config) -> None:
        """Refuse what a search of several processes cannot do; their race and ranking can."""
        if search_role() == "alone":
            return
        if config.input_sizes:
            raise InputError(
                "search.input_sizes: expected none in a search of several processes, which have one supernet"
            )
        if config.score == "predictor":
            raise InputError("search.score: expected loss or accuracy in a search of several processes, got predictor")

    def _check_objectives(self, config: Config, cost_model: CostModel, objectives: Objectives) -> None:
        check_known(cost_model, objectives)

    def pick_names(self, config: Config) -> list[str]:
        """Names of the picks that the search makes, if the front has enough networks."""
        picks = config.search.picks
        return list(picks) if isinstance(picks, dict) else [str(i) for i in range(picks)]

    def context(self, run: Run) -> dict[str, Any]:
        """The facts that determine a path's accuracy, the dataset and the training settings: measurements belong to them."""
        resolved = run.config.to_dict()["supernet"]
        decisive = {key: value for key, value in resolved.items() if f"supernet.{key}" not in MAY_DIFFER}
        found = {"dataset": run.data.fingerprint, "supernet": decisive}
        parent = run.config.parent
        return found if parent.name is None else {**found, "parent": parent_in(parent).fingerprint}

    def train(self, run: Run, supernet: Supernet) -> dict:
        """Train the supernet, or restore it from its last checkpoint; return the figures of the training."""
        if run.config.without_supernet:
            count = run.config.ranking.architectures
            logger.info(
                "supernet.epochs: 0: none is trained; a model of %d networks' trainings compares networks", count
            )
            return {"history": [], "steps": 0}
        return self._train(run, supernet, train_supernet)

    def _train(self, run: Run, supernet: Supernet, training: Callable[..., dict], **further: Any) -> dict:
        return training(
            supernet,
            run.of_supernet.plain_train,
            validation_data=run.of_supernet.data.validation,
            config=run.config.supernet,
            strategy=run.strategy,
            run_dir=run.folder,
            max_hours=run.max_hours,
            callbacks=run.callbacks,
            **further,
        )

    def choose(self, run: Run, trained: SupernetResult) -> SearchResult | None:
        """The networks that the search found; None in a worker of a search that several processes share."""
        self._check_alone(run.config.search)
        began, hours = time.monotonic(), run.max_hours
        if run.config.search.input_sizes:
            settle_size(run, self.context(run), trained_supernet)
            hours = None if hours is None else max(hours - (time.monotonic() - began) / 3600, 0.0)
        supernet, _ = trained_supernet(run)
        context, evaluator = self.context(run), None
        if run.config.search.score == "predictor":
            evaluator = scores_of(run, supernet, context)
            assert isinstance(evaluator, PredictedScores)
            context |= {"predictor": evaluator.fitted_to}
        # Once a network was trained from it, the front is only rewritten from the evaluated networks.
        is_used = (run.network_file.parent.exists() or run.has_raced) and (run.folder / "search" / TRIALS).exists()
        return search(
            supernet,
            run.of_supernet.data.validation,
            run.config.search,
            run.folder,
            recalibration_data=run.of_supernet.plain_train,
            evaluator=evaluator,
            context=context,
            max_hours=0 if is_used else hours,
            costs=run.costs,
            finish=functools.partial(correct_latencies, run),
        )

    def account(self, run: Run) -> dict[str, Any]:
        found = run.get(SearchResult)
        accuracies = self._one_shot_accuracies(run, found)
        return {
            "budget_multiply_adds": run.config.search.budget,
            "bounds": run.config.search.objectives().bounds_in_words(),
            # Over every architecture that was evaluated, on the validation images.
            "supernet": {
                "known_by": run.config.known_by,
                "evaluated": len(accuracies),
                "mean_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
                "best_accuracy": max(accuracies, default=None),
            },
            "front": {
                "size": len(found.pareto),
                "picks": len(found.picks),
                "hypervolume": found.hypervolume[-1] if found.hypervolume else None,
            },
            **({} if (sizes := run.find(InputSizes)) is None else {"input_sizes": to_json(sizes)}),
        }

    def _one_shot_accuracies(self, run: Run, found: SearchResult) -> list[float]:
        """Accuracies of all evaluated networks. A damaged line of the journal is left out; the front does not need it."""
        path = run.folder / "search" / TRIALS
        lines = [line for line in (read_lines(path) if path.exists() else ()) if line is not None]
        return [line["metrics"]["accuracy"] for line in lines if line.get("metrics")]


class BetaNAS(SupernetSearch):
    """A supernet whose choices get importances in its training, which decide without a search."""

    view = BetaNASView()

    def _check_objectives(self, config: Config, cost_model: CostModel, objectives: Objectives) -> None:
        super()._check_objectives(config, cost_model, objectives)
        check_betanas(cost_model, config.search.betanas, config.supernet)

    def pick_names(self, config: Config) -> list[str]:
        return super().pick_names(config) if isinstance(config.search.picks, dict) else ["0"]

    def context(self, run: Run) -> dict[str, Any]:
        context = super().context(run)
        return context | {"supernet": context["supernet"] | {"betanas": run.config.to_dict()["search"]["betanas"]}}

    def train(self, run: Run, supernet: Supernet) -> dict:
        return self._train(run, supernet, train_betanas, search=run.config.search)

    def choose(self, run: Run, trained: SupernetResult) -> SearchResult:
        if search_role() != "alone":
            raise InputError("KERASTUNER_ORACLE_IP: betanas has nothing to evaluate in several processes; unset it")
        supernet, _ = trained_supernet(run)
        assert trained.importances is not None
        return derive(
            supernet,
            trained.importances,
            run.data.validation,
            run.config.search,
            run.folder,
            recalibration_data=run.plain_train,
            finish=functools.partial(correct_latencies, run),
        )

    def _one_shot_accuracies(self, run: Run, found: SearchResult) -> list[float]:
        return [pick.accuracy for pick in found.picks]


class Finetuning(Method):
    """A training of a network that is trained already, on other images."""

    stages = trainings = seeded = ("finetune",)
    view = FinetuneView()

    def examine(self, run: Run) -> None:
        if not run.file(NetworkResult).exists():  # later stages do not need the initial weights
            logger.info("what is fine-tuned: %s", self.source(run).origin["network"])

    def account(self, run: Run) -> dict[str, Any]:
        return {"origin": run.get(NetworkResult).origin}

    def source(self, run: Run) -> SourceNetwork:
        """The network to fine-tune."""
        if run.source is None:
            run.source = load_source(run.config.finetune, run.config.space, run.input_shape)
        return run.source


def method_of(config: Config) -> Method:
    """The method that a configuration asks for."""
    if config.finetune.network is not None:
        return Finetuning()
    return BetaNAS() if config.search.algorithm == "betanas" else SupernetSearch()


def searching(config: Config, command: str) -> SupernetSearch:
    """The run's method, for commands that need a supernet; InputError names the `command` if the run has none."""
    method = method_of(config)
    if isinstance(method, SupernetSearch):
        return method
    raise InputError(f"{command}: expected a run with a search, got one that fine-tunes {config.finetune.network}")


def trained_supernet(run: Run) -> tuple[Supernet, SupernetResult]:
    """The trained supernet and its training's result; a later process restores it from its last checkpoint."""
    if run.trained is None:
        run.trained = _trained(run) if run.config is run.stated else _at_another_size(run)
    return run.trained


def _trained(run: Run) -> tuple[Supernet, SupernetResult]:
    method, strategy = searching(run.config, "train-supernet"), run.strategy
    supernet = trained = _new_supernet(run)
    if strategy is not None:
        with strategy.scope():
            trained = _new_supernet(run)
    figures = method.train(run, trained)
    if strategy is not None:
        copy_variables(trained, supernet, strategy)
    return supernet, SupernetResult(**figures)


def _at_another_size(run: Run) -> tuple[Supernet, SupernetResult]:
    """The supernet for images of another size than it is trained with: its weights, or if none were trained a start there."""
    if run.config.supernet.epochs == 0:
        return _new_supernet(run), SupernetResult()
    stated = run.at_size(run.stated.data.image_size)
    stated.config = run.stated
    trained, result = _trained(stated)
    supernet = new_supernet(run.config.supernet, run.config.space, run.input_shape, run.data.num_classes)
    for variable, value in zip(supernet.variables, trained.variables, strict=True):
        variable.assign(value)
    return supernet, result


def _new_supernet(run: Run) -> Supernet:
    config, own = run.config, run.of_supernet
    supernet = new_supernet(config.supernet, own.config.space, own.input_shape, run.data.num_classes)
    if config.parent.name is not None:
        batches = run.plain_train.batches(WARM_START_BATCH, training=True, seed=config.seed, drop_remainder=False)
        warm_start(supernet, parent_in(config.parent), batches.take(-(-config.parent.images // WARM_START_BATCH)))
    return supernet


def latency_table(run: Run) -> MetricTable | None:
    """The run's `search.table`, if it predicts latencies."""
    if run.config.search.table is None:
        return None
    place = (run.config.space, run.config.data.image_size, run.data.num_classes)
    table = MetricTable.load(run.config.search.table, *place)
    return table if LATENCY in table.names else None


def check_adb(run: Run) -> None:
    """Raise InputError now, rather than after hours, if `run.adb` lacks a table with latencies or that table's phone."""
    if run.adb is None:
        return
    table = latency_table(run)
    if table is None:
        raise InputError(f"--adb: expected a table with {LATENCY} as search.table, got {run.config.search.table}")
    table_runner(table, run.adb)


def correct_latencies(
    run: Run, result: SearchResult, decide: Callable[[MetricTable], SearchResult] | None = None
) -> SearchResult:
    """`result` by latencies that finalists correct, see `measure_finalists`; as it is without table, finalists or device."""
    settings, table = run.config.search, latency_table(run)
    if table is None or settings.finalists <= 0:
        return result
    runner = table_runner(table, run.adb)
    if runner is None:
        return result
    return measure_finalists(result, settings, table, runner, run.folder / "finalists.json", decide)
