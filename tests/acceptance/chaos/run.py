"""Chaos: a real federation whose processes are killed, frozen and cut off while it trains, by a seeded plan.

Each schedule is one run of four rounds with some faults at named points of the code. Whatever happens, the
run must end by itself with the model of an undisturbed one, nothing lost and nothing twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ledger import Account, Ledger, Verdict, judge
from plan import PROCESSES, TRANSITIONS, Fault, schedules
from world import RUN_SECONDS, TASKS, World, opened

_LOOK_SECONDS = 0.05
_ASK_SECONDS = 0.5
_ROWS_SECONDS = 15.0


@dataclass
class Struck:
    """A fault that came about."""

    fault: Fault
    at: float


@dataclass
class Outcome:
    """How a schedule went."""

    number: int
    task: str
    run_id: int
    planned: list[Fault]
    struck: list[Struck] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    #: From each fault to the next committed round, or the run's end. Seconds.
    recovery: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        faults = "; ".join(str(s.fault) for s in self.struck) or "nothing came about"
        slowest = f", back after {max(self.recovery):.1f} s" if self.recovery else ""
        bad = "" if self.verdict.good else f"\n    WRONG: {'; '.join(self.verdict.notes)}"
        return f"{self.number:3} {self.task:4} {self.seconds:5.1f} s{slowest}: {faults}{bad}"


@dataclass
class Report:
    """All schedules together."""

    outcomes: list[Outcome] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        verdicts = [outcome.verdict for outcome in self.outcomes]
        recovery = sorted(s for outcome in self.outcomes for s in outcome.recovery)
        return {
            "schedules": len(self.outcomes),
            "faults": sum(len(outcome.struck) for outcome in self.outcomes),
            "runs_lost": sum(v.lost for v in verdicts),
            "rounds_counted_twice": sum(v.counted_twice for v in verdicts),
            "rounds_redone": sum(v.redone for v in verdicts),
            "trained_twice": sum(v.retrained for v in verdicts),
            "rows_lost": sum(v.rows_lost for v in verdicts),
            "rows_doubled": sum(v.rows_doubled for v in verdicts),
            "digest_mismatches": sum(v.digest_mismatches for v in verdicts),
            "versions_wrong": sum(v.versions_wrong for v in verdicts),
            "recovery_seconds_p50": round(statistics.median(recovery), 2) if recovery else None,
            "recovery_seconds_max": round(max(recovery), 2) if recovery else None,
        }

    @property
    def good(self) -> bool:
        return all(outcome.verdict.good for outcome in self.outcomes)

    def coverage(self) -> dict[str, dict[str, int]]:
        """Process -> transition -> how often it was killed in it."""
        hits = Counter(
            (s.fault.process, s.fault.transition)
            for outcome in self.outcomes
            for s in outcome.struck
            if s.fault.how == "kill"
        )
        return {p: {t: hits[p, t] for t in TRANSITIONS} for p in PROCESSES}


class Chaos:
    """Plays schedules on one federation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = Ledger(world.federation.server_home / "fedops.db")
        self._references: dict[str, Account] = {}

    def prepare(self) -> None:
        """One undisturbed run of each task: what all others are compared with."""
        for task in TASKS:
            self._world.board.clear()
            run_id = self._world.start_run(task)
            until = time.monotonic() + RUN_SECONDS
            while not self._world.is_over(run_id) and time.monotonic() < until:
                time.sleep(_ASK_SECONDS)
            self._world.until_quiet()
            time.sleep(3.0)  # the last records are on their way
            account = self._ledger.account(run_id)
            if account.status != "completed":
                raise SystemExit(
                    f"the undisturbed run of {task} is {account.status}: {account.text}"
                )
            self._references[task] = account

    def play(self, number: int, faults: Sequence[Fault]) -> Outcome:
        """One schedule, from a quiet federation to a quiet federation."""
        task = list(TASKS)[number % len(TASKS)]
        world, begin = self._world, time.monotonic()
        before = self._ledger.versions()
        world.board.clear()
        for fault in faults:
            world.board.arm(fault.point, fault.action, fault.number)
        run_id = world.start_run(task)
        outcome = Outcome(number, task, run_id, list(faults))
        self._follow(run_id, outcome, time.monotonic() + RUN_SECONDS)
        world.calm()
        world.give_up(run_id)
        world.until_quiet()
        reference = self._references[task]
        account = self._settled(run_id, reference)
        damaged = sum(s.fault.how == "damage update" for s in outcome.struck)
        outcome.verdict = judge(account, reference, before, self._ledger.versions(), damaged)
        outcome.recovery = [
            r for s in outcome.struck if (r := _recovery(s.at, account)) is not None
        ]
        outcome.seconds = time.monotonic() - begin
        return outcome

    def _follow(self, run_id: int, outcome: Outcome, deadline: float) -> None:
        """Do what is planned until the run is over."""
        asked = 0.0
        while time.monotonic() < deadline:
            self._strike(outcome)
            self._world.restart_the_dead()
            if time.monotonic() > asked + _ASK_SECONDS:
                asked = time.monotonic()
                if self._world.is_over(run_id):
                    self._strike(outcome)
                    return
            time.sleep(_LOOK_SECONDS)

    def _strike(self, outcome: Outcome) -> None:
        board, done = self._world.board, {s.fault.point for s in outcome.struck}
        for fault in outcome.planned:
            caught = board.fired(fault.point) if fault.point not in done else None
            if caught is None:
                continue
            at = time.time()
            if fault.self_inflicted or self._do(fault, caught.pid, outcome):
                outcome.struck.append(Struck(fault, caught.at if fault.self_inflicted else at))
            board.release(fault.point)

    def _do(self, fault: Fault, near: int, outcome: Outcome) -> bool:
        if fault.how.startswith("damage"):
            what = fault.how.split()[1]
            return self._world.damage(self._ledger.newest(outcome.run_id, what))
        if fault.how == "cut upload":
            size = 8 * TASKS[outcome.task][1]
            return self._world.cut_upload(near, max(int(fault.share * size), 1))
        if fault.how == "cut":
            return self._world.cut(near, fault.seconds)
        if fault.how == "stop":
            return self._world.freeze(fault.process, near, fault.seconds)
        return self._world.kill(fault.process, near)

    def _settled(self, run_id: int, reference: Account) -> Account:
        """The run on record, once all rows are in that will come."""
        deadline = time.monotonic() + _ROWS_SECONDS
        account = self._ledger.account(run_id)
        while reference.metrics.keys() - account.metrics.keys() and time.monotonic() < deadline:
            time.sleep(_ASK_SECONDS)
            account = self._ledger.account(run_id)
        return account


def _recovery(at: float, account: Account) -> float | None:
    later = [moment - at for moment in account.progress if moment > at]
    return min(later) if later else None


def play(count: int, seed: int, home: Path, only: Sequence[int] = ()) -> Report:
    """Play ``count`` schedules of a seed (or ``only`` some of them). Ctrl-C ends with those played."""
    report = Report()
    with suppress(KeyboardInterrupt), opened(home) as world:
        chaos = Chaos(world)
        chaos.prepare()
        for number, faults in enumerate(schedules(count, seed)):
            if only and number not in only:
                continue
            outcome = chaos.play(number, faults)
            report.outcomes.append(outcome)
            sys.stderr.write(outcome.describe() + "\n")
    return report


def main() -> None:
    """Exit code 1 when anything was lost, doubled or different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=50, help="how many runs to disturb")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", default=[], help="play these of them alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--coverage", action="store_true", help="with the table of coverage")
    parser.add_argument("--keep", type=Path, help="an empty folder for all files, left there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedops-chaos-") as temporary:
        home = given.keep or Path(temporary)
        report = play(given.schedules, given.seed, home.resolve(), given.only)
    numbers = report.numbers()
    if given.coverage:
        numbers["coverage"] = report.coverage()
    sys.stdout.write(json.dumps(numbers, indent=None if given.json else 1) + "\n")
    if not report.good:
        sys.exit(1)


if __name__ == "__main__":
    main()
