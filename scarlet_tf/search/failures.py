"""Trials that failed one after another: held back from the journal while the machine may be at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class FailuresInARow:
    """Counts the trials that failed for good since the last success, and holds their records.

    `reason` is None until there are `limit` of them, then says why the search has to stop.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._count = 0
        self._held: list[Mapping] = []
        self.reason: str | None = None

    def add(self, record: Mapping, cause: str) -> None:
        """One more; `cause` says what happened to which trial."""
        self._count += 1
        self._held.append(record)
        if self._count >= self._limit:
            self.reason = f"{self._count} trials in a row failed; the last one, {cause}"

    def write(self, append: Callable[[Mapping], None]) -> None:
        """Appends the records that are held, for good. None after `reason`: those trials may run again."""
        while self._held and self.reason is None:
            append(self._held[0])
            del self._held[0]

    def success(self) -> None:
        """A trial succeeded: the next failure is the first in a row."""
        if self.reason is None:
            self._count = 0

    def forget(self) -> list[Mapping]:
        """Begins to count anew; the records that were held, which nobody holds any more."""
        held, self._held = self._held, []
        self._count, self.reason = 0, None
        return held
