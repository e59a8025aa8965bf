"""The race stage of a run: its entrants, from the search's front and its budget, and the start of each one's training."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from scarlet_tf.base.cluster import check_no_limit, search_role, wait_for
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import plural
from scarlet_tf.config.from_parent import parent_in
from scarlet_tf.models.network import Arrays
from scarlet_tf.parents.around import SIZE_STEP, parent_path, sizes_and_costs
from scarlet_tf.race.course import ENTRANTS, FOLDER, Course, Images, proposed
from scarlet_tf.race.entrants import Entrant, finalists, one_form, rivals
from scarlet_tf.race.race import run_race
from scarlet_tf.results import InputSizes, RaceResult
from scarlet_tf.run.folder import Run
from scarlet_tf.run.methods import searching, trained_supernet
from scarlet_tf.run.retraining import start_of, teacher_of
from scarlet_tf.run.scoring import scores_of
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.front import Candidate, by_score
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.objectives import Objectives, cost_model_and_objectives, score_of
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec

logger = logging.getLogger("scarlet_tf")


def race_networks(run: Run, found: SearchResult) -> RaceResult | None:
    """Race the search's best networks against the rivals that `race.rivals` names; None in a worker of several processes."""
    check_no_limit(run.max_hours, "--max-hours")
    check_no_limit(run.config.race.max_hours, "race.max_hours")
    if search_role() == "worker":
        wait_for(run.folder / FOLDER / ENTRANTS)
    starts = _Starts(run)
    cost_model, objectives = cost_model_and_objectives(run.costs, **run.config.search.objective_settings(run.costs))
    budget = Budget(cost_model, objectives.tightened(run.config.bounds_of_pick or {}))
    entrants, notes = _entrants(run, found, starts, budget)
    course = Course(
        run.config.retrain,
        run.config.race,
        run.folder / FOLDER,
        run.data.num_classes,
        images=lambda entrant: _images(run, entrant),
        start=lambda entrant: starts.network(entrant),
        input_shape=lambda entrant: run.shape_at(entrant.input_size),
        context={"dataset": run.data.fingerprint, "search": found.details.get("search")},
        teacher=lambda entrant: teacher_of(run, entrant.input_size),
        strategy=run.strategy,
        calibration=run.config.export.calibration_examples,
        propose=functools.partial(proposed, budget, starts.fits),
    )
    return run_race(course, entrants, run.max_hours, notes)


def check_race(run: Run) -> None:
    """Refuse settings at which a race would fail, before anything is trained."""
    if run.config.race.judge == "int8" and not {"int8", "full_int8"} & set(run.config.export.formats):
        raise InputError(
            f"race.judge: expected float32, since export.formats has no int8 but {', '.join(run.config.export.formats)}, got int8"
        )


class _Starts:
    """The starts of entrants, each made once: some come from the supernet."""

    def __init__(self, run: Run):
        self.of = functools.cache(functools.partial(start_of, run))

    def fits(self, architecture: Architecture) -> bool:
        """True if the network as it is trained keeps the bounds."""
        return self.of(architecture, None) is not None

    def network(self, entrant: Entrant) -> tuple[Architecture | NetworkSpec, Arrays | None]:
        assert isinstance(entrant.network, Architecture)
        start = self.of(entrant.network, entrant.input_size)
        if start is None:
            raise InputError(f"race: {entrant.words}: expected a network within the bounds once folded")
        return start.network, start.initial


def _images(run: Run, entrant: Entrant) -> Images:
    data = run.data_at(entrant.input_size)
    return Images(data.train, data.validation, data.test)


def _entrants(run: Run, found: SearchResult, starts: _Starts, budget: Budget) -> tuple[list[Entrant], list[str]]:
    """Rivals and finalists, all different, and what has to be said about them."""
    config, objectives = run.config.race, budget.objectives
    notes: list[str] = []
    candidates = _candidates(run, found, budget)
    opposed = rivals(budget, config, starts.fits)
    opposed += _parent(run, objectives, opposed, notes) if "parent" in config.rivals else []
    known = [one.network for one in opposed if one.input_size is None and isinstance(one.network, Architecture)]
    chosen, unlike = finalists(candidates, config.finalists, known, starts.fits)
    if not chosen:  # what the search found is what the rivals are
        chosen, unlike = finalists(candidates, 1, (), starts.fits)
        alike = [one_form(each.architecture) for each in chosen]
        opposed = [one for one in opposed if one.input_size or one_form(one.network) not in alike]
    if not chosen:
        raise InputError(
            "retrain.init: none of the networks that the search found keeps"
            f" {', '.join(objectives.bounds_in_words())} once folded; use init: scratch"
        )
    notes += _notes(config.finalists, chosen, unlike, opposed)
    for note in notes:
        logger.warning("race: %s", note)
    scores = {each.architecture: each.score for each in candidates}
    named = [
        Entrant(f"finalist_{number}", "finalist", each.architecture, score=each.score)
        for number, each in enumerate(chosen, 1)
    ]
    others = list(_of_other_sizes(run, starts))[: max(config.finalists - 2, 0)]
    named = named[: max(config.finalists - len(others), 1)]
    named += [dataclasses.replace(one, name=f"finalist_{number}") for number, one in enumerate(others, len(named) + 1)]
    return [*named, *_scored(run, opposed, scores)], notes


def _of_other_sizes(run: Run, starts: _Starts) -> Iterable[Entrant]:
    """The best network of each size that was searched for a few generations alone, the best first: they were judged on little."""
    sizes = run.find(InputSizes)
    rows = sorted(() if sizes is None else sizes.measured, key=lambda row: -score_of(row))
    for row in rows:
        if row["input_size"] != run.config.data.image_size:
            network = Architecture.parse(row["architecture"], run.config.space)
            if starts.of(network, row["input_size"]) is not None:
                yield Entrant("finalist", "finalist", network, row["input_size"], score_of(row))


def _notes(wanted: int, chosen: list[Candidate], unlike: int, opposed: list[Entrant]) -> list[str]:
    notes, layers = [], len(chosen[0].architecture.choices)
    if len(chosen) < wanted:
        notes.append(
            f"race.finalists: {wanted} were asked for, {len(chosen)} race: the search found no more within the bounds that"
            " are no rivals"
        )
    if len(chosen) > 1 and unlike < layers / 4:
        notes.append(f"finalists differ in at least {plural(unlike, 'layer')} of {layers}, for too few differ in more")
    if not opposed:
        notes.append(
            "there is no rival: the bounds leave no other network"
            if len(chosen) == 1
            else "there is no rival, so the race does not say what the search was worth"
        )
    return notes


def _candidates(run: Run, found: SearchResult, budget: Budget) -> list[Candidate]:
    """All networks that the search evaluated, as far as they are known and within the bounds, the best first."""
    known = {each.architecture: each for each in (*found.pareto, *found.picks)}
    if "measured" not in found.details:  # corrected figures are known of the front alone
        for each in (*_of_journal(run, budget), *found.evaluated):
            known.setdefault(each.architecture, each)
    within = [each for each in known.values() if budget.objectives.violation(each.metrics) <= 0]
    return sorted(within, key=lambda each: (*by_score(each.metrics), each.architecture.choices))


def _of_journal(run: Run, budget: Budget) -> Iterable[Candidate]:
    path, model = run.folder / "search" / TRIALS, budget.cost_model
    for line in read_lines(path) if path.exists() else ():
        if line is not None and line.get("metrics") and "architecture" in line:
            architecture = Architecture.parse(line["architecture"], run.config.space)
            metrics = {**line["metrics"], **model.of_one(architecture.choices)}
            yield Candidate.of(architecture, metrics, metrics)


def _scored(run: Run, opposed: list[Entrant], scores: Mapping[Architecture, float]) -> list[Entrant]:
    """The rivals with the search's score: as found by it, else measured as it measures."""
    if (run.folder / FOLDER / ENTRANTS).exists():  # which has the scores
        return opposed
    missing = [one.network for one in opposed if one.input_size is None and one.network not in scores]
    measured: dict[Any, float] = dict(scores)
    if missing:
        supernet, _ = trained_supernet(run)
        evaluator = scores_of(run, supernet, searching(run.config, "race").context(run))
        measured |= {network: score_of(evaluator.evaluate(network)) for network in missing}
    return [
        one if one.input_size is not None else dataclasses.replace(one, score=measured[one.network]) for one in opposed
    ]


def _parent(run: Run, objectives: Objectives, opposed: list[Entrant], notes: list[str]) -> list[Entrant]:
    """The parent at the greatest image size at which it keeps the bounds, if the run starts from one."""
    config = run.config
    if config.parent.name is None or config.retrain.init != "supernet":
        return []
    if config.retrain.teacher not in (None, "parent"):
        notes.append("the parent does not race: retrain.teacher has images of one size")
        return []
    unknown = set(objectives.upper_bounds) - {"accuracy", "multiply_adds", "params"}
    if unknown:
        notes.append(f"the parent does not race: its {', '.join(sorted(unknown))} at other image sizes is not known")
        return []
    parent = parent_in(config.parent)
    architecture = parent_path(parent, config.space)
    sizes = [size for size, _ in sizes_and_costs(parent, run.data.num_classes)]
    own = config.data.image_size
    for size in sorted({*sizes, own}, reverse=True):
        if start_of(run, architecture, None if size == own else size) is None:
            continue
        if size != own:
            return [Entrant("parent", "rival", architecture, size)]
        alike = any(one_form(one.network) == one_form(architecture) for one in opposed)
        return [] if alike else [Entrant("parent", "rival", architecture)]
    notes.append(
        f"the parent does not race: it keeps the bounds at no size from {min(sizes)} pixels on, in steps of {SIZE_STEP}"
    )
    return []
