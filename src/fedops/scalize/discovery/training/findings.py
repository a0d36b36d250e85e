"""One thing in a project's own training, and what a look at it is told of the chosen steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """Something of the project's training that the steps leave out, or do otherwise."""

    kind: str
    text: str
    where: str  #: ``file:line``


@dataclass(frozen=True)
class Chosen:
    """The steps, as far as a look at the training has to know them."""

    targets: Mapping[str, str]  #: step -> dotted name; only of steps that the project has
    takes: frozenset[str] = field(
        default=frozenset()
    )  #: keys of offers that the train step asks for
    framework: str = ""

    @property
    def train(self) -> str:
        return self.targets.get("train", "")

    @property
    def names(self) -> set[str]:
        return set(self.targets.values())

    @property
    def fits(self) -> bool:
        """Whether the adapter's own loop is the framework's ``fit``, as the project's would be."""
        return self.framework in {"sklearn", "keras"} and not self.train

    @property
    def lightning(self) -> bool:
        """Whether the adapter drives a LightningModule's own methods."""
        return self.framework == "lightning" and not self.train
