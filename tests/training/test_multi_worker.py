"""MultiWorkerMirroredStrategy with two real processes on this machine."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
LAUNCHER = HERE.parent.parent / "tools" / "train_workers.py"

WORKER = textwrap.dedent("""
    import os, sys, json, pathlib, signal
    sys.path[:0] = {paths!r}
    import numpy as np
    from scarlet_tf.training.distribution import is_chief, strategy_from_environment
    strategy = strategy_from_environment()
    import keras
    import test_train_supernet as t
    folder = pathlib.Path({folder!r})
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

    class KillOnce(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            mark = folder / "killed"
            if {kill} and index == 1 and batch == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    with strategy.scope():
        supernet = t.Supernet(t.SPACE, num_classes=5)
    config = {{**t.CONFIG, "epochs": 2, "checkpoint_seconds": 0, "execution": {execution!r}}}
    figures = t.train_supernet(supernet, t.data(), config, strategy, folder / "run", [KillOnce()])
    arrays = [np.asarray(v.numpy()) for v in supernet.variables]
    np.savez(folder / f"worker{{index}}.npz", *arrays)
    (folder / f"worker{{index}}.json").write_text(json.dumps(figures))
""")


def run_workers(folder, kill=False, execution="lanes"):
    """(exit code, each worker's figures, each worker's variables)."""
    folder.mkdir()
    paths = [str(HERE.parent), str(HERE), str(HERE.parent.parent)]
    script = folder / "worker.py"
    script.write_text(WORKER.format(paths=paths, folder=str(folder), kill=kill, execution=execution))
    command = [sys.executable, str(LAUNCHER), "--workers", "2", "--", sys.executable, str(script)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = [json.loads((folder / f"worker{i}.json").read_text()) for i in range(2)]
    arrays = [list(np.load(folder / f"worker{i}.npz").values()) for i in range(2)]
    return done, figures, arrays


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return run_workers(tmp_path_factory.mktemp("workers") / "straight")


def test_two_workers_end_with_equal_losses_and_weights(straight):
    _, figures, arrays = straight
    assert figures[0] == figures[1] and figures[0]["steps"] == 8
    for one, other in zip(*arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_job_ends_the_same_when_a_worker_is_killed(straight, tmp_path):
    done, figures, arrays = run_workers(tmp_path / "killed", kill=True)
    assert "starting all again" in done.stderr
    assert figures[0] == straight[1][0]
    for one, other in zip(arrays[0], straight[2][0], strict=True):
        np.testing.assert_array_equal(one, other)
