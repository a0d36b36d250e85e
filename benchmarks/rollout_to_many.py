"""Commits on their way to a thousand devices: the real protocol, canary included, environments not built.

The devices are light ones in two processes on this machine. Three commits are written as the check of a
source leaves them: the first one, a good one, and one that fails wherever it is tried.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import options, report, say
from fleet import Fleet, enrol
from idle import APP, QUIET, TASK

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import CommitStatus, RolloutStatus
from fedops.demo.federation import Federation
from fedops.server.database.database import Database
from fedops.server.database.tables import CommitRow, SourceRow
from fedops.settings import ServerSettings

GOAL_SECONDS, MUST_SECONDS = 120.0, 300.0
FIRST, GOOD, BAD = ("a" * 40, "b" * 40, "c" * 40)
_PAUSE_SECONDS = 0.5
_LIMIT_SECONDS = 600.0


def measure(place: Path, devices: int) -> dict[str, Any]:
    """What becomes of the three commits, one after the other."""
    with Federation(place, QUIET) as federation:
        federation.start_server()
        federation.create_task(TASK, APP)
        say(f"joining {devices} light devices ...")
        tokens, log = enrol(federation, devices), place / "logs" / "light.log"
        with Fleet(federation.url, tokens, [TASK], log, bad_commits=[BAD]) as fleet:
            fleet.until_present()
            first = _rolled_out(federation, FIRST, lambda found: _converged(found, FIRST))
            second = _rolled_out(federation, GOOD, lambda found: _converged(found, GOOD))
            stopped = _rolled_out(federation, BAD, _taken_back)
            tally = fleet.sound_tally()
            after = _delivery(federation)
    return {
        "devices": devices,
        "first_seconds": first,
        "seconds": second,
        "stopped_seconds": stopped,
        "tried_bad": tally["deployed"].get(f"{BAD[:7]} rolled_back", 0),
        "on_good": sum(one.actual == GOOD for one in after.deployments),
        "why": after.rollout.why if after.rollout else "",
        "polls": tally["polls"],
        "cuts": tally["cuts"],
    }


def _rolled_out(
    federation: Federation, commit: str, is_over: Callable[[c.DeliveryRead], bool]
) -> float:
    """Seconds from when a commit was found sound until it is over with it."""
    _write_commit(federation, commit)
    begin = time.monotonic()
    while not is_over(_delivery(federation)):
        if time.monotonic() - begin > _LIMIT_SECONDS:
            raise SystemExit(f"commit {commit[:7]} is not over with: {federation.home}")
        time.sleep(_PAUSE_SECONDS)
    seconds = time.monotonic() - begin
    say(f"commit {commit[:7]}: {seconds:.1f} s")
    return seconds


def _converged(found: c.DeliveryRead, commit: str) -> bool:
    rollout = found.rollout
    if rollout is None or (rollout.commit, rollout.status) != (commit, RolloutStatus.HOLDING):
        return False
    return all(one.actual == commit for one in found.deployments)


def _taken_back(found: c.DeliveryRead) -> bool:
    rollout = found.rollout
    if rollout is None or (rollout.commit, rollout.status) != (BAD, RolloutStatus.STOPPED):
        return False
    return all(one.synced and one.actual == GOOD for one in found.deployments)


def _delivery(federation: Federation) -> c.DeliveryRead:
    with federation.operator() as operator:
        return operator.delivery(TASK)


def _write_commit(federation: Federation, commit: str) -> None:
    """A sound commit of the task's source."""
    with federation.operator() as operator:
        task = operator.task(TASK)
        bundle = task.bundle if commit == FIRST else _changed(federation, operator, commit)
    database = Database(ServerSettings(home=federation.server_home).database)
    try:
        with database.write() as session:
            now = time.time()
            if session.get(SourceRow, TASK) is None:
                session.add(
                    SourceRow(
                        task=TASK,
                        url="/srv/git/app",
                        poll_seconds=0.0,
                        policy=c.RolloutPolicy().model_dump(mode="json"),
                        changed_at=now,
                    )
                )
            session.add(
                CommitRow(
                    task=TASK,
                    commit=commit,
                    status=CommitStatus.SOUND,
                    status_since=now,
                    seen_at=now,
                    bundle=bundle,
                    requirements=[],
                    changes={},
                )
            )
    finally:
        database.close()


def _changed(federation: Federation, operator: Any, commit: str) -> str:
    """The task's app with one more file, uploaded; its sha256."""
    from fedops.flower.app_package import build_bundle

    file = federation.home / f"{commit[:7]}.zip"
    buffer = io.BytesIO(build_bundle(APP))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("commit.txt", commit)
    file.write_bytes(buffer.getvalue())
    try:
        return str(operator.upload_bundle(file).sha256)
    except FedOpsError as error:
        raise SystemExit(f"the app of commit {commit[:7]}: {error.message}") from None


def main() -> None:
    """Exit code 1 when a commit takes longer than is promised, or a bad one reaches a second device."""
    parser = options(__doc__ or "")
    parser.add_argument("--devices", type=int, help="default: 1,000, with --quick 50")
    chosen = parser.parse_args()
    devices = chosen.devices or (50 if chosen.quick else 1_000)
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        row = measure(Path(place), devices)
    kept = {
        "seconds": max(row["first_seconds"], row["seconds"]) <= MUST_SECONDS,
        "stopped at one device": row["tried_bad"] == 1 and row["on_good"] == devices,
    }
    missed = ", ".join(key for key, good in kept.items() if not good)
    result = {
        "benchmark": "rollout_to_many",
        "what": f"commits on their way to {devices} devices, a canary of one first",
        "rows": [row],
        "kept": kept,
        "ok": all(kept.values()),
        "notes": [
            f"Promised: {MUST_SECONDS:.0f} s from commit to converged (goal {GOAL_SECONDS:.0f} s), and "
            f"that a bad commit stops at one device. Missed: {missed or 'nothing'}.",
            f"The bad one: {row['why']}",
        ],
    }
    columns = ("Devices", "First seconds", "Seconds", "Stopped seconds", "Tried bad", "On good")
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
