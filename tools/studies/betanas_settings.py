"""Sections of the studies of BetaNAS, and checks between them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from scarlet_tf.errors import InputError
from scarlet_tf.search.config import BetaNASConfig, SearchConfig
from scarlet_tf.settings import BelowOne, Count, Share, Whole, validated
from scarlet_tf.space import Architecture

if TYPE_CHECKING:
    from studies.settings import Study


@validated("importances")
@dataclasses.dataclass(frozen=True)
class ImportancesConfig:
    """Trainings of one supernet that differ in how its weights and importances are trained.

    variants: by name, the changes of each to search.betanas. layer: the one that is drawn, 0 is the first. early: the share of
    the epochs after the warm-up at which the importances are compared with those at the end.
    """

    variants: dict[str, dict[str, Any]]
    layer: Whole = 0
    early: Share = 0.25

    def __post_init__(self):
        if not self.variants:
            raise InputError("importances.variants: expected at least one, got none")

    def variant(self, name: str, search: SearchConfig) -> SearchConfig:
        """The settings of one training; InputError for keys and values that BetaNAS does not have."""
        try:
            changed = BetaNASConfig(**{**vars(search.betanas), **self.variants[name]})
        except InputError as error:
            raise InputError(f"importances.variants.{name}: {error}") from error
        return dataclasses.replace(search, betanas=changed)


@validated("finding")
@dataclasses.dataclass(frozen=True)
class FindingConfig:
    """Networks that are found within search.upper_bounds.multiply_adds, and others for comparison.

    evaluations: different networks that the search may evaluate. random: how many networks are drawn for each seed, with at
    least the share `floor` of the budget. reference: a network given by its choices. test_images: on which all are scored.
    """

    reference: str
    evaluations: Count = 60
    random: Count = 3
    floor: BelowOne = 0.85
    test_images: Count = 5000


def misfits_of_importances(study: Study) -> list[str]:
    """Mistakes between the sections of a study of this kind."""
    settings, search = study.sections["importances"], study.sections["search"]
    mistakes = _misfits_of_supernets(study, "betanas")
    if settings.layer >= study.space.num_layers:
        mistakes.append(f"importances.layer: expected at most {study.space.num_layers - 1}, got {settings.layer}")
    for name in settings.variants:
        try:
            settings.variant(name, search)
        except InputError as error:
            mistakes.append(str(error))
    return mistakes


def misfits_of_finding(study: Study) -> list[str]:
    """Mistakes between the sections of a study of this kind."""
    settings, search = study.sections["finding"], study.sections["search"]
    mistakes = _misfits_of_supernets(study, "betanas", "scarlet")
    if search.algorithm != "nsga2":
        mistakes.append(f"search.algorithm: expected nsga2, got {search.algorithm}")
    if search.budget is None:
        mistakes.append("search.upper_bounds.multiply_adds: expected a budget, got none")
    scaling = study.sections["retrain"].scaling
    if not scaling.is_none:
        mistakes.append(f"retrain: expected no scaling, for costs are those as searched, got {scaling}")
    if settings.evaluations < search.population_size:
        mistakes.append(f"finding.evaluations: expected at least search.population_size, {search.population_size}")
    try:
        Architecture.parse(settings.reference, study.space)
    except InputError as error:
        mistakes.append(f"finding.reference: {error}")
    return mistakes


def _misfits_of_supernets(study: Study, *names: str) -> list[str]:
    if sorted(study.supernets) == sorted(names):
        return []
    return [f"supernets: expected {' and '.join(names)}, got {', '.join(study.supernets)}"]
