"""MultiWorkerMirroredStrategy with two real processes on this machine."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
LAUNCHER = HERE.parent.parent / "tools" / "local_cluster.py"

WORKER = textwrap.dedent("""
    import os, sys, json, pathlib, signal
    sys.path[:0] = {paths!r}
    import numpy as np
    from scarlet_tf.training.devices import read_variables, strategy_from_environment
    strategy = strategy_from_environment()
    import keras
    import test_train_supernet as t
    folder = pathlib.Path({folder!r})
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

    class KillOnce(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            mark = folder / "mark"
            if index == 1 and batch == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def train(name, *callbacks):
        with strategy.scope():
            supernet = t.Supernet(t.SPACE, num_classes=5)
        config = {{**t.CONFIG, "epochs": 2, "checkpoint_seconds": 0}}
        figures = t.train_supernet(supernet, t.data(), config, strategy, folder / name, callbacks)
        names = [v.path.partition("/")[2] for v in supernet.variables]
        np.savez(folder / name / f"worker{{index}}.npz", **dict(zip(names, read_variables(supernet, strategy))))
        (folder / name / f"worker{{index}}.json").write_text(json.dumps(figures))

    train("killed", KillOnce())
    train("straight")
""")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The folder of two workers that train twice: one is killed in the first training, and both are started again."""
    folder = tmp_path_factory.mktemp("workers")
    paths = [str(HERE.parent), str(HERE), str(HERE.parent.parent)]
    script = folder / "worker.py"
    script.write_text(WORKER.format(paths=paths, folder=str(folder)))
    command = [sys.executable, str(LAUNCHER), "--training", "--workers", "2", "--", sys.executable, str(script)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for code in (-signal.SIGKILL % 256, 0):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr[-3000:]
    return folder


def ends(folder):
    """(each worker's figures, each worker's variables)."""
    figures = [json.loads((folder / f"worker{i}.json").read_text()) for i in range(2)]
    return figures, [dict(np.load(folder / f"worker{i}.npz")) for i in range(2)]


@pytest.mark.slow
def test_two_workers_end_with_equal_losses_and_weights(job):
    folder = job / "straight"
    figures, arrays = ends(folder)
    assert figures[0] == figures[1] and figures[0]["steps"] == 8
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)
    # The chief alone wrote, and what it wrote is what both hold.
    assert {path.name.split("-")[0] for path in (folder / "supernet").iterdir()} == {"checkpoint"}


@pytest.mark.slow
def test_the_job_ends_the_same_when_a_worker_is_killed(job):
    assert (job / "mark").exists()
    (killed, killed_arrays), (straight, straight_arrays) = ends(job / "killed"), ends(job / "straight")
    assert killed[0] == straight[0]
    for name, array in killed_arrays[0].items():
        if name.split("/")[-1].startswith("moving_"):  # each worker's own until they are saved, as a mean
            np.testing.assert_allclose(array, straight_arrays[0][name], rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(array, straight_arrays[0][name], err_msg=name)
