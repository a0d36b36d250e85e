"""What an explanation found, for people (files), for programs (JSON) and for the server (scores)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.explain.quality.drift import DriftRow
from fedops.explain.quality.history import REPORT
from fedops.storage.atomic_files import write_atomic


@dataclass
class ExplainReport:
    """One explained round. Files are named relative to ``folder``."""

    kind: str  #: "image" or "table"
    run: int
    round: int
    folder: Path
    upload: str = "none"
    layer: str = ""
    methods: list[str] = field(default_factory=list)
    probe: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    #: model -> method -> measure -> value
    quality: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    drift: list[DriftRow] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    #: False when the time was over before everything was explained.
    complete: bool = True
    #: What went wrong, when nothing could be explained.
    failure: str | None = None

    def plain(self) -> dict[str, Any]:
        """JSON-safe values."""
        return {
            **{
                name: value for name, value in vars(self).items() if name not in ("folder", "drift")
            },
            "folder": str(self.folder),
            "drift": [row.plain() for row in self.drift],
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }

    def write(self) -> None:
        """``report.json`` in the folder. The same text wherever the folder lies."""
        plain = {**self.plain(), "folder": self.folder.name}
        write_atomic(self.folder / REPORT, json.dumps(plain, indent=1).encode() + b"\n")

    def outgoing_scores(self) -> dict[str, float]:
        """Named numbers that may leave this device: none unless scores or images may."""
        return {} if self.upload == "none" else self.scores()

    def outgoing_pictures(self) -> list[Path]:
        """Contact sheets that may leave this device: none unless its owner allows images."""
        return [self.folder / name for name in self.sheets] if self.upload == "images" else []

    def scores(self) -> dict[str, float]:
        """All scores of this report by name, such as ``xai/local/gradcam/deletion``."""
        found = {"xai/seconds": self.seconds.get("total", 0.0)}
        for model, methods in self.quality.items():
            for method, measures in methods.items():
                numbers = {k: v for k, v in measures.items() if isinstance(v, float)}
                found |= {f"xai/{model}/{method}/{k}": v for k, v in numbers.items()}
        for row in self.drift:
            name = f"xai/{row.series.replace(' ', '_')}/{row.method}"
            found |= {
                f"{name}/cosine": row.cosine,
                f"{name}/jaccard": row.jaccard,
                f"{name}/spearman": row.spearman,
                f"{name}/worst": row.worst,
                f"{name}/alarm": float(row.alarm),
            }
        return {name: round(value, 6) for name, value in found.items()}
