"""The tf.distribute strategy of a process' training, and the writer among several workers.

Workers are what TensorFlow's TF_CONFIG describes: one process a machine, all with the same command and a folder that all of
them see. The chief (worker 0, unless the cluster names one) writes; all read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import tensorflow as tf

from scarlet_tf.base.cluster import read_tf_config
from scarlet_tf.base.errors import InputError
from scarlet_tf.training.checkpoints import as_array


def strategy_from_environment() -> tf.distribute.Strategy | None:
    """MultiWorkerMirroredStrategy where TF_CONFIG names several workers, MirroredStrategy with several GPUs, else None.

    TensorFlow wants the first made before any operation runs. InputError when TF_CONFIG is malformed.
    """
    if len(read_tf_config().tasks) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.MirroredStrategy() if len(tf.config.list_physical_devices("GPU")) > 1 else None


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """True if this process writes checkpoints, figures and logs."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """True if replicas are in several processes."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) > 1


def distribute(strategy: tf.distribute.Strategy, batches: Callable, batch_size: int):
    """Global batches for a strategy: `batches(shard)` is a tf.data.Dataset of one worker's slices of them.

    `shard` is (index, count). A worker prepares its own images only.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(f"batch_size: expected a multiple of the {replicas} replicas, got {batch_size}")
    if not is_multi_worker(strategy):
        return strategy.experimental_distribute_dataset(batches((0, 1)))

    def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
        dataset = batches((context.input_pipeline_id, context.num_input_pipelines))
        return dataset.rebatch(context.get_per_replica_batch_size(batch_size))

    return strategy.distribute_datasets_from_function(own)


def read_variables(model, strategy: tf.distribute.Strategy) -> list:
    """The arrays of `model.variables`; BN's statistics, which every replica has its own of, as their mean.

    Several workers must all call this.
    """
    arrays = [as_array(variable) for variable in model.variables]
    if strategy.num_replicas_in_sync == 1:
        return arrays
    places = [i for i, v in enumerate(model.variables) if not v.trainable and v.dtype.startswith("float")]

    @tf.function(autograph=False)
    def means():
        own = strategy.run(lambda: [tf.identity(model.variables[i].value) for i in places])
        return [strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None) for value in own]

    for i, mean in zip(places, means(), strict=True):
        arrays[i] = mean.numpy()
    return arrays


def copy_variables(source, target, strategy: tf.distribute.Strategy) -> None:
    """Gives `target`, a model made outside the strategy, what the same model made inside it holds."""
    for variable, array in zip(target.variables, read_variables(source, strategy), strict=True):
        variable.assign(array)


# -- Parts of a step that not every build of TensorFlow computes on every processor: half precision and XLA --------
#
# Each is tried on a tiny example before a training that needs it, so that the training is refused in one line.


def check_support(policy: str, jit_compile: bool = False, section: str = "supernet") -> None:
    """Raise InputError for a dtype policy, or XLA, with which a training step cannot be computed here.

    section: of the configuration, whose keys the error names.
    """
    dtype = policy.removeprefix("mixed_")
    if dtype != "float32" and (reason := refusal(dtype)):
        raise InputError(f"{section}.precision: expected float32 on this machine, got {policy}: {reason}")
    if jit_compile and (reason := refusal(dtype, jit_compile)):
        raise InputError(f"{section}.jit_compile: expected false on this machine, got true: {reason}")


@functools.cache
def refusal(dtype: str, jit_compile: bool = False) -> str:
    """Return why convolutions and their gradients cannot be computed in `dtype`, "" if they can."""

    def gradients():
        x, weights, filters = (tf.ones(shape, dtype) for shape in ((1, 4, 4, 8), (1, 1, 8, 8), (3, 3, 8, 1)))
        with tf.GradientTape() as tape:
            tape.watch([x, weights, filters])
            y = tf.nn.depthwise_conv2d(tf.nn.conv2d(x, weights, 1, "SAME"), filters, [1, 1, 1, 1], "SAME")
        return tape.gradient(y, [x, weights, filters])

    try:
        (tf.function(gradients, autograph=False, jit_compile=True) if jit_compile else gradients)()
    except tf.errors.OpError as error:
        return f"TensorFlow says {re.sub(r'{{.*?}}', '', error.message).strip().splitlines()[0]!r}"
    return ""
