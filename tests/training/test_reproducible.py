"""One seed, one result: bit for bit, in one process and from process to process."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, tiny_space

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.compiled_layers import Graph
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.network import retrain
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths
from scarlet_tf.training.supernet import train_supernet

# Enough work side by side for TensorFlow's threads to finish in changing order.
SPACE = SearchSpace(
    "busy",
    stages=(Stage(16, 1, 1), Stage(24, 2, 2)),
    choices=(Choice(3, 3), Choice(6, 5, True), Choice(3, 7), Choice()),
    stem_channels=16,
    stem_stride=1,
    first_channels=16,
    tail_channels=64,
    input_size=16,
)
STEPS = 6


def supernet_digest(execution: str) -> str:
    """What all weights, statistics included, are after a few steps."""
    data = images_and_labels(np.random.default_rng(0), 32 * STEPS, SPACE.input_size)
    supernet = Supernet(SPACE, num_classes=5, seed=0)
    train_supernet(supernet, data, {"epochs": 1, "batch_size": 32, "execution": execution})
    return digest(supernet)


@pytest.mark.parametrize("execution", ["lanes", "sequential"])
def test_no_sum_depends_on_the_order_of_its_terms(execution, monkeypatch):
    """AddN adds three or more terms in an order that changes from run to run."""
    supernet = Supernet(SPACE, num_classes=5, seed=0)
    optimizer = MomentumSGD(learning_rate=0.1, momentum=0.9)
    optimizer.build(supernet.trainable_variables)
    step = SupernetStep(supernet, optimizer, Loss(5, 8), execution, 1e-4)
    images, labels = images_and_labels(np.random.default_rng(0), 8, SPACE.input_size)
    paths = strict_fair_paths(SPACE, 0, 0)
    if step.compiled:
        compiled = tf.function(step, autograph=False)
        graphs = [compiled.get_concrete_function(images, labels, tf.constant(paths)).graph]
    else:
        graphs, cut = [], Graph.pruned
        monkeypatch.setattr(Graph, "pruned", lambda self, *rest: graphs.append(self.function.graph) or cut(self, *rest))
        step(images, labels, paths)
    definitions = [graph.as_graph_def() for graph in graphs]
    inner = [function for definition in definitions for function in definition.library.function]
    nodes = [node for definition in definitions for node in definition.node]
    nodes += [node for function in inner for node in function.node_def]
    sums = [len(node.input) for node in nodes if node.op == "AddN"]
    assert sums and max(sums) == 2


def digest(model) -> str:
    return hashlib.sha256(b"".join(np.asarray(v).tobytes() for v in model.variables)).hexdigest()


@pytest.mark.slow
def test_a_supernet_trained_sequentially_twice_is_the_same():
    assert supernet_digest("sequential") == supernet_digest("sequential")


@pytest.mark.slow
def test_a_supernet_trained_as_lanes_in_two_processes_is_the_same():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = "import test_reproducible as t; print(t.supernet_digest('lanes'))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); {code}"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == supernet_digest("lanes")


@pytest.mark.slow  # test_retrain.py compares resumed with uninterrupted networks, bit by bit, too
def test_a_network_trained_twice_is_the_same():
    space = tiny_space()
    data = images_and_labels(np.random.default_rng(0), 64)
    config = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "warmup_epochs": 0}
    digests = {digest(retrain(Architecture.parse("0,1,2,0", space), data, data, config)[0]) for _ in range(2)}
    assert len(digests) == 1
