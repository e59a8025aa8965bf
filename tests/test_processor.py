"""When the command line turns oneDNN or TensorFlow's memory pool on, by texts of /proc/cpuinfo, and what it says of it."""

import os
import subprocess
import sys

import pytest

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError

AVX2 = "fpu lm sse4_2 avx fma f16c avx2"
AVX512 = f"{AVX2} avx512f avx512dq avx512bw avx512vl"


def cpuinfo(*flags_of_cores):
    return "\n\n".join(
        f"processor\t: {core}\nmodel name\t: A: B\nflags\t\t: {flags}\nvmx flags\t: avx_vnni"
        for core, flags in enumerate(flags_of_cores)
    )


@pytest.fixture
def unset(monkeypatch):
    """Nobody has decided, and TensorFlow is not imported yet."""
    for name in (host.VARIABLE, host.ALLOCATOR, host.SET_BY_US):
        monkeypatch.setenv(name, "")  # so that it is restored even where the test sets it
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "tensorflows", "needed"),
    [
        (cpuinfo(AVX2, AVX2), "0", True),
        (cpuinfo(AVX512), "0", True),  # without neural network instructions: TensorFlow leaves oneDNN off
        (cpuinfo(f"{AVX512} avx512_vnni"), "1", False),
        (cpuinfo(f"{AVX2} avx_vnni"), "1", False),
        (cpuinfo("fpu lm avx avx2"), "0", False),  # no FMA
        (cpuinfo("fpu lm avx fma"), "0", False),
        (cpuinfo(AVX2, "fpu lm avx"), "0", False),  # not all cores
        ("processor\t: 0\nFeatures\t: fp asimd avx2 fma\nCPU part\t: 0xd40\n", None, False),  # ARM
        ("", None, False),
        ("flags\nflags:\n", None, False),
    ],
)
def test_processors_that_are_faster_with_onednn_than_tensorflow_lets_them(text, tensorflows, needed):
    assert (host.tensorflows_choice(text), host.needs_onednn(text)) == (tensorflows, needed)


def test_the_faster_one_is_set_and_said(unset, tmp_path):
    (tmp_path / "cpuinfo").write_text(cpuinfo(AVX2))
    host.set_faster(tmp_path / "none")
    assert host.VARIABLE not in os.environ
    assert host.in_words() == "oneDNN: TensorFlow's choice (TF_ENABLE_ONEDNN_OPTS is not set)"
    assert (host.in_use(tmp_path / "cpuinfo"), host.in_use(tmp_path / "none")) == ("0", None)
    for _ in range(2):  # the second time as a process that the first one starts
        host.set_faster(tmp_path / "cpuinfo")
        assert host.in_words() == "oneDNN: on, set by scarlet_tf (TF_ENABLE_ONEDNN_OPTS=1)"
    assert host.in_use(tmp_path / "cpuinfo") == "1"


POOL = "memory of tensors: set by scarlet_tf (TF_CPU_ALLOCATOR_USE_BFC=1)"


@pytest.mark.parametrize(
    ("value", "words"),
    [("0", f"off, set by you (TF_ENABLE_ONEDNN_OPTS=0); {POOL}"), ("1", "on, set by you (TF_ENABLE_ONEDNN_OPTS=1)")],
)
def test_a_setting_of_the_user_s_stays(unset, tmp_path, value, words):
    (tmp_path / "cpuinfo").write_text(cpuinfo(AVX2))
    unset.setenv(host.VARIABLE, value)
    host.set_faster(tmp_path / "cpuinfo")
    assert os.environ[host.VARIABLE] == host.in_use(tmp_path / "cpuinfo") == value
    assert host.in_words() == f"oneDNN: {words}"


@pytest.mark.parametrize(("flags", "onednn"), [("fpu lm avx", None), (AVX2, "1"), (f"{AVX2} avx_vnni", None)])
def test_tensors_get_the_pool_where_onednn_is_off(unset, tmp_path, flags, onednn):
    (tmp_path / "cpuinfo").write_text(cpuinfo(flags))
    for _ in range(2):
        host.set_faster(tmp_path / "cpuinfo")
        assert os.environ.get(host.VARIABLE) == onednn
        assert host.allocator_in_words() == (POOL if flags == "fpu lm avx" else "")
    unset.setenv(host.VARIABLE, "0")  # by the user, in a process that inherits the rest
    host.set_faster(tmp_path / "cpuinfo")
    assert (host.chosen(), host.allocator_in_words()) == ("set by you", POOL)
    unset.setenv(host.VARIABLE, "1")
    unset.setenv(host.SET_BY_US, f"{host.ALLOCATOR}=1")
    host.set_faster(tmp_path / "cpuinfo")
    assert host.ALLOCATOR not in os.environ  # it was ours


@pytest.mark.parametrize("value", ["0", "1", "false"])
def test_the_pool_of_the_user_s_stays(unset, tmp_path, value):
    unset.setenv(host.VARIABLE, "0")
    unset.setenv(host.ALLOCATOR, value)
    host.set_faster(tmp_path / "none")
    assert os.environ[host.ALLOCATOR] == value and host.SET_BY_US not in os.environ
    assert host.in_words().endswith(f"; memory of tensors: set by you (TF_CPU_ALLOCATOR_USE_BFC={value})")
    unset.setenv(host.ALLOCATOR, "")
    host.set_faster(tmp_path / "none")
    assert host.in_words().endswith(f"; {POOL}")


def test_nothing_is_known_of_other_processors(unset, tmp_path):
    host.set_faster(tmp_path / "none")
    assert host.allocator_in_words() == ""


def test_an_empty_setting_is_none(unset, tmp_path):
    """TensorFlow, too, decides itself then, but warns of it."""
    (tmp_path / "cpuinfo").write_text(cpuinfo(AVX2))
    unset.setenv(host.VARIABLE, "")
    assert host.onednn_setting() is None
    host.set_faster(tmp_path / "none")
    assert host.VARIABLE not in os.environ
    unset.setenv(host.VARIABLE, "")
    host.set_faster(tmp_path / "cpuinfo")
    assert os.environ[host.VARIABLE] == "1"


def test_nothing_is_set_once_tensorflow_is_imported(unset, tmp_path):
    (tmp_path / "cpuinfo").write_text(cpuinfo(AVX2))
    unset.setitem(sys.modules, "tensorflow", object())
    host.set_faster(tmp_path / "cpuinfo")
    assert host.VARIABLE not in os.environ


@pytest.mark.parametrize("value", ["true", "False", " 1", "2", "on", "\u0661"])
def test_another_value_is_refused(unset, value):
    unset.setenv(host.VARIABLE, value)
    with pytest.raises(InputError, match="TF_ENABLE_ONEDNN_OPTS: expected 0 or 1, or unset it, got "):
        host.set_faster()


def test_the_command_line_sets_it_before_tensorflow_is_imported_and_the_library_does_not(unset):
    script = f"""
import os, sys
import scarlet_tf
from scarlet_tf import cli
from scarlet_tf.base import host as processor
text = {cpuinfo(AVX2)!r}
processor._read = lambda path: text
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), "tensorflow" in sys.modules)
cli.main(["cost", "scarlet_a", "--quiet"])
print(os.environ["TF_ENABLE_ONEDNN_OPTS"], processor.chosen())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("None False", "1 set by scarlet_tf")
