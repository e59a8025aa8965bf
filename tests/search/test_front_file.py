"""pareto.json: what is written is read back, and another file is refused by name."""

import dataclasses

import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.run import SearchResult, read_front, write_front
from scarlet_tf.space.search_space import Architecture

SPACE = tiny_space()


def candidate(*choices, **others):
    return Candidate(Architecture(choices, SPACE), 0.5, 300, 20, others)


def test_a_result_is_read_as_it_was_written(tmp_path):
    front = [candidate(1, 3, 0, 2, latency_ms=1.5), candidate(3, 3, 3, 3, latency_ms=0.5)]
    result = SearchResult(front, [front[1]], ["small"], [0.25, 0.5], 8, True, front, {"measured": {"left_out": []}})
    written = write_front(tmp_path, result, {"operators": {"prior": {"front": 2}}})
    assert written.details == {"operators": {"prior": {"front": 2}}, "measured": {"left_out": []}}
    assert read_front(tmp_path, SPACE) == dataclasses.replace(written, evaluated=[])


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"pareto": []}', "picks: expected networks with architecture, accuracy and multiply_adds, got None"),
        ('{"pareto": [{"architecture": "1,3,0,2"}], "picks": []}', "pareto: expected networks .*; remove the file"),
        ("[]", "pareto: expected networks"),
        ("{", "pareto.json: expected JSON"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    (tmp_path / "pareto.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_front(tmp_path, SPACE)
