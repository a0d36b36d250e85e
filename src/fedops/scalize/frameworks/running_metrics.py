"""What a loop sums up over the examples of an epoch, for its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class RunningMetrics:
    """Sums over examples."""

    examples: int = 0
    loss: float = 0.0
    correct: int = 0
    classified: bool = False

    def add(self, loss: float, size: int, hits: int | None) -> None:
        """A batch: its mean loss, its size, how many are classified rightly (None: no classes)."""
        self.examples += size
        self.loss += loss * size
        self.classified = hits is not None
        self.correct += hits or 0

    def metrics(self) -> dict[str, float]:
        """Means over the examples; nothing when there were none."""
        if not self.examples:
            return {}
        accuracy = {"accuracy": self.correct / self.examples} if self.classified else {}
        return {"loss": self.loss / self.examples, **accuracy}

    def clear(self) -> None:
        """Begin anew."""
        self.restore({field.name: field.default for field in fields(self)})

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from what ``dataclasses.asdict`` gave."""
        for name, value in values.items():
            setattr(self, name, value)
