import os
import subprocess
import sys
import textwrap

import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.files import atomic_writer, read_json, write_json, write_text


def test_json_round_trips_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"accuracy": 0.5, "choices": [1, 2]})
    assert read_json(path) == {"accuracy": 0.5, "choices": [1, 2]}
    assert os.listdir(path.parent) == ["b.json"]


def test_failure_inside_the_block_keeps_the_previous_content(tmp_path):
    path = tmp_path / "state.json"
    write_text(path, "before")
    with pytest.raises(RuntimeError), atomic_writer(path, "w") as file:
        file.write("half")
        raise RuntimeError("killed")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["state.json"]


def test_value_that_json_cannot_hold_keeps_the_previous_content(tmp_path):
    path = tmp_path / "state.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_keeps_the_previous_content(tmp_path):
    """A limit on the size of files stands in for a full disk: write() fails half way, just as ENOSPC does."""
    path = tmp_path / "state.json"
    write_json(path, {"generation": 1})
    script = textwrap.dedent(
        f"""
        import resource, signal
        from scarlet_tf.errors import InputError
        from scarlet_tf.files import write_json
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_json({str(path)!r}, list(range(100_000)))
        except InputError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"{path}: could not be written" in done.stdout
    assert read_json(path) == {"generation": 1}
    assert os.listdir(tmp_path) == ["state.json"]


def test_write_below_a_file_names_the_path(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(InputError, match=r"x.json: could not be written"):
        write_json(tmp_path / "file" / "x.json", 1)


@pytest.mark.parametrize("content", ['{"a": 1', "", "[" * 20_000, "1" * 5000], ids=["torn", "empty", "deep", "long"])
def test_bad_json_is_named(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"state.json: expected JSON"):
        read_json(path)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"state.json: could not be read: No such file"):
        read_json(tmp_path / "state.json")


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    write_text(tmp_path / "labels.txt", "Bär\n")
    assert (tmp_path / "labels.txt").read_bytes() == "Bär\n".encode()


def test_files_may_be_read_by_whom_the_system_lets(tmp_path):
    """A server that runs under another account reads exported files."""
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "model.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "model.json").stat().st_mode & 0o777 == 0o644
