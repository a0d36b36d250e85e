"""From the command to the first aggregated round: ``fedops demo`` with three devices, all of it warm.

MNIST from FEDOPS_MNIST_DIR, else scikit-learn's digits.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from common import median, options, report, say

from fedops.demo.federation import FEDOPS
from fedops.processes.spawn import clean_env

DEVICES = 3
MUST_SECONDS = 9.0


def seconds_to_first_round(place: Path) -> float:
    """Seconds from the start of the command to the commit of round 1."""
    command = [*FEDOPS, "demo", "--devices", str(DEVICES), "--rounds", "1", "--home", str(place)]
    command += ["--no-download", "--json"]
    data = {key: os.environ[key] for key in ("FEDOPS_MNIST_DIR",) if key in os.environ}
    begin = time.time()
    done = subprocess.run(command, env=clean_env(data), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the demo failed: {done.stderr[-2_000:]}")
    with closing(sqlite3.connect(place / "server" / "fedops.db")) as database:
        row = database.execute("SELECT min(committed_at) FROM rounds WHERE round = 1").fetchone()
    return float(row[0]) - begin


def main() -> None:
    """The first start is not counted: it fills the caches of the file system."""
    chosen = options(__doc__ or "").parse_args()
    repeats = 2 if chosen.quick else 5
    found = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for number in range(repeats + 1):
            say(f"demo {number + 1} of {repeats + 1} ...")
            found.append(seconds_to_first_round(Path(place) / str(number)))
    counted = found[1:]
    seconds = median(counted)
    assert seconds is not None
    result = {
        "benchmark": "first_round",
        "what": f"'fedops demo' to the first aggregated round, {DEVICES} devices",
        "rows": [
            {
                "starts": len(counted),
                "median_s": seconds,
                "min_s": min(counted),
                "max_s": max(counted),
            }
        ],
        "seconds": seconds,
        "first_of_all": found[0],
        "ok": seconds <= MUST_SECONDS,
        "notes": [f"Promised: {MUST_SECONDS:.0f} s."],
    }
    report(result, chosen.json, ("Starts", "Median s", "Min s", "Max s"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
