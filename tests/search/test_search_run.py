import dataclasses
import importlib
import json
import os
import subprocess
import sys
import textwrap
import types

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.mutation import HierarchicalMutation, RandomMutation
from scarlet_tf.search.run import search
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace

SPACE = SearchSpace("big", (Stage(8, 4, 2), Stage(16, 4, 2)), tuple(Choice(e, 3) for e in range(1, 7)), input_size=32)
SUPERNET = types.SimpleNamespace(space=SPACE, image_shape=(32, 32, 3), num_classes=10)
UNIFORM = {"kind": "uniform"}  # the controller takes seconds to trace, which most tests need not wait for
CONFIG = {
    "population_size": 6,
    "generations": 5,
    "upper_bounds": {"multiply_adds": 1e9},
    "picks": 2,
    "mutation": UNIFORM,
}


class Evaluator:
    def __init__(self):
        self.calls = 0

    def evaluate(self, choices):
        self.calls += 1
        return {"accuracy": sum((i + 1) * (gene * 7 % 5) for i, gene in enumerate(choices)) % 97 / 97}


def run(folder, evaluator=None, supernet=SUPERNET, context=None, **changes):
    return search(supernet, None, {**CONFIG, **changes}, folder, evaluator=evaluator or Evaluator(), context=context)


def test_the_package_can_be_called_as_the_public_function_of_its_name(tmp_path):
    """Importing a submodule makes `scarlet_tf.search` the package."""
    package = importlib.import_module("scarlet_tf.search")
    assert len(package(SUPERNET, None, CONFIG, tmp_path, evaluator=Evaluator()).picks) == 2


def test_result_and_pareto_file_agree(tmp_path):
    result = run(tmp_path)
    assert result.evaluations == 30 and len(result.hypervolume) == 4
    assert len(result.picks) == 2 and set(result.picks) <= set(result.pareto)
    assert result.picks == [result.pareto[0], result.pareto[-1]]
    text = (tmp_path / "pareto.json").read_text()
    written = json.loads(text)
    assert written["pareto"] == [c.to_dict() for c in result.pareto]
    assert written["picks"] == [{"name": name, **c.to_dict()} for name, c in zip("01", result.picks, strict=True)]
    assert written["space"] == "big" and written["input_size"] == 32 and written["num_classes"] == 10
    assert Architecture.parse(written["picks"][0]["architecture"], SPACE) == result.picks[0].architecture
    assert len(text.splitlines()) == len(result.pareto) + 2 + 18  # a model is a line
    assert (tmp_path / "search" / "trials.jsonl").exists()


def test_pareto_file_says_what_became_of_each_operators_children(tmp_path):
    """The default mutation; and one of the caller's stands in for it."""
    run(tmp_path / "a", mutation={})
    operators = json.loads((tmp_path / "a" / "pareto.json").read_text())["operators"]
    assert set(operators) == {"random", "prior", "controller", "roulette", "crossover"}
    assert sum(tally["evaluated"] for tally in operators.values()) == 30 - 2 * 6
    own = HierarchicalMutation({"mine": (1.0, RandomMutation())}, ratio=1.0)
    search(SUPERNET, None, CONFIG, tmp_path / "b", evaluator=Evaluator(), mutation=own)
    operators = json.loads((tmp_path / "b" / "pareto.json").read_text())["operators"]
    assert operators["mine"]["evaluated"] == 30 - 2 * 6 and operators["crossover"]["children"] == 0


def test_search_again_reads_the_same_result(tmp_path):
    first, evaluator = run(tmp_path), Evaluator()
    assert run(tmp_path, evaluator) == first
    assert evaluator.calls == 0


def test_a_caller_may_finish_the_result_and_an_interrupted_one_is_finished_again(tmp_path):
    def interrupted(result):
        raise KeyboardInterrupt

    def finish(result):
        assert len(result.evaluated) >= len(result.pareto)
        return dataclasses.replace(result, picks=result.picks[:1], names=["only"], details={"measured": {"a": 1}})

    plain = run(tmp_path)
    before = (tmp_path / "pareto.json").read_text()
    (tmp_path / "pareto.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        search(SUPERNET, None, CONFIG, tmp_path, evaluator=Evaluator(), finish=interrupted)
    assert not (tmp_path / "pareto.json").exists()  # whose presence says that all is done
    evaluator = Evaluator()
    finished = search(SUPERNET, None, CONFIG, tmp_path, evaluator=evaluator, finish=finish)
    written = json.loads((tmp_path / "pareto.json").read_text())
    assert finished.picks == plain.picks[:1] and evaluator.calls == 0
    assert written["measured"] == {"a": 1} and [pick["name"] for pick in written["picks"]] == ["only"]
    search(SUPERNET, None, CONFIG, tmp_path, evaluator=evaluator, finish=lambda result: result)
    assert (tmp_path / "pareto.json").read_text() == before


def test_config_may_be_an_object_or_missing(tmp_path):
    config = SearchConfig(**CONFIG)
    assert search(SUPERNET, None, config, tmp_path / "a", evaluator=Evaluator()) == run(tmp_path / "b")
    with pytest.raises(InputError, match="search: expected a SearchConfig or a mapping, got list"):
        search(SUPERNET, None, [], tmp_path, evaluator=Evaluator())


def test_what_changes_accuracies_refuses_the_journal(tmp_path):
    run(tmp_path)
    for changes in ({"context": "another checkpoint"}, {"recalibration_batches": 3}, {"validation_batch_size": 3}):
        with pytest.raises(InputError, match=r"trials\.jsonl: it belongs to another search: context"):
            run(tmp_path, **changes)


def test_floor_that_nothing_exceeds_is_refused_with_the_best(tmp_path):
    with pytest.raises(
        InputError, match=r"search\.lower_bounds\.accuracy: .* more than 0\.999; the best of \d+ has 0\."
    ):
        run(tmp_path, lower_bounds={"accuracy": 0.999})
    assert not (tmp_path / "pareto.json").exists()


def test_more_picks_than_models_are_all_models(tmp_path, caplog):
    result = run(tmp_path, picks=500)
    assert result.picks == result.pareto
    assert "search.picks: 500 wanted" in caplog.text


def test_images_that_are_not_square_are_refused(tmp_path):
    wide = types.SimpleNamespace(space=SPACE, image_shape=(32, 48, 3), num_classes=10)
    with pytest.raises(InputError, match=r"image_shape: expected square .* got \(32, 48, 3\)"):
        run(tmp_path, supernet=wide)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"picks": 0}, r"search\.picks: expected an integer >= 1 or a mapping, got 0"),
        ({"recalibration_batches": -1}, r"search\.recalibration_batches: expected an integer >= 0, got -1"),
        ({"validation_batch_size": 0.5}, r"search\.validation_batch_size"),
        ({"mutation": {"ratio": 2}}, r"search\.mutation\.ratio: expected a number from 0 to 1, got 2"),
        ({"stale_trial_minutes": 0}, r"search\.stale_trial_minutes: expected a number > 0 or null, got 0"),
        ({"population_size": 0}, r"search\.population_size: expected an integer >= 2, got 0"),
        ({"popsize": 3}, r"search\.popsize: unknown key; did you mean search\.population_size"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        SearchConfig(**changes)


def test_config_takes_a_list_of_weights_and_imports_no_framework():
    assert SearchConfig(weights=[0.5, 0.3, 0.2]).weights == (0.5, 0.3, 0.2)
    code = "import sys, scarlet_tf.search.run; sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Imports once, then runs the search in forked processes. The first may not write files beyond a size, which is how a
# full disk looks. The next are killed with SIGKILL while they evaluate, at moments that have nothing to do with what
# they are doing. The last one is left alone.
KILLED = """
    import os, resource, signal, sys, time
    sys.path.insert(0, sys.argv[1])
    import test_search_run as parts
    import keras_tuner  # before the forks, which then start in no time

    class Slow(parts.Evaluator):
        def evaluate(self, choices):
            time.sleep(0.004)
            with open(os.path.join(sys.argv[2], "evaluated"), "a") as file:
                file.write(str(choices) + "\\n")
            return super().evaluate(choices)

    def child(limit=None):
        pid = os.fork()
        if pid == 0:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                parts.run(sys.argv[2], Slow(), population_size=10, generations=6, mutation={})
            except parts.InputError as error:
                print(error, flush=True)
            os._exit(0)
        return pid

    os.waitpid(child(limit=3000), 0)
    kills = 0
    for delay in (0.02, 0.05, 0.011, 0.06, 0.033, 0.047):
        pid = child()
        while not os.path.exists(os.path.join(sys.argv[2], "evaluated")):
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        kills += os.waitpid(pid, 0)[1] == signal.SIGKILL
    print("kills", kills)
    sys.exit(os.waitpid(child(), 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_search_out_of_disk_and_killed_many_times_equals_an_uninterrupted_one(tmp_path):
    arguments = [os.path.dirname(__file__), str(tmp_path / "killed")]
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), *arguments], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "could not be written: File too large" in result.stdout
    assert int(result.stdout.split()[-1]) >= 3, result.stdout
    run(tmp_path / "whole", population_size=10, generations=6, mutation={})
    assert (tmp_path / "killed/pareto.json").read_text() == (tmp_path / "whole/pareto.json").read_text()
    trials = [(tmp_path / folder / "search/trials.jsonl").read_text().splitlines() for folder in ("killed", "whole")]
    assert [json.loads(a).get("trial") for a in trials[0]] == [json.loads(b).get("trial") for b in trials[1]]
    # Only the evaluation that a kill or the full disk fell into is done again.
    assert len((tmp_path / "killed" / "evaluated").read_text().splitlines()) <= len(trials[0]) - 1 + 7


def test_a_search_that_was_stopped_in_time_has_a_front_and_goes_on(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    clock, evaluator = iter(range(1, 10**6)), Evaluator()
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    stopped = search(SUPERNET, None, CONFIG, tmp_path / "run", evaluator=evaluator, max_hours=40 / 3600)
    assert 0 < evaluator.calls == stopped.evaluations < 30
    assert stopped.stopped and stopped.pareto and json.loads((tmp_path / "run/pareto.json").read_text())["stopped"]
    as_it_is = search(SUPERNET, None, CONFIG, tmp_path / "run", evaluator=evaluator, max_hours=0)
    assert as_it_is == stopped
    assert run(tmp_path / "run") == whole and not whole.stopped


class Groups(Evaluator):
    """Measures all that was announced at the first call, as the default evaluator does with a group."""

    def __init__(self):
        super().__init__()
        self.ready = {}

    @property
    def num_ready(self):
        return len(self.ready)

    def begin_generation(self, architectures):
        self.announced = list(architectures)

    def evaluate(self, choices):
        if not self.ready:
            self.ready = {genome: super(Groups, self).evaluate(genome) for genome in self.announced}
        return self.ready.pop(choices)


def test_what_was_measured_together_is_kept_when_the_time_is_up(tmp_path, monkeypatch):
    clock, evaluator = iter(range(1, 10**6)), Groups()
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    stopped = search(SUPERNET, None, CONFIG, tmp_path, evaluator=evaluator, max_hours=3 / 3600)
    assert stopped.stopped and stopped.evaluations == evaluator.calls == 12
