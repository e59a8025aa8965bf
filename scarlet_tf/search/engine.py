"""Engine: an algorithm, its journal, and the numbered trials between them."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Mapping, Sequence

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import Algorithm, decode, encode
from scarlet_tf.search.journal import Journal

ID_DIGITS = 6  # of a trial's number; fixed, so that a longer search names its trials alike
COMPLETED, FAILED = "COMPLETED", "FAILED"


class Engine:
    """Hands out the architectures of an algorithm's present generation as trials, and journals how they end.

    The next generation may begin before the present one has ended (`Algorithm.ahead`). What the algorithm asks for follows
    from what it was told, and it is told in the order of asking: neither depends on which evaluation ends first.

    All that it knows follows from the journal: to resume, it asks the algorithm again and tells it what the journal has,
    generation by generation. So the journal alone has to survive `kill -9`, and a killed search ends as an uninterrupted one.

    Architectures are named by their canonical strings. An architecture that comes again is no trial. A trial's id is its number
    in the whole search, fixed with its generation, so that a restarted search knows what its workers have in hand.

    Trials that failed for good one after another are held back from the journal while the machine may be at fault: after
    `max_failures` of them the search stops, `failure` says why, and those of the present generation may run again.

    Args:
        algorithm: a new one.
        max_retries: how often a trial that fails is run again.
        max_failures: how many failed trials in a row end the search.
    """

    def __init__(self, algorithm: Algorithm, max_retries: int = 1, max_failures: int = 3):
        self.algorithm = algorithm
        self.results: dict[
            str, Mapping | None
        ] = {}  # by architecture, in the order of the journal; None: failed for good
        self.ended: set[str] = set()  # ids of all trials that have a result
        self.trials: dict[str, str] = {}  # id -> architecture, of the present generation
        self.queue: collections.deque[str] = collections.deque()  # ids of trials to hand out
        self.started: dict[str, float] = {}  # id -> time.monotonic() when it was handed out last
        self.failure: str | None = None  # why the search stopped before its end
        self.journal: Journal | None = None
        self._batches: list[list[str]] = []  # of what the algorithm asked for and was not told, the next to tell first
        self._next_number = 0  # of the next generation's first trial
        self._max_retries, self._max_failures = max_retries, max_failures
        self._attempts: collections.Counter[str] = collections.Counter()
        self._failures_in_a_row = 0
        self._held: list[Mapping] = []  # their records
        self._error: BaseException | None = None

    @property
    def complete(self) -> bool:
        """True if all that the algorithm is told next has a result."""
        return not self._batches or all(line in self.results for line in self._batches[0])

    @property
    def finished(self) -> bool:
        """True at the end of the search."""
        return self.algorithm.finished and not self._batches

    @property
    def evaluations(self) -> int:
        """Individuals scored so far, those of the present generation included and repeats counted."""
        asked = (line for lines in self._batches for line in lines)
        return self.algorithm.evaluations + sum(line in self.results for line in asked)

    @property
    def _asked_all(self) -> bool:
        """True if what comes in a journal may be of a longer search, which asks for more before the last ones have ended."""
        asked = self.algorithm.evaluations + sum(map(len, self._batches))
        return self.finished or bool(self.algorithm.ahead and asked >= self.algorithm.total_evaluations)

    def open_architectures(self) -> list[tuple[int, ...]]:
        """Choices of the present generation's architectures without a result, in the order of their trials."""
        return [decode(line) for line in self.trials.values() if line not in self.results]

    # -- the journal ----------------------------------------------------------------------------------------

    def resume(self, journal: Journal) -> list[Mapping]:
        """Repeat the search of a journal, which is kept for what comes; return its records without repeats.

        Raises InputError that names the file where the algorithm asks for other architectures than it has.
        """
        if self._error is not None:  # the algorithm is not new any more
            raise self._error
        records = journal.open()
        try:
            self._advance()
            counted = self._repeated(records, journal)
            self.journal = journal
            self.settle()
        except BaseException as error:
            journal.close()
            self._error = error
            raise
        return counted

    def _repeated(self, records: Sequence[Mapping], journal: Journal) -> list[Mapping]:
        try:
            return [record for record in records if self._repeat(record)]
        except InputError as error:
            raise InputError(f"{journal.path}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{journal.path}: could not be restored: {type(error).__name__}: {error}") from error

    def _repeat(self, record: Mapping) -> bool:
        """Take a record of the journal; False for one that is there twice."""
        trial_id, line, result = record["trial"], record["architecture"], record.get("metrics")
        if trial_id in self.ended:
            return False
        while trial_id not in self.trials and self.complete and not self.finished:
            self._advance()
        # A search that is shorter now than it was keeps what was evaluated after its end.
        expected = self.trials.get(trial_id, line if self._asked_all else None)
        if expected is None:
            missing = [known for known in self.trials if known not in self.ended]
            raise InputError(
                f"trial {trial_id}: expected {', '.join(missing)} before it, which it builds on and which are missing; restore"
                " the file, or move the folder away to search again"
            )
        if line != expected:
            raise InputError(
                f"trial {trial_id}: expected architecture {expected}, found {line}; restore the file, or move the folder away"
                " to search again"
            )
        if result is not None:
            self._check(result)
        self._end(trial_id, line, result)
        return True

    # -- generations ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Tell complete generations and ask for the next ones, until a trial is open or the search has ended."""
        while self.failure is None and self.complete and not self.finished:
            self._write_held()
            self._advance()

    def _advance(self) -> None:
        if self._batches:
            self.algorithm.tell([self.results[line] for line in self._batches[0]])
            told = set(self._batches.pop(0))
            self.trials = {trial_id: line for trial_id, line in self.trials.items() if line not in told}
        if not self._batches and not self.algorithm.finished:
            self._add(self.algorithm.ask())
        while (genomes := self.algorithm.ask_ahead()) is not None:
            self._add(genomes)

    def _add(self, genomes) -> None:
        """Make trials of what was not asked for before."""
        self._batches.append(encode(genomes))
        known = {*self.results, *self.trials.values()}
        # In lexicographic order neighbours have most in common, of which an evaluator can make use.
        fresh = sorted((line for line in set(self._batches[-1]) if line not in known), key=decode)
        trials = {f"{self._next_number + i:0{ID_DIGITS}d}": line for i, line in enumerate(fresh)}
        self._next_number += len(fresh)
        self.trials |= trials
        self.queue.extend(trials)

    # -- trials ---------------------------------------------------------------------------------------------

    def take(self) -> str:
        """The next trial of the queue."""
        return self.queue.popleft()

    def repeat(self, trial_id: str) -> None:
        """Hand a trial out again, before all others."""
        self._withdraw(trial_id)
        self.queue.appendleft(trial_id)

    def succeed(self, trial_id: str, metrics: Mapping[str, float]) -> dict:
        """End a trial with what its evaluation answered; return that with what is counted, as it is journalled.

        Raises BadMetrics where a metric is missing or bad, and InputError when the journal cannot be written; the trial has
        not ended then.
        """
        line = self.trials[trial_id]
        metrics = {**metrics, **self._check(metrics)}
        result = {name: value for name, value in metrics.items() if math.isfinite(value)}
        result |= self.algorithm.cost_model.of_one(decode(line))
        self._write_held()
        self._append(self._record(trial_id, COMPLETED, metrics=result))
        if self.failure is None:
            self._failures_in_a_row = 0
        self._end(trial_id, line, result)
        return result

    def fail(self, trial_id: str, reason: str, retry: bool) -> bool:
        """A trial failed, for `reason`: hand it out again if it may be retried; return False where it ended for good.

        At once, so that a broken machine is noticed after a few trials, not after a generation.
        """
        self._attempts[trial_id] += 1
        if retry and self._attempts[trial_id] <= self._max_retries:
            self.repeat(trial_id)
            return True
        self._held.append(self._record(trial_id, FAILED, message=reason))
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._max_failures:
            last = f"{trial_id} ({self.trials[trial_id]}): {reason}"
            self.failure = f"{self._failures_in_a_row} trials in a row failed; the last one, {last}"
        self._end(trial_id, self.trials[trial_id], None)
        return False

    def forget_failure(self) -> list[str]:
        """After `failure`: put the trials that failed in a row back on the queue; return their ids."""
        if self.failure is None:
            return []
        held, self._held = [record["trial"] for record in self._held], []
        self._failures_in_a_row, self.failure = 0, None
        for trial_id in held:
            del self.results[self.trials[trial_id]], self._attempts[trial_id]
            self.ended.discard(trial_id)
            self.queue.append(trial_id)
        return held

    def _end(self, trial_id: str, line: str, result: Mapping | None) -> None:
        self.results[line] = result
        self.ended.add(trial_id)
        self.started.pop(trial_id, None)
        self._withdraw(trial_id)

    def _withdraw(self, trial_id: str) -> None:
        """A trial that ends is on the queue when a worker ran it for a chief that was killed and forgot it."""
        if trial_id in self.queue:
            self.queue.remove(trial_id)

    def _check(self, metrics: Mapping) -> dict[str, float]:
        return self.algorithm.objectives.check(metrics, self.algorithm.cost_model.names)

    def _record(self, trial_id: str, status: str, **details) -> dict:
        now = time.monotonic()
        seconds = round(now - self.started.get(trial_id, now), 3)
        return (
            {"trial": trial_id, "architecture": self.trials[trial_id], "status": status}
            | details
            | {"seconds": seconds}
        )

    def _write_held(self) -> None:
        """Append the records that are held, for good; none after `failure`."""
        while self._held and self.failure is None:
            self._append(self._held[0])
            del self._held[0]

    def _append(self, record: Mapping) -> None:
        assert self.journal is not None  # resumed before a trial is handed out
        self.journal.append(record)
