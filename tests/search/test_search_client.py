import socket
import threading
import types

import grpc
import pytest

from scarlet_tf.search.workers import PatientClient


class Failed(grpc.RpcError):
    def __init__(self, code, details="broken"):
        self.code, self.details = lambda: code, lambda: details


class Client:
    """Answers after the given errors."""

    objective = types.SimpleNamespace(name="accuracy")

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), []

    def end_trial(self, trial):
        self.calls.append(trial)
        if self.errors:
            raise self.errors.pop(0)
        return "ended"


@pytest.fixture
def port(monkeypatch):
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    return port


@pytest.fixture
def listening(port):
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_calls_that_a_dying_chief_left_unanswered_are_repeated(listening):
    client = Client(Failed(grpc.StatusCode.UNAVAILABLE), Failed(grpc.StatusCode.UNAVAILABLE))
    assert PatientClient(client).end_trial("trial") == "ended"
    assert client.calls == ["trial"] * 3
    assert PatientClient(client).objective.name == "accuracy"


def test_a_chief_that_fails_is_not_asked_again(listening):
    client = Client(Failed(grpc.StatusCode.UNKNOWN, "Exception calling application: trials.jsonl: disk full"))
    with pytest.raises(RuntimeError, match=r"the chief at 127\.0\.0\.1:\d+: .*trials\.jsonl: disk full"):
        PatientClient(client).end_trial("trial")
    assert len(client.calls) == 1


def test_a_chief_that_stays_away_is_waited_for_so_long_and_no_longer(port):
    client = Client()
    with pytest.raises(RuntimeError, match=r"the chief at 127\.0\.0\.1:\d+ cannot be reached for 0\.2 s"):
        PatientClient(client, patience=0.2).end_trial("trial")
    assert not client.calls


def test_a_chief_that_never_answers_is_given_up(listening):
    client = Client(*[Failed(grpc.StatusCode.UNAVAILABLE, "no answer")] * 9)
    with pytest.raises(RuntimeError, match="no answer"):
        PatientClient(client, patience=0.2).end_trial("trial")
    assert 0 < len(client.calls) < 9


def test_a_chief_that_comes_late_is_found(port):
    servers = []
    timer = threading.Timer(0.7, lambda: servers.append(socket.create_server(("127.0.0.1", port))))
    timer.start()
    assert PatientClient(Client(), patience=30).end_trial("trial") == "ended"
    timer.join()
    servers[0].close()
