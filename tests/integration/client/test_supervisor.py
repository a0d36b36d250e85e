"""The supervisor with real children: every way a child can live and end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedops.client.spool.child_output import Output
from fedops.client.supervision.process_run import Program
from fedops.client.supervision.supervisor import Supervisor
from fedops.core.contracts import ProcessReport
from fedops.core.restart_policy import SupervisionPolicy
from fedops.core.states import PROCESS_TRANSITIONS, ProcessStatus, can_advance

HEAD = """
import json, os, sys, time
from fedops.processes.spawn import die_with_parent
die_with_parent()
pipe = int(sys.argv[1])
def say(**message):
    os.write(pipe, json.dumps(message).encode() + b"\\n")
idle = dict(kind="state", status="idle")
"""
POLICY = SupervisionPolicy(start_seconds=10, backoff_seconds=0.1, max_crashes=3, stop_seconds=0.5)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Bench:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.states: list[ProcessStatus] = []
        self.said: list[dict[str, Any]] = []
        self.output = Output(home / "child.log")
        self.supervisor: Supervisor | None = None

    def start(self, code: str, policy: SupervisionPolicy = POLICY, tree: str = "") -> Supervisor:
        script = self.home / "child.py"
        script.write_text(HEAD + code)
        program = Program(
            command=lambda pipe: [sys.executable, str(script), str(pipe)],
            env={"SHOWN": "1"},
            cwd=self.home,
            pid_file=self.home / "child.pid",
            tree=f"test-{self.home}",
        )
        self.supervisor = Supervisor(program, self.output, policy, self.note, self.hear)
        self.supervisor.start()
        return self.supervisor

    def note(self, report: ProcessReport) -> None:
        self.states.append(report.status)

    def hear(self, message: Any) -> None:
        self.said.append(dict(message))

    def until(self, *states: ProcessStatus, seconds: float = 15.0) -> ProcessReport:
        assert self.supervisor is not None
        found = self.supervisor.wait_for(lambda r: r.status in states, seconds)
        assert found, f"{self.supervisor.report()} {self.output.last_lines(20)}"
        return self.supervisor.report()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    if bench.supervisor is not None:
        bench.supervisor.stop()
        for before, after in zip(bench.states, bench.states[1:], strict=False):
            assert can_advance(PROCESS_TRANSITIONS, before, after)
    bench.output.close()


def test_a_good_life(bench: Bench) -> None:
    supervisor = bench.start(
        """
say(**idle)
say(kind="state", status="training", task="t", run_id=7, round=2)
say(kind="event", name="began", text=os.environ["SHOWN"])
print("working")
time.sleep(60)
"""
    )
    report = bench.until(ProcessStatus.TRAINING)
    assert (report.task, report.run_id, report.round, report.restarts) == ("t", 7, 2, 0)
    assert report.pid is not None
    assert (bench.home / "child.pid").read_text().startswith(str(report.pid))
    while not bench.said:
        time.sleep(0.01)
    supervisor.stop()
    assert not alive(report.pid)
    assert bench.states == ["starting", "idle", "training", "stopped"]
    assert bench.said == [{"kind": "event", "name": "began", "text": "1"}]
    assert not (bench.home / "child.pid").exists()
    assert "working" in (bench.home / "child.log").read_text()


def test_what_a_child_says_of_itself_is_in_its_report(bench: Bench) -> None:
    supervisor = bench.start(
        """
say(kind="facts", facts=dict(accelerator="cuda:1", training_examples=7, pid=1))
say(kind="facts", facts=dict(accelerator=[], training_examples="many"))
say(kind="facts", facts=7)
say(kind="facts", facts=dict(accelerator_problem="why"))
say(**idle)
time.sleep(60)
"""
    )
    report = bench.until(ProcessStatus.IDLE)
    assert report.pid != 1
    facts = (report.accelerator, report.accelerator_problem, report.training_examples)
    assert facts == ("cuda:1", "why", 7)
    supervisor.stop()


def test_crashes_back_off_and_end_in_giving_up(bench: Bench) -> None:
    begin = time.monotonic()
    supervisor = bench.start("say(**idle)\nsys.exit('the disk is gone')")
    report = bench.until(ProcessStatus.FATAL)
    assert time.monotonic() - begin >= 0.1 + 0.2
    assert report.reason == "it ended with code 1: the disk is gone"
    assert report.restarts == 2
    assert bench.states.count(ProcessStatus.BACKOFF) == 2
    assert [m["kind"] for m in bench.said] == ["ended"] * 3
    bench.states.clear()
    (bench.home / "child.py").write_text(HEAD + "say(**idle)\ntime.sleep(60)")
    supervisor.restart()
    bench.until(ProcessStatus.IDLE)
    assert bench.states == ["starting", "idle"]


def test_a_crash_after_a_steady_life_counts_as_the_first(bench: Bench) -> None:
    policy = SupervisionPolicy(steady_seconds=0.0, backoff_seconds=0.01, max_crashes=2)
    supervisor = bench.start("say(**idle)\nsys.exit(1)", policy)
    assert supervisor.wait_for(lambda r: r.restarts >= 4, 20)
    assert ProcessStatus.FATAL not in bench.states


@pytest.mark.parametrize(
    ("ends", "is_given_up"), [("", True), ("say(**idle); time.sleep(0.2)", False)]
)
def test_a_crash_of_who_has_trained_counts_as_the_first(
    bench: Bench, ends: str, is_given_up: bool
) -> None:
    policy = SupervisionPolicy(backoff_seconds=0.01, max_crashes=2)
    train = "say(kind='state', status='training', task='t', run_id=7, round=2)"
    supervisor = bench.start(f"say(**idle)\n{train}\ntime.sleep(0.2)\n{ends}\nsys.exit(1)", policy)
    seen = supervisor.wait_for(lambda r: r.restarts >= 4 or r.status is ProcessStatus.FATAL, 20)
    assert seen
    assert (ProcessStatus.FATAL in bench.states) is is_given_up


def test_a_fatal_word_gives_up_at_once(bench: Bench) -> None:
    bench.start("say(kind='fatal', text='config.toml: bad key')\nsys.exit(2)")
    report = bench.until(ProcessStatus.FATAL)
    assert report.reason == "config.toml: bad key"
    assert report.restarts == 0


def test_stop_during_backoff_and_start_is_prompt(bench: Bench) -> None:
    policy = SupervisionPolicy(backoff_seconds=60, backoff_cap=60)
    supervisor = bench.start("sys.exit(1)", policy)
    bench.until(ProcessStatus.BACKOFF)
    begin = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - begin < 2


def test_what_ignores_sigterm_is_killed_with_its_children(bench: Bench) -> None:
    supervisor = bench.start(
        """
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
loop = [sys.executable, "-c", "import time; time.sleep(60)"]
away = subprocess.Popen(loop, start_new_session=True)
say(kind="pids", pids=[os.getpid(), away.pid])
say(**idle)
time.sleep(60)
"""
    )
    bench.until(ProcessStatus.IDLE)
    pids = bench.said[0]["pids"]
    begin = time.monotonic()
    supervisor.stop()
    assert 0.5 <= time.monotonic() - begin < 4
    assert not any(alive(pid) for pid in pids)


def test_children_of_a_killed_child_are_ended_before_the_next_begins(bench: Bench) -> None:
    supervisor = bench.start(
        """
import subprocess
away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
say(kind="pids", pids=[os.getpid(), away.pid])
say(**idle)
time.sleep(60)
"""
    )
    bench.until(ProcessStatus.IDLE)
    child, grandchild = bench.said[0]["pids"]
    os.kill(child, signal.SIGKILL)
    assert supervisor.wait_for(lambda r: r.restarts == 1 and r.status == "idle", 15)
    assert not alive(grandchild)


def test_replacing_on_purpose_is_no_crash(bench: Bench) -> None:
    supervisor = bench.start("say(**idle)\ntime.sleep(60)")
    for count in (1, 2, 3, 4):
        bench.until(ProcessStatus.IDLE)
        supervisor.replace("it was told to")
        assert supervisor.wait_for(lambda r, n=count: r.restarts == n and r.status == "idle", 15)
    assert ProcessStatus.BACKOFF not in bench.states
    assert ProcessStatus.FATAL not in bench.states


def test_a_child_that_never_gets_ready(bench: Bench) -> None:
    policy = SupervisionPolicy(start_seconds=0.6, max_crashes=1, stop_seconds=0.2)
    bench.start("time.sleep(60)", policy)
    reason = bench.until(ProcessStatus.FATAL).reason
    assert reason == "it was not ready within 1 s (FEDOPS_CLIENT_START_SECONDS)"


def test_a_child_that_hangs_in_training_is_ended_with_the_reason(bench: Bench) -> None:
    policy = SupervisionPolicy(backoff_seconds=60, backoff_cap=60, stop_seconds=0.2)
    work = 'say(kind="state", status="training", run_id=7, round=3)'
    supervisor = bench.start(f"time.sleep(0.5)\nsay(**idle)\n{work}\ntime.sleep(60)", policy)
    supervisor.work_seconds = 1.0
    reason = bench.until(ProcessStatus.BACKOFF).reason
    assert reason == "it was training in round 3 of run 7 for 1 s, longer than the run allows"


def test_a_child_that_works_on_in_time_is_left_alone(bench: Bench) -> None:
    work = 'say(kind="state", status="training")\ntime.sleep(0.3)\nsay(**idle)\ntime.sleep(0.2)\n'
    supervisor = bench.start("time.sleep(0.5)\nsay(**idle)\n" + 3 * work + "time.sleep(60)")
    supervisor.work_seconds = 5.0
    assert supervisor.wait_for(lambda r: r.status == "training", 15)
    assert not supervisor.wait_for(lambda r: r.status in ("backoff", "stopped"), 2.0)


def test_a_program_that_is_not_there(bench: Bench) -> None:
    supervisor = bench.start("")
    supervisor.stop()
    program = Program(lambda _: ["/no/such/program"], {}, bench.home, bench.home / "p", "test-none")
    missing = Supervisor(program, bench.output, POLICY, bench.note, bench.hear)
    missing.start()
    assert missing.wait_for(lambda r: r.status == "fatal", 15)
    assert "cannot be started" in str(missing.report().reason)
    missing.stop()


def test_garbage_and_floods_do_no_harm(bench: Bench) -> None:
    bench.start(
        """
os.write(pipe, b"\\xff\\xfe garbage\\n[1]\\n" + b"x" * 3_000_000 + b"\\n")
sys.stdout.buffer.write(b"\\xff" * 50_000 + b"\\r50%\\r100%\\n" + b"line\\n" * 20_000)
sys.stdout.flush()
say(kind="state", status="flying")
say(kind="state", status="stopped")
say(**idle)
time.sleep(60)
"""
    )
    bench.until(ProcessStatus.IDLE)
    assert bench.states == ["starting", "idle"]


def test_leftovers_of_an_earlier_life_are_ended_first(bench: Bench, tmp_path: Path) -> None:
    first = bench.start("say(**idle)\ntime.sleep(60)")
    old = bench.until(ProcessStatus.IDLE).pid
    assert old is not None
    bench.supervisor = None
    program = first._program
    second = Supervisor(program, Output(tmp_path / "2.log"), POLICY, bench.note, bench.hear)
    second.start()
    assert second.wait_for(lambda r: r.status == "idle", 15)
    assert not alive(old)
    second.stop()
    first.stop()
