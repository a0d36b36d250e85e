"""A few schedules of the chaos harness: processes die while a federation trains, and nothing comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "chaos" / "run.py"
#: Everything that must not happen.
NEVER = (
    "runs_lost",
    "rounds_counted_twice",
    "trained_twice",
    "rows_lost",
    "rows_doubled",
    "digest_mismatches",
    "versions_wrong",
)


@pytest.mark.long
def test_whatever_dies_the_run_ends_with_the_same_model(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--schedules", "3", "--seed", "7", "--json"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["schedules"] == 3
    assert numbers["faults"] >= 3, done.stderr
    assert {name: numbers[name] for name in NEVER} == dict.fromkeys(NEVER, 0)
