"""What a demo is to do, and what it changes in the app's config for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedops.demo.data import DataSource

#: How unevenly the labels are spread over the devices: Dirichlet's alpha, smaller is more uneven.
ALPHA = 0.5


@dataclass(frozen=True)
class Plan:
    """What the user asked for."""

    devices: int = 3
    rounds: int = 5
    seed: int = 42
    mnist: Path | None = None
    download: bool = True
    home: Path | None = None
    app: Path | None = None
    keep: bool = False
    xai: bool = False

    @property
    def names(self) -> list[str]:
        return [f"device-{number}" for number in range(1, self.devices + 1)]

    @property
    def overrides(self) -> list[str]:
        """What the demo changes in the app's config for its run."""
        return [
            "batch_size=32",
            f"clients_per_round={self.devices}",
            f"num_rounds={self.rounds}",
            f"random_seed={self.seed}",
            f"xai.enabled={str(self.xai).lower()}",
        ]

    def device_overrides(self, index: int, data: DataSource) -> list[str]:
        """What differs on each device: which part of the data is its own."""
        return [
            "dataset.partition.scheme=dirichlet",
            f"dataset.partition.alpha={ALPHA}",
            f"dataset.partition.index={index}",
            f"dataset.partition.of={self.devices}",
            f"dataset.partition.seed={self.seed}",
            f"xai.enabled={str(self.xai).lower()}",
            *data.overrides,
        ]
