"""What a device does with an assignment, in words."""

from __future__ import annotations

from fedops.core.contracts import WATCH, Stage

_PLAIN = {
    Stage.WAITING: "waiting",
    Stage.PREPARING: "preparing",
    Stage.EVALUATING: "evaluating",
    Stage.WAITING_TO_UPLOAD: "waiting to upload",
}


def stage_text(stage: Stage, done: int = 0, total: int = 0, text: str = "") -> str:
    """``downloading 43 % of 45 MB``, ``training epoch 2 of 5``, ``waiting to upload (why)``."""
    if stage in (Stage.DOWNLOADING, Stage.UPLOADING):
        words = (
            f"{stage.value} {percent(done, total)} of {size_text(total)}" if total else stage.value
        )
    elif stage is Stage.TRAINING:
        words = f"training epoch {min(done + 1, total)} of {total}" if total else "training"
    else:
        words = _PLAIN[stage]
    return f"{words} ({text})" if text else words


def benchmark_text(task: str) -> str:
    """What a benchmark is called."""
    return f"the benchmark of task '{task}'"


def look_text(task: str) -> str:
    """What a look at the data is called."""
    return f"the look at the data of task '{task}'"


def outside_text(kind: str, task: str) -> str:
    """What work is called that is of no run."""
    return look_text(task) if kind == WATCH else benchmark_text(task)


def percent(done: int, total: int) -> str:
    """``43 %``: never 100 before it is all."""
    return f"{min(100 * done // total, 100)} %"


def size_text(size: int) -> str:
    """Bytes as people say them: ``45 MB``, ``1.8 MB``, ``12 kB``."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_:
            number = size / bytes_
            return f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"
    return f"{size} B"
