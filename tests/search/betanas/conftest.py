"""Two logical CPU devices, configured before the first operation fixes the devices."""

import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas():
    """A MirroredStrategy over the two logical CPU devices; one a process, as TensorFlow's collective keys want it."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
