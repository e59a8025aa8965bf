"""One process of a search of a formula: chief, worker or all alone, as its environment says.

    python -c "$START" FOLDER '{"tuner id": {"n-th evaluation": action}}' [KEY=VALUE of the search...]

The formula and uniform mutation need no TensorFlow: KERAS_BACKEND=numpy has a process start sooner.
"""

import json
import os
import pathlib
import signal
import sys
import time
import types

from formula_search import BIG, accuracy

from scarlet_tf.base import logs
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.run import search

# Keras imports these two where it finds them, which is a third of the time that a process takes to start.
START = """
import sys
sys.modules.update(matplotlib=None, sklearn=None)
import cluster_member
sys.exit(cluster_member.main(*sys.argv[1:]))
"""
SUPERNET = types.SimpleNamespace(space=BIG, image_shape=(32, 32, 3), num_classes=10, variables=[])
CONFIG = {
    "population_size": 4,
    "generations": 6,
    "upper_bounds": {"multiply_adds": 1e9},
    "picks": 2,
    "mutation": {"kind": "uniform"},
}


class Evaluator:
    """Scores by the formula and notes who evaluated what, after the action that its plan names for this evaluation."""

    def __init__(self, folder, plan):
        self.folder, self.count = pathlib.Path(folder), 0
        self.me = os.environ.get("KERASTUNER_TUNER_ID", "alone")
        self.plan = plan.get(self.me, {})

    def begin_generation(self, architectures):
        with open(self.folder / "groups.txt", "a") as file:
            file.write(f"{self.me} {len(architectures)}\n")

    def evaluate(self, choices):
        self.count += 1
        again = (self.folder / f"{self.me}.killed").exists()
        (self.folder / f"{self.me}.{'back' if again else 'began'}").touch()
        with open(self.folder / "evaluations.txt", "a") as file:
            file.write(f"{self.me} {self.count} {','.join(map(str, choices))}\n")
        action, _, argument = self.plan.get(str(self.count), self.plan.get("every", "")).partition(" ")
        return getattr(self, action)(choices, argument) if action else self.score(choices)

    def score(self, choices, _=None):
        return {"accuracy": accuracy(choices)}

    def kill(self, choices, whom):
        """Kills a process, itself or another, the first time only."""
        if not (self.folder / f"{whom}.killed").exists():
            pid = int((self.folder / f"{whom}.pid").read_text())
            (self.folder / f"{whom}.killed").touch()
            os.kill(pid, signal.SIGKILL)
        return self.score(choices)

    def die(self, choices, _):
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self, choices, _):
        raise RuntimeError("no memory left")

    def nan(self, choices, _):
        return {"accuracy": float("nan")}

    def slow(self, choices, seconds):
        time.sleep(float(seconds))
        return self.score(choices)

    def wait(self, choices, name):
        """Waits for a file in the folder."""
        deadline = time.monotonic() + 120
        while not (self.folder / name).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.score(choices)


def main(folder, plan="{}", *settings):
    logs.quiet_frameworks()
    logs.log_to_terminal()
    config = CONFIG | {key: json.loads(value) for key, _, value in (text.partition("=") for text in settings)}
    evaluator = Evaluator(folder, json.loads(plan))
    path = pathlib.Path(folder) / f"{evaluator.me}.pid"
    path.write_text(str(os.getpid()))
    try:
        search(SUPERNET, None, config, folder, evaluator=evaluator)
    except (InputError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, InputError) else 1
    return 0
