import ast
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest

import scarlet_tf
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import (
    atomic_writer,
    file_name,
    has_digest,
    lock,
    read_json,
    write_archive,
    write_json,
    write_result,
    write_text,
)


def test_json_round_trips_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"accuracy": 0.5, "choices": [1, 2]})
    assert read_json(path) == {"accuracy": 0.5, "choices": [1, 2]}
    assert os.listdir(path.parent) == ["b.json"]


@pytest.mark.parametrize("value", [{"accuracy": 0.5}, {"a": {"sha256": "0" * 64}, "b": [], "c": None}, {"Bär": "ä\n"}])
def test_no_bit_of_a_result_changes_unnoticed(tmp_path, value):
    path = tmp_path / "result.json"
    write_result(path, value)
    assert read_json(path) == value and json.loads(path.read_text()).items() > value.items() and has_digest(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=r"result\.json: (expected JSON|changed after it was written)"):
                read_json(path)
    path.write_text(json.dumps(value, indent=1))  # as earlier versions did
    assert read_json(path) == value and not has_digest(path)


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
        from scarlet_tf.base.errors import InputError
        from scarlet_tf.base.files import write_json
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


# -- other systems ---------------------------------------------------------------------------------------------


def test_second_opening_of_a_locked_file_is_refused(tmp_path):
    with open(tmp_path / "lock", "ab") as first, open(tmp_path / "lock", "ab") as second:
        assert lock(first.fileno(), "lock") and not lock(second.fileno(), "lock")
        first.close()
        assert lock(second.fileno(), "lock")


def test_line_ends_stay_as_they_are(tmp_path):
    with atomic_writer(tmp_path / "x.csv", "w") as file:
        assert file.newlines is None and file.write("a\nb\r\n") == 5
    assert (tmp_path / "x.csv").read_bytes() == b"a\nb\r\n"


@pytest.mark.parametrize(
    "text", ["digits", "my run (2).v1", "Bär", ".hidden", "console", "com", "lpt10", "null", "a-b_c"]
)
def test_names_for_every_system_stay(text):
    assert file_name(text) == text


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("con", "_con-"),
        ("Aux.v1", "_Aux.v1-"),
        ("nul .tar.gz", "_nul .tar.gz-"),
        ("COM9", "_COM9-"),
        ("lpt³", "_lpt³-"),
        ("CONOUT$", "_CONOUT$-"),
        ("a/b\\c:d", "a_b_c_d-"),
        ('<">|?*', "______-"),
        ("tab\there\x00", "tab_here_-"),
        ("end. .", "end_-"),
        ("..", "_-"),
        ("", "_-"),
    ],
)
def test_other_names_become_ones_that_windows_takes(text, beginning):
    name = file_name(text)
    assert name.startswith(beginning)
    windows = pathlib.PureWindowsPath(name)
    assert windows.parts == (name,) and not windows.is_reserved()
    assert name == name.rstrip(". ") and not set(name) & set('<>:"/\\|?*') and min(name) >= " "
    assert file_name(name) == name


def test_names_that_become_alike_are_kept_apart():
    texts = ["a:b", "a?b", "A:B", "a/b", "con", "CON", "Con", "x.", "x..", "x ", "_con", "a_b"]
    assert len({file_name(text).casefold() for text in texts}) == len(texts)


def test_texts_state_their_encoding_and_written_ones_their_line_ends():
    """Python's own choice depends on the system, and with it what a file's digest is."""
    bad = []
    for path in sorted(pathlib.Path(scarlet_tf.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _is_careless(call):
                bad.append(f"{path.name}:{call.lineno}: {ast.unparse(call)}")
    assert bad == []


@pytest.mark.parametrize(
    ("source", "careless"),
    [
        ("open(path)", True),
        ("open(path, encoding='utf-8')", False),
        ("path.open('rb')", False),
        ("path.open('w', encoding='utf-8')", True),
        ("open(path, 'a', encoding='utf-8', newline='')", False),
        ("path.read_text()", True),
        ("path.write_text(text, encoding='utf-8')", True),
        ("files.write_text(path, text)", False),
        ("os.open(path, flags)", False),
    ],
)
def test_careless_calls_are_told_from_others(source, careless):
    assert _is_careless(ast.parse(source, mode="eval").body) is careless


def _is_careless(call):
    """Whether a call opens a text file without saying how; no file has a terminal's line ends (`buffering=1`)."""
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else None
    name = call.func.attr if owner else getattr(call.func, "id", None)
    keys = {keyword.arg for keyword in call.keywords}
    if name == "open" and owner not in ("os", "self", "journal", "self._journal", "archive"):
        modes = [value.value for value in call.args[owner is None :][:1] if isinstance(value, ast.Constant)]
        mode = modes[0] if modes else "r"
        if "b" in mode or "buffering" in keys:
            return False
        return "encoding" not in keys or (mode != "r" and "newline" not in keys)
    if name in ("read_text", "write_text") and owner is not None and owner != "files":
        return "encoding" not in keys or (name == "write_text" and "newline" not in keys)
    return False


def test_an_archive_holds_a_folders_files_also_before_1980(tmp_path, monkeypatch):
    """ZIP's dates begin in 1980, and zipfile refuses what is before."""
    monkeypatch.setattr(time, "localtime", lambda *seconds: time.struct_time((1970, 1, 2, 0, 0, 0, 4, 2, 0)))
    (tmp_path / "folder" / "assets").mkdir(parents=True)
    files = {"config.json": b"{}", "assets/a.txt": b"a"}
    for name, content in files.items():
        (tmp_path / "folder" / name).write_bytes(content)
    write_archive(tmp_path / "x.zip", tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert {info.filename: archive.read(info) for info in archive.infolist()} == files
