"""EvaluationTable: evaluations by architecture in one file, so that several searches pay for each only once."""

from __future__ import annotations

import math
import pathlib
from collections.abc import ItemsView, Mapping, Sequence

from scarlet_tf.errors import InputError
from scarlet_tf.search.checks import checked_accuracy
from scarlet_tf.search.genomes import decode
from scarlet_tf.search.journal import Journal


class EvaluationTable:
    """An evaluator that asks another one once for each architecture and keeps the answers as JSON lines.

    A line is on disk before its answer is given, so a killed process loses none; what another process wrote before
    is read at once. One process at a time may hold the file.

    Args:
        path: of the file; made where there is none.
        fingerprint: plain JSON that names what the answers depend on; a file with another one is refused.
        evaluator: an object with `evaluate(choices)`, as SupernetTuner takes it; None for a file that is complete.

    Raises InputError for a file that cannot be read, belongs to something else or is held by another process.
    """

    def __init__(self, path, fingerprint: Mapping, evaluator=None):
        path = pathlib.Path(path)
        self.evaluator = evaluator
        self._journal = Journal(path.parent, fingerprint, path.name)
        _, records = self._journal.open()
        try:
            self._known = {decode(record["architecture"]): _checked(record["metrics"]) for record in records}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.close()
            raise InputError(f"{path}: could not be restored: {type(error).__name__}: {error}") from error

    def __enter__(self) -> EvaluationTable:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, choices: Sequence[int]) -> bool:
        return tuple(choices) in self._known

    def items(self) -> ItemsView[tuple[int, ...], dict]:
        """(choices, metrics) of every architecture in the file."""
        return self._known.items()

    def evaluate(self, choices: Sequence[int]) -> dict:
        """{"accuracy": 0..1, ...} of one architecture, given by its choice indices [num_layers]."""
        choices = tuple(int(choice) for choice in choices)
        if choices not in self._known:
            if self.evaluator is None:
                raise InputError(f"{self._journal.trials_path}: expected every architecture, {choices} is missing")
            metrics = _checked(self.evaluator.evaluate(choices))
            self._journal.append({"architecture": ",".join(map(str, choices)), "metrics": metrics})
            self._known[choices] = metrics
        return dict(self._known[choices])

    def begin_generation(self, architectures: Sequence[Sequence[int]]) -> None:
        """Tells the evaluator, if it wants to know, which of the architectures it will be asked for."""
        begin = getattr(self.evaluator, "begin_generation", None)
        missing = [tuple(choices) for choices in architectures if choices not in self]
        if begin is not None and missing:
            begin(missing)

    def close(self) -> None:
        """Lets other processes have the file."""
        self._journal.close()


def _checked(metrics: Mapping) -> dict[str, float]:
    """The finite ones of an evaluation's metrics; BadMetrics unless there is an accuracy from 0 to 1 among them."""
    checked_accuracy(metrics)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
