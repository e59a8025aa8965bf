"""Which execution "auto" stands for."""

import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import memory
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.memory import least_activation_bytes
from scarlet_tf.training.supernet import LANES_OVER_LEAST, SHARE, choose_execution


@pytest.fixture(scope="module")
def supernet():
    return Supernet(tiny_space(), num_classes=5)


def choose(supernet, **fields):
    return choose_execution(supernet, SupernetConfig(batch_size=16, **fields))


def test_lanes_are_taken_exactly_where_they_fit(supernet, monkeypatch):
    needed = LANES_OVER_LEAST * least_activation_bytes(supernet, 16, "lanes") / SHARE
    for limit, expected in ((needed, "lanes"), (needed - 2, "sequential")):
        monkeypatch.setattr(memory, "limit_bytes", lambda limit=limit: limit)
        assert choose(supernet) == expected


def test_what_leaves_no_choice(supernet, monkeypatch):
    assert choose(supernet, execution="sequential") == "sequential"
    assert choose(supernet, sampling="uniform") == "sequential"
    monkeypatch.setattr(memory, "limit_bytes", lambda: 1)
    assert choose(supernet, execution="lanes") == "lanes"
    assert choose(supernet, jit_compile=True) == "lanes"
    monkeypatch.setattr(memory, "limit_bytes", lambda: 2**60)
    monkeypatch.setattr(memory, "gpu_names", lambda: ["/device:GPU:0"])
    assert choose(supernet) == "sequential"


@pytest.mark.parametrize("fields", [{"execution": "sequential"}, {"sampling": "uniform"}])
def test_xla_is_refused_where_nothing_is_compiled_whole(fields):
    with pytest.raises(
        InputError, match=r"supernet\.jit_compile: expected false with a sequential execution, got true"
    ):
        SupernetConfig(jit_compile=True, **fields)
