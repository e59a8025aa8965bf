"""A comparison on a formula in place of a supernet's accuracies."""

import copy
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import types

import pytest
from formula_search import BIG, accuracy

from scarlet_tf.assessment.comparison import compare, run_search
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.cli.stages import print_comparison
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.run import search
from scarlet_tf.space.cost import cost_table

SUPERNET = types.SimpleNamespace(space=BIG, image_shape=(32, 32, 3), num_classes=10)
COSTS = cost_table(BIG, 32, 10)
CONFIG = SearchConfig(population_size=6, generations=5, upper_bounds={"multiply_adds": 1.25e6})
OWN = ("random", "nsga2_plain", "nsga2")


class Formula:
    """An evaluator that writes down what it is asked for, and may end the process."""

    def __init__(self, dies_after=None):
        self.seen, self.announced, self.dies_after = [], [], dies_after

    def begin_generation(self, architectures):
        self.announced += architectures

    def evaluate(self, choices):
        if len(self.seen) == self.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(choices)
        return {"accuracy": accuracy(choices)}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """(figures, evaluator, folder) of a comparison that nothing disturbed."""
    evaluator, folder = Formula(), tmp_path_factory.mktemp("compared")
    return compare(SUPERNET, CONFIG, evaluator, folder, OWN, (0, 1)), evaluator, folder


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_searches_share_evaluations_and_have_as_many_each(tmp_path):
    evaluator = Formula()
    result = compare(SUPERNET, CONFIG, evaluator, tmp_path, (*OWN, "keras_tuner_random"), (0, 1))
    rows = result["algorithms"]
    assert list(rows) == [*OWN, "keras_tuner_random"] and result["complete"]
    assert all(row["evaluations"] == [30, 30] for row in rows.values())
    assert len(evaluator.seen) == len(set(evaluator.seen)) == result["evaluated"] < 4 * 2 * 30
    assert evaluator.announced == evaluator.seen
    assert read_json(tmp_path / "compare/compare.json") == result
    assert (tmp_path / "compare/hypervolume.png").read_bytes().startswith(b"\x89PNG")
    for row in rows.values():
        for one in row["searches"]:
            values = [value for _, value in one["hypervolume"]]
            assert values == sorted(values) and one["hypervolume"][-1][0] == 30
    assert sum(one["over_budget"] for one in rows["keras_tuner_random"]["searches"]) > 0
    assert all(one["over_budget"] == 0 for name in OWN for one in rows[name]["searches"])
    assert rows["random"]["ratio_to_random"]["median"] == 1
    assert result["target"] == rows["random"]["hypervolume"]["median"]


def test_a_second_call_asks_for_nothing_and_more_seeds_for_what_is_new(compared, tmp_path):
    first, folder, evaluator = compared[0], shutil.copytree(compared[2], tmp_path / "again"), Formula()
    before = files_of(folder / "compare/searches")
    assert compare(SUPERNET, CONFIG, evaluator, folder, OWN, (0, 1)) == first and evaluator.seen == []
    more = compare(SUPERNET, CONFIG, evaluator, folder, OWN, (0, 1, 2))
    assert before.items() <= files_of(folder / "compare/searches").items()
    assert 0 < len(evaluator.seen) <= 90 and more["algorithms"]["random"]["seeds"] == 3
    assert more["algorithms"]["nsga2"]["searches"][:2] == first["algorithms"]["nsga2"]["searches"]


# Two processes, forked after the imports, that are killed with SIGKILL when they have evaluated 25 networks.
KILLED = """
    import os, signal, sys
    sys.path[:0] = sys.argv[2:]
    import test_compare as parts
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            parts.compare(parts.SUPERNET, parts.CONFIG, parts.Formula(dies_after=25), sys.argv[1], parts.OWN, (0, 1))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.slow
def test_a_killed_comparison_goes_on_without_evaluating_again(compared, tmp_path):
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "cut"), here, f"{here}/../search"]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert killed.returncode == 0, killed.stderr
    kept = (tmp_path / "cut/compare/evaluations.jsonl").read_text().splitlines()
    assert len(kept) == 1 + 50
    figures, whole, folder = compared
    evaluator = Formula()
    assert compare(SUPERNET, CONFIG, evaluator, tmp_path / "cut", OWN, (0, 1)) == figures
    assert evaluator.seen == whole.seen[50:]
    assert files_of(tmp_path / "cut/compare") == files_of(folder / "compare")


@pytest.mark.parametrize("algorithm", ["nsga2", "random", "keras_tuner_random"])
def test_a_compared_search_evaluates_what_the_search_itself_does(tmp_path, algorithm):
    config = SearchConfig(algorithm=algorithm, population_size=6, generations=5, upper_bounds={"multiply_adds": 1.25e6})
    evaluator = Formula()
    search(SUPERNET, None, config, tmp_path, evaluator=evaluator)
    found = run_search(config, COSTS, Formula(), len(evaluator.seen))
    architectures = [tuple(map(int, line.split(","))) for line in found["architectures"]]
    assert set(architectures) == set(evaluator.seen) and len(architectures) == len(evaluator.seen)
    assert found["accuracies"] == [accuracy(choices) for choices in architectures]


def test_a_search_ends_when_the_space_has_no_more():
    """The budget admits the cheapest network alone, whose choices are all 0."""
    budget = COSTS.bounds["multiply_adds"][0] + 1
    config = SearchConfig(algorithm="random", population_size=2, generations=2, upper_bounds={"multiply_adds": budget})
    assert run_search(config, COSTS, Formula(), 10)["accuracies"] == [accuracy((0,) * 8)]


def test_the_table_says_what_was_not_reached(compared, capsys, monkeypatch):
    result = copy.deepcopy(compared[0])
    row = result["algorithms"]["nsga2"]
    row["evaluations_to_target"] = {"median": 12.0, "low": 9.0, "high": None}
    row["ratio_to_random"] = {"median": None, "low": None, "high": None}
    monkeypatch.setenv("COLUMNS", "120")
    print_comparison(result)
    text = capsys.readouterr().out
    assert "big, multiply_adds < 1.25 M: 30 evaluations a search, 2 seeds" in text
    assert "12 [9, more]" in text and "not reached" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithms": ("random", "anneal")}, r"--algorithms: expected some of random, .*, got 'anneal'"),
        ({"algorithms": ("random", "random")}, r"--algorithms: expected at least one and no repeats"),
        ({"seeds": ()}, r"--seeds: expected different integers >= 0, got \[\]"),
        ({"seeds": (1, 1)}, r"--seeds: expected different integers >= 0, got \[1, 1\]"),
        ({"evaluations": 5}, r"--evaluations: expected at least search.population_size, which is 6, got 5"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        compare(SUPERNET, CONFIG, Formula(), tmp_path, **arguments)
    assert not (tmp_path / "compare").exists()
