"""Proposals of a race: the best network that is predicted, how many there is time for, and what a kill leaves."""

import functools
import itertools
import math
import shutil

import numpy as np
import pytest
from test_race import GOALS, TRAINING, Trainer, without_seconds
from tiny import images_and_labels, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.data.inputs import as_split
from scarlet_tf.race import course as courses
from scarlet_tf.race import race as module
from scarlet_tf.race.config import RaceConfig
from scarlet_tf.race.course import Course, Images, proposed
from scarlet_tf.race.entrants import Entrant, one_form
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.objectives import CostModel, Objectives
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import RetrainConfig

SPACE = tiny_space()
MODEL = CostModel(cost_table(SPACE, 8, 5))
MIDDLE = sum(MODEL.bounds["multiply_adds"]) / 2
BUDGET = Budget(MODEL, Objectives(upper_bounds={"multiply_adds": MIDDLE}))
WORTH = np.random.default_rng(1).uniform(0.0, 0.2, (4, 4))
NETWORKS = {
    "finalist_1": (0, 0, 0, 0),
    "finalist_2": (0, 2, 0, 3),
    "finalist_3": (2, 3, 0, 0),
    "uniform": (0, 3, 0, 3),
    "random": (2, 0, 2, 3),
}


def accuracy(network):
    return float(WORTH[np.arange(4), network.choices].sum())


class Learner(Trainer):
    """Each network is as accurate as its choices are worth; a step takes a second."""

    def __init__(self, clock, **options):
        super().__init__({}, loss=lambda accuracy: -math.log(accuracy), **options)
        self.clock = clock

    def __call__(self, network, *data, run_dir, part, **options):
        self.accuracies[run_dir.name] = [accuracy(network) * share for share in (0.8, 0.9, 1)]

        def pause(step):
            is_over = part.pause(step)
            self.clock["now"] += not is_over
            return is_over

        return super().__call__(network, *data, run_dir=run_dir, part=module.Part(part.label, pause), **options)


@pytest.fixture
def raced(tmp_path, monkeypatch, rng):
    """`raced(hours, proposals)` runs the race of five networks; `breaks` as a Trainer has them."""
    split = as_split(images_and_labels(rng, 50))
    clock = {"now": 0.0}
    monkeypatch.setattr(module.gc, "collect", lambda: 0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(courses, "hits", lambda of, entrant, split: np.arange(100) < 50)

    def run(hours=None, proposals=8, breaks=(), budget=BUDGET, fits=lambda network: True):
        monkeypatch.setattr(module, "retrain", Learner(clock, breaks=breaks))
        course = Course(
            RetrainConfig(**TRAINING),
            RaceConfig(max_hours=hours, proposals=proposals),
            tmp_path / "race",
            5,
            images=lambda entrant: Images(split, split, split),
            start=lambda entrant: (entrant.network, None),
            input_shape=lambda entrant: (8, 8, 3),
            propose=functools.partial(proposed, budget, fits),
        )
        kinds = {name: "finalist" if name.startswith("finalist") else "rival" for name in NETWORKS}
        entrants = [Entrant(n, kinds[n], Architecture(choices, SPACE), None, 0.5) for n, choices in NETWORKS.items()]
        clock["now"] = 0.0
        return module.run_race(course, entrants)

    return run


def trained(names=NETWORKS):
    networks = [Architecture(NETWORKS[name], SPACE) for name in names]
    return {network: 0.8 * accuracy(network) for network in networks}


def test_what_is_proposed_is_the_best_prediction_of_all_others_within_the_budget():
    known = trained()
    found = proposed(BUDGET, lambda network: True, known)
    model = Predictor(MODEL, [one.choices for one in known], list(known.values()))
    networks = np.array(list(itertools.product(range(4), repeat=4)))
    networks = networks[MODEL.of(networks)["multiply_adds"] < MIDDLE]
    taken = {one_form(one) for one in known}
    new = [n for n in networks.tolist() if one_form(Architecture(tuple(n), SPACE)) not in taken]
    assert found not in known and model.predict([found.choices])[0] == pytest.approx(max(model.predict(new)), abs=1e-6)
    other = proposed(BUDGET, lambda network: network != found, known)
    assert other not in (None, found)
    assert proposed(BUDGET, lambda network: False, known) is None
    assert proposed(BUDGET, lambda network: True, trained(list(NETWORKS)[:2])) is None


def test_networks_are_proposed_one_by_one_while_the_race_ends_in_time(raced, tmp_path, caplog):
    """By hand: 5 s for the first rung of each. With 6 networks 2 trainings of 20 s are left after 25 s: 75 s with the margin
    of a quarter; with 7 after 30 s 2.25, 86.25 s; with 8 after 35 s 2.25, 91.25 s.
    """
    caplog.set_level("INFO")
    found = raced(hours=90 / 3600 / (1 - module.RESERVED_SHARE))
    more = [row for row in found.entrants if row["kind"] == "proposed"]
    assert [row["name"] for row in more] == ["proposal_1", "proposal_2"] and found.stopped is None
    assert more[0]["words"] == "proposal 1 of the race's own trainings" and more[0]["score"] is None
    assert all(row["multiply_adds"] < MIDDLE for row in more)
    assert any("up to 8 networks more after the first rung" in message for message in caplog.messages)
    assert f"race: {more[0]['words']}: {more[0]['architecture']}" in caplog.messages
    first, second = (Architecture.parse(row["architecture"], SPACE) for row in more)
    assert first == proposed(BUDGET, lambda network: True, trained())
    assert second == proposed(BUDGET, lambda network: True, trained() | {first: 0.8 * accuracy(first)})
    assert read_json(tmp_path / "race" / "proposed.json")["is_over"]
    best = max(found.entrants, key=lambda row: accuracy(Architecture.parse(row["architecture"], SPACE)))
    assert found.winner == best["name"]
    assert [len(row["rungs"]) for row in found.entrants].count(1) == 3  # 7 begin, 4 go on
    assert found.tau["networks"] == 5


@pytest.mark.parametrize("options", [{}, {"hours": 1.0, "proposals": 0}, {"hours": 75 / 3600}])
def test_without_time_or_wish_nothing_is_proposed(raced, options):
    assert {row["kind"] for row in raced(**options).entrants} == {"finalist", "rival"}


def test_a_proposal_that_wins_is_compared_with_the_search_and_the_rivals(raced, monkeypatch):
    monkeypatch.setitem(globals(), "accuracy", lambda network: 0.5 + 0.4 * (network.choices not in NETWORKS.values()))
    found = raced(hours=1.0, proposals=1)
    assert found.winner == "proposal_1" and not found.is_upset
    assert found.verdict[0] == (
        "a network that the search had not found won the race, proposal 1 of the race's own trainings"
    )
    assert {row["kind"] for row in found.gains} >= {"rival"}
    assert found.figures["kind"] == "proposed"


@pytest.mark.parametrize("moment", ["within", "behind"])
@pytest.mark.parametrize("call", [3, 6, 7, 9])
def test_a_race_with_proposals_that_is_killed_goes_on_exactly(raced, call, moment, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        raced(hours=1.0, proposals=2, breaks={call: moment})
    found = raced(hours=1.0, proposals=2)
    assert len(found.entrants) == 7 and len(found.row("proposal_2")["rungs"][0]) > 1
    shutil.rmtree(tmp_path / "race")
    assert without_seconds(found) == without_seconds(raced(hours=1.0, proposals=2))


def test_no_network_is_left_and_proposals_of_a_race_that_went_on_stay(raced, tmp_path):
    bound = 1 + max(MODEL.of_one(choices)["multiply_adds"] for choices in ((3, 3, 3, 3), (0, 3, 0, 3)))
    few = Budget(MODEL, Objectives(upper_bounds={"multiply_adds": bound}))
    found = raced(hours=1.0, budget=few)
    assert len(found.entrants) > 5 and all(
        row["multiply_adds"] < bound for row in found.entrants if row["kind"] == "proposed"
    )
    assert raced(hours=2.0) == found  # more time, and a greater budget: the race is over
    (tmp_path / "race" / "proposed.json").write_text("{")
    with pytest.raises(InputError, match=r"proposed\.json: .*; remove the folder .*race to race again"):
        raced(hours=1.0)
    assert found.goals == GOALS
