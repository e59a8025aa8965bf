"""Finding: the result of one check, and advice."""

from __future__ import annotations

import dataclasses

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclasses.dataclass(frozen=True)
class Finding:
    """status: "ok", "warning" (a run works, perhaps not as intended) or "problem"; advice: the next step, if there is one."""

    check: str
    status: str
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding in JSON types."""
        return dataclasses.asdict(self)
