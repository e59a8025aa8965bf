"""Generations of the algorithm as numbered tasks, of which an architecture that comes again is none."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

from scarlet_tf.errors import InputError
from scarlet_tf.search.algorithm import Algorithm
from scarlet_tf.search.genomes import decode, encode

ID_DIGITS = 6  # of a task's number; fixed, so that a longer search names its tasks alike


class Generations:
    """The present generation's tasks and the results of all; architectures are named by their canonical strings.

    A task's id is its number in the whole search. Ids are fixed with the generation, so that a restarted search knows
    what its workers have in hand.
    """

    def __init__(self, algorithm: Algorithm):
        self.algorithm = algorithm
        self.results: dict[str, dict | None] = {}  # by architecture; None: failed for good
        self.ended: set[str] = set()  # ids of all tasks that have a result
        self.tasks: dict[str, str] = {}  # id -> architecture, of the present generation
        self.first_task = 0  # number of the present generation's first task
        self.queue: collections.deque[str] = collections.deque()  # ids of tasks to hand out
        self._task_of: dict[str, str] = {}  # architecture -> id of the task that gave its result
        self._encoded: tuple = (None, [])  # the pending genomes and their canonical strings

    @property
    def complete(self) -> bool:
        """True if every requested architecture has a result."""
        return all(line in self.results for line in self._pending())

    @property
    def finished(self) -> bool:
        return self.algorithm.finished

    @property
    def lost(self) -> int:
        """Number of tasks of earlier generations without a result, which only files with lost lines can cause."""
        return self.first_task - sum(int(task) < self.first_task for task in self.ended)

    @property
    def evaluations(self) -> int:
        """Individuals scored so far, those of the present generation included and repeats counted."""
        return self.algorithm.evaluations + sum(line in self.results for line in self._pending())

    def open_architectures(self) -> list[tuple[int, ...]]:
        """Choices of the present generation's architectures without a result, in the order of their tasks."""
        return [decode(line) for line in self.tasks.values() if line not in self.results]

    def take(self) -> str:
        """The next task of the queue.

        Raises InputError when the task ended long ago with another architecture: a journal that is ahead of its
        snapshot was written by a search that drew other ones, and none of its results would ever be taken.
        """
        task = self.queue[0]
        if task in self.ended:
            raise InputError(
                f"trials.jsonl: trial {task}: expected architecture {self.tasks[task]}, found another one; "
                "restore state.json, or move the folder away to search anew"
            )
        return self.queue.popleft()

    def end(self, task: str, line: str, result: dict | None) -> None:
        """Takes a task's result, wherever the task is."""
        self.results[line] = result
        self.ended.add(task)
        self._task_of[line] = task
        self._withdraw(task)

    def repeat(self, task: str) -> None:
        """Hands a task out again, before all others."""
        self._withdraw(task)
        self.queue.appendleft(task)

    def reopen(self, task: str) -> None:
        """Forgets the result of a task of the present generation, which goes back to the queue."""
        line = self.tasks[task]
        del self.results[line], self._task_of[line]
        self.ended.discard(task)
        self.queue.append(task)

    def advance(self) -> None:
        """Tells a complete generation's results and begins the next; only begins the first."""
        if self.algorithm.pending is not None:
            self.algorithm.tell([self.results[line] for line in self._pending()])
        first_task = self.first_task + len(self.tasks)
        fresh = []
        if not self.finished:
            self.algorithm.ask()
            # In lexicographic order neighbours have most in common, of which an evaluator can make use.
            lines = sorted(set(self._pending()), key=decode)
            fresh = [line for line in lines if not self._is_older(line, first_task)]
        self._number(first_task, fresh)

    def state_dict(self) -> dict:
        """Everything but the results, in plain JSON types."""
        return {
            "algorithm": self.algorithm.state_dict(),
            "first_trial": self.first_task,
            "tasks": list(self.tasks.values()),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Inverse of `state_dict`; the results have to be there before."""
        self.algorithm.load_state_dict(state["algorithm"])
        self._number(state["first_trial"], state["tasks"])

    def _is_older(self, line: str, first_task: int) -> bool:
        """True if an earlier generation's task has the result for `line`.

        Results of this very generation do not count: they are there when a journal is ahead of its snapshot, and
        the numbers of the tasks have to come out as they did the first time.
        """
        return line in self._task_of and int(self._task_of[line]) < first_task

    def _number(self, first_task: int, lines: Sequence[str]) -> None:
        self.first_task = first_task
        self.tasks = {f"{first_task + i:0{ID_DIGITS}d}": line for i, line in enumerate(lines)}
        self.queue.clear()
        self.queue.extend(task for task, line in self.tasks.items() if line not in self.results)

    def _withdraw(self, task: str) -> None:
        """A task that ends is on the queue when a worker ran it for a chief that was killed and forgot it."""
        if task in self.queue:
            self.queue.remove(task)

    def _pending(self) -> list[str]:
        pending = self.algorithm.pending
        if pending is not self._encoded[0]:  # every trial asks for it, and it is the same for a generation
            self._encoded = (pending, [] if pending is None else encode(pending))
        return self._encoded[1]
