"""The secret of a chief and its workers: who has it, and what a stranger can do without it."""

import collections
import os

import grpc
import pytest
from formula_search import BIG
from keras_tuner.engine.base_tuner import BaseTuner
from test_search_processes import alone, assert_same_search, evaluations, start  # noqa: F401

from local_cluster import variables
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.oracle import WeightedNSGA2Oracle
from scarlet_tf.search.workers import SECRET, PatientClient, chiefs_secret, digest, opened, sealed, workers_secret


def make(folder):
    """An oracle and what KerasTuner makes of it for the process' role."""
    oracle = WeightedNSGA2Oracle(BIG, 4, 2, max_multiply_adds=1e9, num_classes=10, mutation=UniformMutation())
    return oracle, BaseTuner(oracle=oracle, directory=folder, project_name="search").oracle


def test_a_chief_keeps_its_secret_to_its_owner_and_finds_it_again(tmp_path):
    secret = chiefs_secret(tmp_path)
    assert len(secret) == 64 and secret == workers_secret(tmp_path)
    if os.name == "posix":
        assert (tmp_path / SECRET).stat().st_mode & 0o777 == 0o600
        (tmp_path / SECRET).chmod(0o644)  # as after a careless copy
    assert chiefs_secret(tmp_path) == secret
    if os.name == "posix":
        assert (tmp_path / SECRET).stat().st_mode & 0o777 == 0o600
    (tmp_path / SECRET).write_text(secret[:10])  # of a chief that was killed
    again = chiefs_secret(tmp_path)
    assert len(again) == 64 and again != secret and digest(again) != digest(secret)


def test_a_worker_without_the_secret_is_told_where_it_is(tmp_path):
    with pytest.raises(InputError, match=r"\.secret: expected the secret .* copy the file from search/ of the chief's"):
        workers_secret(tmp_path)


@pytest.mark.parametrize("text", ["worker-0", "worker-0 ", " other", "worker-0 secre", "worker-0 s\u00e9cret", ""])
def test_only_the_secret_itself_opens(text):
    assert opened(sealed("worker 0", "secret"), "secret") == "worker 0"
    with pytest.raises(InputError, match="expected the secret of this search"):
        opened(text, "secret")


def test_an_oracle_with_a_secret_takes_it_off_every_identifier(tmp_path, caplog):
    """The worker's client seals what the oracle opens; without it nothing changes."""
    oracle, _ = make(tmp_path)
    oracle.secret = "secret"
    for call in (
        lambda: oracle.create_trial("worker-0"),
        lambda: oracle.update_trial("0000", {"accuracy": 1.0}),
        lambda: oracle.get_trial("0000"),
        lambda: oracle.end_trial("0000"),
        lambda: oracle.end_trial(trial_id="0000"),
        lambda: oracle.end_trial(oracle._make.trial({}, "0000")),
    ):
        with pytest.raises(InputError, match="expected the secret of this search"):
            call()
    assert not oracle.ongoing_trials and not oracle.tuner_ids and not oracle.trials
    assert caplog.text.count("refuses requests") == 1
    worker = PatientClient.__new__(PatientClient)
    worker.__dict__.update(_client=oracle, _patience=1.0, _answered=float("inf"), _address=("", 0), secret="secret")
    worker.__dict__.update(_group=collections.deque(), _trial=None)
    trial = worker.create_trial("worker-0")
    assert list(oracle.ongoing_trials) == ["worker-0"]
    worker.update_trial(trial.trial_id, {"accuracy": 0.5})
    assert worker.get_trial(trial.trial_id).trial_id == trial.trial_id
    trial.status = "COMPLETED"
    worker.end_trial(trial)
    assert oracle.trials[trial.trial_id].score == 0.5 and " " not in trial.trial_id


def test_a_stranger_neither_takes_nor_ends_trials(tmp_path, alone, start, monkeypatch):  # noqa: F811
    """KerasTuner's own client of another process on this machine, while a worker has its first trial in hand."""
    processes = start(tmp_path, {"worker-0": {"1": "wait go-on"}}, 1)
    processes.wait_for((tmp_path / "worker-0.began").exists)
    for name, value in variables("worker-0", processes.port).items():
        monkeypatch.setenv(name, value)
    oracle, stranger = make(tmp_path / "stranger")
    trial = oracle._make.trial({"layer_00": 0}, "0000", "COMPLETED")
    for call in (
        lambda: stranger.create_trial("worker-0"),
        lambda: stranger.create_trial("worker-0 " + "0" * 64),
        lambda: stranger.update_trial("0000", {"accuracy": 1.0}),
        lambda: stranger.get_trial("0000"),
        lambda: stranger.end_trial(trial),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert "expected the secret of this search" in caught.value.details()
    assert stranger.get_space().values  # what may be read
    (tmp_path / "go-on").touch()
    assert processes.end() == 0
    assert_same_search(tmp_path, alone)
    assert len(evaluations(tmp_path, "worker-0")) == len(evaluations(alone, "alone"))
