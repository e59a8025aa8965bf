import io
import resource
import signal
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.training.checkpoints import Checkpoints


def variables(value=0.0):
    return {"a": keras.Variable(np.full((3, 2), value, np.float32)), "b": keras.Variable(np.float32(value))}


class Held:
    """A variable that takes no time."""

    def __init__(self, shape):
        self.shape = shape

    def assign(self, value):
        self.value = np.array(value)


def test_newest_checkpoint_is_restored_and_old_ones_go(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        store.save(step, variables(step), {"note": step})
    assert [path.name for path in store.paths()] == ["checkpoint-000000002.npz", "checkpoint-000000003.npz"]
    target = variables()
    assert store.restore(target) == {"note": 3, "step": 3}
    np.testing.assert_array_equal(target["a"], 3)


def test_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path / "none").restore(variables()) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(tmp_path, damage, caplog):
    store = Checkpoints(tmp_path)
    store.save(1, variables(1), {})
    path = store.save(2, variables(2), {})
    content = bytearray(path.read_bytes())
    if damage == "flip":
        at = content.find(np.full((3, 2), 2, np.float32).tobytes())
        content[at] ^= 0xFF
    path.write_bytes({"truncate": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    target = variables()
    assert store.restore(target)["step"] == 1
    np.testing.assert_array_equal(target["a"], 1)
    assert "checkpoint-000000002.npz is damaged" in caplog.text


def test_any_flipped_bit_gives_this_checkpoint_or_the_one_before_it(tmp_path):
    """Two bits of each byte of the ZIP directory, and of every fifth before it; none takes more memory than the file."""
    store = Checkpoints(tmp_path)
    store.save(1, variables(1), {"note": 1})
    path = store.save(2, variables(2), {"note": 2})
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    outcomes = {1: 0, 2: 0}
    tracemalloc.start()
    for place in [*range(0, directory, 5), *range(directory, len(whole))]:
        for bit in (place % 8, (place + 5) % 8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            target = {"a": Held((3, 2)), "b": Held(())}
            step = store.restore(target)["step"]
            assert (target["a"].value == step).all() and target["b"].value == step
            outcomes[step] += 1
    # A few copies of a file of less than 2 KiB, and what Python itself keeps; a claim would be of 4 GiB.
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()
    assert outcomes[1] > 300 and outcomes[2] > 30  # dates and the system that wrote it say nothing of the values


@pytest.mark.parametrize(
    "header",
    [
        {"shape": (10**6, 10**6), "fortran_order": False, "descr": "<f4"},
        {"shape": (3, 2), "fortran_order": False, "descr": "|S1000000000"},
        {"shape": (6,), "fortran_order": False, "descr": "<f8"},
        {"shape": (3, 2), "fortran_order": False, "descr": "|O"},
    ],
)
def test_what_a_header_merely_claims_is_not_allocated(tmp_path, header, caplog):
    """The CRC fits; the header declares other bytes than follow it."""
    store = Checkpoints(tmp_path)
    store.save(1, variables(1), {})
    path = store.save(2, variables(2), {})
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, header)
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, data.getvalue() + bytes(24) if name == "a.npy" else content)
    tracemalloc.start()
    assert store.restore(variables())["step"] == 1
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert "checkpoint-000000002.npz is damaged (a.npy: expected" in caplog.text


@pytest.mark.parametrize("value", [np.zeros((0, 3), np.float32), np.arange(6).reshape(3, 2).T, np.array(True)])
def test_arrays_of_every_kind_come_back(tmp_path, value):
    Checkpoints(tmp_path).save(1, {"a": value}, {})
    target = keras.Variable(np.zeros_like(value), dtype=str(value.dtype))
    Checkpoints(tmp_path).restore({"a": target})
    np.testing.assert_array_equal(target, value)


def test_bfloat16_is_kept(tmp_path):
    value = np.float32(1.5)
    Checkpoints(tmp_path).save(1, {"a": keras.Variable(value, dtype="bfloat16")}, {})
    target = keras.Variable(np.float32(0), dtype="bfloat16")
    Checkpoints(tmp_path).restore({"a": target})
    assert target.dtype == "bfloat16" and float(target) == value


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(1, variables(), {}).write_bytes(b"torn")
    with pytest.raises(InputError, match="none of its 1 checkpoints can be read"):
        store.restore(variables())


def test_another_runs_checkpoint_is_refused(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(1, variables(), {"settings": {"epochs": 3}})
    with pytest.raises(InputError, match=r"another run: settings\.epochs: expected 4, found 3"):
        store.restore(variables(), {"settings": {"epochs": 4}})


def test_another_models_checkpoint_is_refused(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(1, variables(), {})
    with pytest.raises(InputError, match="another model"):
        store.restore({"a": keras.Variable(np.zeros((3, 2)))})
    with pytest.raises(InputError, match="a: expected shape"):
        store.restore({"a": keras.Variable(np.zeros(5)), "b": keras.Variable(0.0)})


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path):
    """The system refuses to let files grow beyond 4 KiB, as it would on a full disk."""
    store = Checkpoints(tmp_path)
    store.save(1, variables(1), {})
    large = {**variables(2), "c": keras.Variable(np.ones(100_000, np.float32))}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"checkpoint-000000002.npz: could not be written: .*previous file is kept"
        ):
            store.save(2, large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.npz"]
    assert store.restore(variables())["step"] == 1
