import json

import pytest

from scarlet_tf.cluster import Cluster, read_tf_config
from scarlet_tf.errors import InputError

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
