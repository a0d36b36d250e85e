"""What the hooks are to do: the file that ``FEDOPS_WATCH`` names."""

from __future__ import annotations

import json
import os
from typing import Any


class Job:
    """As ``fedops.scalize.observing.records.Job``, which tells what each of them means."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)

        def value(name: str, default: Any) -> Any:
            return said.get(name, default)

        self.folder: str = said["folder"]
        self.home: str = os.path.realpath(value("home", None) or os.curdir)
        self.model: str | None = value("model", None)
        self.put_in: int = value("put_in", 1)
        self.evaluation_mode: bool = value("evaluation_mode", False)
        self.models: list[str] = value("models", [])
        self.passes: int = value("passes", 0)
        self.steps: int = value("steps", 0)
        self.earliest_end: float = value("earliest_end", 0.0)
        self.keep_pass: int = value("keep_pass", 0)
        self.result: str = value("result", "loop")
        self.seed: int | None = value("seed", None)
        self.proximal_mu: float = value("proximal_mu", 0.0)
        part = value("part", None)
        self.part: tuple[int, int] | None = (part[0], part[1]) if part else None
        self.train_loader: str = value("train_loader", "")
        self.valid_loader: str = value("valid_loader", "")
        self.scheduler_steps: int = value("scheduler_steps", 0)
        self.patience: list[float] = value("patience", [])
        self.evaluate: bool = value("evaluate", False)
        self.evaluate_only: bool = value("evaluate_only", False)
        self.only_begin: bool = value("only_begin", False)
        self.writable: list[str] | None = value("writable", None)
