import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.journal import EvaluationTable, Journal
from scarlet_tf.search.objectives import BadMetrics


class Evaluator:
    def __init__(self):
        self.seen, self.announced = [], []

    def begin_generation(self, architectures):
        self.announced.append(architectures)

    def evaluate(self, choices):
        self.seen.append(choices)
        return {"accuracy": sum(choices) / 10, "loss": 1.5, "num_examples": 7, "odd": float("nan")}


def test_each_architecture_is_evaluated_once_and_announced_while_unknown(tmp_path):
    evaluator = Evaluator()
    with EvaluationTable(tmp_path / "t.jsonl", {"x": 1}, evaluator) as table:
        assert table.evaluate((1, 2)) == {"accuracy": 0.3, "loss": 1.5, "num_examples": 7} == table.evaluate([1, 2])
        table.begin_generation([(1, 2), (0, 0)])
        table.begin_generation([(1, 2)])
    again = Evaluator()
    with EvaluationTable(tmp_path / "t.jsonl", {"x": 1}, again) as table:
        assert table.evaluate((1, 2))["accuracy"] == 0.3 and (1, 2) in table and len(table) == 1
    assert evaluator.seen == [(1, 2)] and evaluator.announced == [[(0, 0)]] and again.seen == []


def test_a_table_without_an_evaluator_has_to_be_whole(tmp_path):
    EvaluationTable(tmp_path / "t.jsonl", {}, Evaluator()).close()
    with (
        EvaluationTable(tmp_path / "t.jsonl", {}) as table,
        pytest.raises(InputError, match=r"t\.jsonl: expected every architecture, \(1, 2\) is missing"),
    ):
        table.evaluate((1, 2))


def test_a_line_that_a_crash_tore_is_evaluated_again(tmp_path):
    with EvaluationTable(tmp_path / "t.jsonl", {}, Evaluator()) as table:
        for choices in ((1, 2), (3, 4)):
            table.evaluate(choices)
    whole = (tmp_path / "t.jsonl").read_bytes()
    (tmp_path / "t.jsonl").write_bytes(whole[:-9])
    evaluator = Evaluator()
    with EvaluationTable(tmp_path / "t.jsonl", {}, evaluator) as table:
        assert len(table) == 1
        table.evaluate((3, 4))
    assert evaluator.seen == [(3, 4)] and (tmp_path / "t.jsonl").read_bytes() == whole


def test_other_tables_and_second_holders_are_refused(tmp_path):
    with (
        EvaluationTable(tmp_path / "t.jsonl", {"images": 5}, Evaluator()) as table,
        pytest.raises(BadMetrics, match="accuracy: missing"),
    ):
        table.evaluator.evaluate = lambda choices: {"loss": 1.0}
        table.evaluate((0, 0))
    with pytest.raises(InputError, match=r"t\.jsonl: it belongs to another search: images: expected 6, found 5"):
        EvaluationTable(tmp_path / "t.jsonl", {"images": 6}, Evaluator())
    journal = Journal(tmp_path / "t.jsonl", {"images": 5})
    journal.open()
    journal.append({"architecture": "0,x", "metrics": {"accuracy": 1}})
    journal.close()
    with pytest.raises(InputError, match=r"t\.jsonl: could not be restored: ValueError"):
        EvaluationTable(tmp_path / "t.jsonl", {"images": 5}, Evaluator())
