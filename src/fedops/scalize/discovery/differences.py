"""What of a project's own training a federated run will not do, or will do otherwise.

``fedops init`` writes what it saw into ``differences.json`` in the app's folder; ``fedops check`` shows it
again, beside what it finds itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from fedops.core.errors import Invalid

#: Where ``fedops init`` keeps what it found, in the app's folder.
FILE = "differences.json"
_LIMIT = 1_000_000


class Difference(BaseModel):
    """One thing that differs. Frozen, so that equal ones can be told from a set."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Names the kind, for programs: "not_used", "learning_rate", "scheduler", "clipping", ...
    kind: str
    #: What differs, as a person reads it: "the scheduler StepLR is not used".
    text: str
    #: ``file:line``, seen from the project's folder; empty where there is no one place.
    where: str = ""

    def line(self) -> str:
        """As it is shown: the place first, where there is one."""
        return f"{self.where}: {self.text}" if self.where else self.text


_MANY = TypeAdapter(list[Difference])


def last_line(differences: Sequence[Difference]) -> str:
    """``all is well`` only where nothing differs."""
    if not differences:
        return "all is well"
    number = len(differences)
    return f"well, but not your training: {number} {'thing differs' if number == 1 else 'things differ'}"


def to_json(differences: Sequence[Difference]) -> str:
    """The text of ``differences.json``."""
    plain = [difference.model_dump() for difference in differences]
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def kept_differences(app_dir: Path) -> list[Difference]:
    """What ``fedops init`` wrote into the app's folder; empty where it wrote nothing.

    Raises:
        Invalid: the file is no list of differences.
    """
    file = app_dir / FILE
    if not file.is_file():
        return []
    try:
        with file.open("rb") as opened:
            return _MANY.validate_json(opened.read(_LIMIT))
    except (OSError, ValidationError):
        raise Invalid(
            f"{file} is no list of differences; remove it, and let 'fedops init' write the app anew"
        ) from None
