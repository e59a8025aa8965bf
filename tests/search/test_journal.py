import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap

import filelock
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search import journal as module
from scarlet_tf.search.journal import Journal, parse_line, read_lines

MINE = {"space": "s2 abc", "weights": (0.4, 0.4, 0.2), "context": None}


def opened(folder, fingerprint=MINE):
    journal = Journal(folder / "trials.jsonl", fingerprint)
    return journal, journal.open()


def test_records_come_back(tmp_path):
    journal, records = opened(tmp_path / "search")
    assert records == []
    journal.append({"trial": "0", "accuracy": 0.1})
    journal.append({"trial": "1"})
    journal.close()
    assert opened(tmp_path / "search")[1] == [{"trial": "0", "accuracy": 0.1}, {"trial": "1"}]
    assert sorted(os.listdir(tmp_path / "search")) == [".trials.jsonl.lock", "trials.jsonl"]


@pytest.mark.parametrize("torn", [b'{"trial": "1", "acc', b'{"trial"\n', b"\0\0\0"])
def test_half_written_last_line_is_dropped_and_cut_off(tmp_path, caplog, torn):
    journal, _ = opened(tmp_path)
    journal.append({"trial": "0"})
    journal.close()
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    journal, records = opened(tmp_path)
    assert records == [{"trial": "0"}]
    assert "trials.jsonl: the last line was cut short" in caplog.text
    journal.append({"trial": "2"})
    journal.close()
    assert read_lines(path)[1:] == [{"trial": "0"}, {"trial": "2"}]


def test_torn_header_begins_again(tmp_path):
    (tmp_path / "trials.jsonl").write_bytes(b'{"versi')
    assert opened(tmp_path)[1] == []
    assert json.loads((tmp_path / "trials.jsonl").read_text())["version"] == 2


def test_damage_in_the_middle_is_refused_with_its_line(tmp_path):
    journal, _ = opened(tmp_path)
    journal.append({"trial": "0"})
    journal.append({"trial": "1"})
    journal.close()
    path = tmp_path / "trials.jsonl"
    whole = path.read_bytes()
    for changed in (b'{"trial":"0', b'{"trial":"2"', b'{"trial":"0","more":1'):
        path.write_bytes(whole.replace(b'{"trial":"0"', changed))
        with pytest.raises(InputError, match=r"trials\.jsonl: line 2: expected a JSON object as it was written"):
            opened(tmp_path)
        assert path.read_bytes() == whole.replace(b'{"trial":"0"', changed)
    path.write_bytes(whole.replace(b'{"version":2', b'{"version":3', 1))
    with pytest.raises(InputError, match=r"trials\.jsonl: line 1: expected a JSON object as it was written"):
        opened(tmp_path)


def test_a_flipped_bit_of_a_line_is_noticed_wherever_it_is(tmp_path):
    """Of 8 bits in each byte of the lines behind the first."""
    lines = written(tmp_path, {"trial": "0", "metrics": {"accuracy": 0.25}}, {"trial": "1"})
    for place in range(len(lines[1])):
        for bit in range(8):
            damaged = bytearray(lines[1])
            damaged[place] ^= 1 << bit
            assert not any(map(parse_line, bytes(damaged).split(b"\n")))
    assert parse_line(lines[1]) == {"trial": "0", "metrics": {"accuracy": 0.25}}


def written(folder, *records) -> list[bytes]:
    """The lines of a journal of these records."""
    journal, _ = opened(folder)
    for record in records:
        journal.append(record)
    journal.close()
    return (folder / "trials.jsonl").read_bytes().splitlines()


def test_a_journal_of_another_version_is_refused_with_a_remedy(tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "VERSION", 1)
        written(tmp_path, {"trial": "0"})
    with pytest.raises(InputError, match=r"trials\.jsonl: version: expected 2, got 1; move .* away to search again"):
        opened(tmp_path)


def test_a_journal_of_other_evaluations_is_refused(tmp_path):
    written(tmp_path, {"trial": "0"})
    with pytest.raises(InputError, match="another search: evaluation: expected 2, found None"):
        opened(tmp_path, {**MINE, "evaluation": 2})
    opened(tmp_path / "newer", {**MINE, "evaluation": 1})[0].close()
    with pytest.raises(InputError, match="another search: evaluation: expected 2, found 1"):
        opened(tmp_path / "newer", {**MINE, "evaluation": 2})


def test_a_foreign_file_is_refused_with_both_values(tmp_path):
    opened(tmp_path)[0].close()
    with pytest.raises(InputError, match=r"trials\.jsonl: it belongs to .* space: expected 's1 def', found 's2 abc'"):
        opened(tmp_path, {**MINE, "space": "s1 def"})
    with pytest.raises(InputError, match=r"trials\.jsonl: .* context: expected 'hash', found None"):
        opened(tmp_path, {**MINE, "context": "hash"})


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/search/trials\.jsonl: could not be opened"):
        opened(tmp_path / "file" / "search")


def test_fingerprint_has_to_be_plain_json(tmp_path):
    with pytest.raises(InputError, match=r"trials\.jsonl: expected a fingerprint of plain JSON types"):
        Journal(tmp_path / "trials.jsonl", {"context": object()})


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_second_process_in_the_folder_is_refused(tmp_path):
    journal, _ = opened(tmp_path)
    code = """
        import sys
        from scarlet_tf.search.journal import Journal
        Journal(sys.argv[1] + "/trials.jsonl", {}).open()
    """
    result = run_python(code, tmp_path)
    assert "trials.jsonl: expected no other search in this folder, got one running" in result.stderr
    journal.close()
    assert "belongs to another search" in run_python(code, tmp_path).stderr


def test_killed_process_leaves_no_lock(tmp_path):
    code = """
        import sys
        from scarlet_tf.search.journal import Journal
        journal = Journal(sys.argv[1] + "/trials.jsonl", {})
        journal.open()
        print("open", flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        errors = []  # kept, as a notebook keeps the last one, and with it all that its frames refer to
        for _ in range(2):
            with pytest.raises(InputError, match="got one running") as error:
                opened(tmp_path, {})
            errors.append(error)
        other.kill()
    opened(tmp_path, {})[0].close()


def test_journals_of_one_process_share_the_lock_until_the_last_one_is_closed(tmp_path):
    """A notebook makes its tuner again while it has the old one."""
    code = "import sys; from scarlet_tf.search.journal import Journal; Journal(sys.argv[1], {'of': 'another'}).open()"
    first, second = opened(tmp_path)[0], opened(tmp_path)[0]
    first.close()
    assert "got one running" in run_python(code, tmp_path / "trials.jsonl").stderr
    del second
    assert "belongs to another search" in run_python(code, tmp_path / "trials.jsonl").stderr


def test_lock_of_a_folder_that_was_deleted_is_none_of_the_new_one(tmp_path):
    code = (
        "import sys; from scarlet_tf.search.journal import Journal; Journal(sys.argv[1] + '/trials.jsonl', {}).open()"
    )
    old = opened(tmp_path / "search")[0]
    shutil.rmtree(tmp_path / "search")
    new = opened(tmp_path / "search")[0]
    old.close()
    assert "got one running" in run_python(code, tmp_path / "search").stderr
    new.close()


def test_file_system_without_locks_is_used_without(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, blocking):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    caplog.set_level(logging.DEBUG, "scarlet_tf")
    journal, _ = opened(tmp_path)
    journal.append({"trial": "0"})
    journal.close()
    assert "trials.jsonl: the file system offers no locks: [Errno" in caplog.text


def test_full_disk_keeps_all_that_was_written(tmp_path):
    resource = pytest.importorskip("resource")
    journal, _ = opened(tmp_path)
    journal.append({"trial": "0"})
    journal.close()
    size = (tmp_path / "trials.jsonl").stat().st_size
    # The system refuses to let any file grow past the limit: a short write first, then an error, as on a full disk.
    code = """
        import resource, sys
        from scarlet_tf.base.errors import InputError
        from scarlet_tf.search.journal import Journal
        fingerprint = {"space": "s2 abc", "weights": [0.4, 0.4, 0.2], "context": None}
        journal = Journal(sys.argv[1] + "/trials.jsonl", fingerprint)
        journal.open()
        limit = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            journal.append({"trial": "1", "x": "y" * 500})
        except InputError as error:
            print(error)
    """
    assert resource.RLIMIT_FSIZE is not None
    found = run_python(code, tmp_path, size + 40).stdout
    assert "trials.jsonl: could not be written: File too large; all earlier trials are kept" in found
    assert (tmp_path / "trials.jsonl").stat().st_size == size
    assert opened(tmp_path)[1] == [{"trial": "0"}]
