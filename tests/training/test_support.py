"""A training that TensorFlow cannot compute is refused before its first step."""

import pytest
import tensorflow as tf
from tiny import tiniest_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import devices
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD

pytestmark = pytest.mark.both_modes


@pytest.fixture
def untried(monkeypatch):
    devices.refusal.cache_clear()
    yield monkeypatch
    devices.refusal.cache_clear()


def make_step(precision, **kwargs):
    supernet = Supernet(tiniest_space(), num_classes=5, dtype=precision)
    return SupernetStep(supernet, MomentumSGD(learning_rate=0.1, momentum=0.9), Loss(5, 8), "lanes", **kwargs)


def test_half_precision_that_no_kernel_computes_is_refused(untried):
    def fails_in_half(x, weights, *args, real=tf.nn.conv2d):
        if x.dtype != tf.float32:
            raise tf.errors.AbortedError(None, None, "{{function_node a}} Status: 3\nin a file")
        return real(x, weights, *args)

    untried.setattr(tf.nn, "conv2d", fails_in_half)
    make_step("float32")
    with pytest.raises(InputError) as refused:
        make_step("mixed_bfloat16")
    assert str(refused.value) == (
        "supernet.precision: expected float32 on this machine, got mixed_bfloat16: TensorFlow says 'Status: 3'"
    )


def test_xla_that_tensorflow_was_built_without_is_refused(untried):
    def without_xla(function, jit_compile=None, real=tf.function, **kwargs):
        if jit_compile:
            raise tf.errors.NotFoundError(None, None, "no compiler for platform Host")
        return real(function, **kwargs)

    untried.setattr(tf, "function", without_xla)
    make_step("float32")
    with pytest.raises(
        InputError, match=r"supernet\.jit_compile: expected false on this machine, got true: .*no compil"
    ):
        make_step("float32", jit_compile=True)


def test_what_this_machine_computes_is_not_refused():
    """Processors whose kernels know no half precision convert it; that float32 is computed goes without a trial."""
    assert devices.refusal("float32") == ""
    devices.check_support("float32")
