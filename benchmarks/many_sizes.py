"""How large the large database is, and what its devices are called."""

from __future__ import annotations

DEVICES, TASKS, RUNS, ROUNDS, METRICS = 1_000, 50, 10_000, 200, 5_000_000
EVENTS, LOGS = 100_000, 50_000
#: Of each run but the first: so many rounds, and a version for every so many runs.
SMALL_ROUNDS, RUNS_A_VERSION = 10, 20
#: The run of all devices, which goes on, and where it is.
BIG_RUN, BIG_TASK = 1, "task-01"
NAMES = ("train_loss", "train_accuracy", "loss", "accuracy", "examples")


def device_id(device: int) -> str:
    """The id of a device by its number."""
    return f"{device:032x}"
