"""Finding: what one check found, and what to do about it."""

from __future__ import annotations

import dataclasses

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclasses.dataclass(frozen=True)
class Finding:
    """status: "ok", "warning" (a run works, perhaps not as wanted) or "problem"; advice: the next step, if there is one."""

    check: str
    status: str
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """In JSON types."""
        return dataclasses.asdict(self)
