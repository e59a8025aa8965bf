import json

import pytest

from scarlet_tf.base.cluster import Cluster, is_loopback, is_writer, read_tf_config, search_address, search_role
from scarlet_tf.base.errors import InputError

WORKERS = {"worker": ["a:1", "b:2"]}


def text(cluster=WORKERS, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize("nothing", ["", "  ", "{}", '{"cluster": {}}'])
def test_without_a_cluster_a_process_is_its_own_chief(nothing, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", nothing)
    assert read_tf_config() == Cluster() and Cluster().is_chief


def test_worker_0_is_the_chief_unless_there_is_one():
    assert [read_tf_config(text(index=i)).is_chief for i in (0, 1)] == [True, False]
    cluster = {"chief": ["c:3"], **WORKERS}
    assert read_tf_config(text(cluster, "chief")).is_chief
    assert not read_tf_config(text(cluster, "worker", 0)).is_chief
    assert len(read_tf_config(text(cluster)).tasks) == 3


@pytest.mark.parametrize(
    "bad, message",
    [
        ("{not json", "expected JSON such as"),
        ("[1]", "expected an object"),
        (text({"ps": ["a:1"]}), "expected the task types chief and worker, got 'ps'"),
        (text({"worker": "a:1"}), "cluster.worker: expected a list"),
        (text({"worker": []}), "cluster.worker: expected a list"),
        (text({"worker": ["a"]}), "cluster.worker: expected a list"),
        (text({"chief": ["a:1", "b:2"]}, "chief"), "cluster.chief: expected a list of one"),
        (text(kind="chief"), "task.type: expected one of \\['worker'\\], got 'chief'"),
        (text(index=2), "task.index: expected an integer from 0 to 1, got 2"),
        (text(index=True), "task.index"),
        (json.dumps({"cluster": WORKERS}), "task.type"),
    ],
)
def test_what_is_wrong_is_named(bad, message):
    with pytest.raises(InputError, match=message) as error:
        read_tf_config(bad)
    assert str(error.value).startswith("TF_CONFIG")


SEARCH = {"KERASTUNER_TUNER_ID": "worker-0", "KERASTUNER_ORACLE_IP": "10.0.0.1", "KERASTUNER_ORACLE_PORT": "4000"}


def set_search(monkeypatch, **changes):
    for name, value in {**SEARCH, **changes}.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)


def test_kerastuners_variables_tell_a_searchs_chief_from_its_workers(monkeypatch):
    set_search(monkeypatch, KERASTUNER_ORACLE_IP=None)
    assert search_role() == "alone" and is_writer("search")
    set_search(monkeypatch)
    assert search_role() == "worker" and search_address() == ("10.0.0.1", 4000)
    assert not is_writer("search") and is_writer("retrain")
    set_search(monkeypatch, KERASTUNER_TUNER_ID="chief")
    assert search_role() == "chief" and is_writer("search")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"KERASTUNER_TUNER_ID": None}, "KERASTUNER_TUNER_ID: expected a value"),
        ({"KERASTUNER_ORACLE_PORT": ""}, "KERASTUNER_ORACLE_PORT: expected a value"),
        ({"KERASTUNER_ORACLE_PORT": "http"}, "KERASTUNER_ORACLE_PORT: expected a port from 1 to 65535, got 'http'"),
        ({"KERASTUNER_ORACLE_PORT": "65536"}, "KERASTUNER_ORACLE_PORT: expected a port"),
    ],
)
def test_half_a_search_cluster_is_refused(changes, message, monkeypatch):
    set_search(monkeypatch, **changes)
    with pytest.raises(InputError, match=message):
        search_role()


def test_loopback_addresses_are_known():
    hosts = ("127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "10.0.0.1", "host")
    assert [is_loopback(host) for host in hosts] == [True] * 3 + [False] * 3
