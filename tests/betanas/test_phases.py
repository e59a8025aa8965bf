import itertools

import pytest

from scarlet_tf.betanas.importances import Phases
from scarlet_tf.search.config import BetaNASConfig


def kinds(phases: Phases) -> str:
    return "".join("wi"[phases.is_importance(step)] for step in range(phases.total_steps))


def test_phases_alternate_behind_the_warm_up():
    assert kinds(Phases(12, BetaNASConfig(warmup=0.25))) == "wwwwiwiwiwiw"[:3] + "wiwiwiwiw"
    two_to_three = BetaNASConfig(warmup=0, weight_steps=2, importance_steps=3)
    assert kinds(Phases(12, two_to_three)) == "wwiiiwwiiiww"


@pytest.mark.parametrize("config", [{}, {"warmup": 0}, {"warmup": 0.4, "weight_steps": 3, "importance_steps": 2}])
def test_steps_of_each_phase_are_counted(config):
    phases = Phases(40, BetaNASConfig(**config))
    text = kinds(phases)
    for step in range(41):
        assert phases.importance_steps(step) == text[:step].count("i")
        assert phases.weight_steps(step) == text[:step].count("w")


@pytest.mark.parametrize("checks", [1, 3, 7, 30])
def test_checks_are_as_many_as_configured_and_the_last_is_behind_the_last_step(checks):
    phases = Phases(50, BetaNASConfig(warmup=0.2, drop_checks=checks))
    found = [step for step in range(50) if phases.is_check(step)]
    assert len(found) == checks and found[-1] == 49 and found[0] >= 10
    distances = {b - a for a, b in itertools.pairwise(found)}
    assert not distances or max(distances) - min(distances) <= 1
