"""What all tests share: quiet frameworks, two logical CPU devices, one seed a test.

TensorFlow is not imported here: the tests of spaces, costs and the command line then run without it. A finder in
front of the import system makes the second logical device the moment that something does import it.
"""

import importlib.abc
import importlib.machinery
import logging
import os
import random
import sys

import numpy as np
import pytest

from scarlet_tf.base import host, logs, progress

logs.quiet_frameworks()
host.set_faster()  # as the command line does, whichever test comes first
os.environ["SCARLET_ZOO_DIR"] = os.path.join(os.devnull, "none")  # no test sees the user's own networks


def _split_the_cpu(tensorflow) -> None:
    devices = tensorflow.config.list_physical_devices("CPU")
    tensorflow.config.set_logical_device_configuration(devices[0], [tensorflow.config.LogicalDeviceConfiguration()] * 2)


class _TwoCpus(importlib.abc.MetaPathFinder):
    """Configures TensorFlow right after its import; later is too late, the first operation fixes the devices."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        run_module = spec.loader.exec_module

        def run_then_configure(module):
            run_module(module)
            _split_the_cpu(module)

        spec.loader.exec_module = run_then_configure
        return spec


if "tensorflow" in sys.modules:
    _split_the_cpu(sys.modules["tensorflow"])
else:
    sys.meta_path.insert(0, _TwoCpus())


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same global random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def own_terminal():
    """What the command line, in a test or in what tests share, does to log lines and bars is undone before each test."""
    logger = logging.getLogger("scarlet_tf")
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    progress.show_bars(True)
    yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def two_cpus():
    """Names of the two logical devices, for MirroredStrategy."""
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("CPU")]


@pytest.fixture(scope="session")
def two_replicas():
    """A MirroredStrategy over the two logical CPU devices; one a process, as TensorFlow's collective keys want it."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
