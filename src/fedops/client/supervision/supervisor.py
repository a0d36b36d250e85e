"""Keeps one training client running: starts it, watches it, starts it again, gives it up with a reason.

All decisions are made in one thread, from a queue: what the child says, that it ended, what the Client
Manager wants. ``core.restart_policy`` says when to try again, ``core.states`` which state follows which.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from fedops.client.spool.child_output import Output
from fedops.client.supervision.exit_status import why_ended
from fedops.client.supervision.piped_child import spawn_piped
from fedops.client.supervision.process_run import (
    FACTS,
    NO_WISH,
    Ended,
    EndWish,
    Message,
    ProcessRun,
    Program,
    Said,
    replace_report,
)
from fedops.core.contracts import ProcessReport
from fedops.core.restart_policy import StepKind, SupervisionPolicy, next_step
from fedops.core.states import (
    PROCESS_READY,
    PROCESS_TRANSITIONS,
    PROCESS_WORKING,
    ProcessStatus,
    can_advance,
)
from fedops.failpoints import reached
from fedops.processes.json_lines import read_objects
from fedops.processes.lock import end_leftover, write_pid_file
from fedops.processes.process_tree import end_named_tree, end_tree
from fedops.processes.spawn import let_go
from fedops.processes.threads import in_thread
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.client.supervisor")

#: After the child ended, how long its last words may take to arrive. Seconds.
_LAST_WORDS_SECONDS = 1.0
_SETTLED = (*PROCESS_READY, ProcessStatus.BACKOFF, ProcessStatus.FATAL)


class Supervisor:
    """Supervises one program. ``on_change`` and ``on_message`` are called from its thread."""

    def __init__(
        self,
        program: Program,
        output: Output,
        policy: SupervisionPolicy,
        on_change: Callable[[ProcessReport], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._program = program
        self._output = output
        self._policy = policy
        self._on_change = on_change
        self._on_message = on_message
        self._queue: queue.Queue[EndWish | Said | Ended] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._changed = threading.Condition()
        self._report = ProcessReport()
        self._since = time.monotonic()
        #: The last life in which a training came to its end.
        self._trained_in = -1
        self._life = 0
        #: What the child of this life runs; None: there was none yet.
        self._now: Program | None = None
        self._pause_seconds = 0.0
        #: How long the child may train or evaluate at a stretch before it is taken for hung. Seconds.
        self.work_seconds: float | None = None

    # --- for other threads -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. What an earlier Client Manager left running is ended first."""
        self._thread.start()

    def stop(self) -> None:
        """End the child; returns when it is gone."""
        self._queue.put(EndWish("stop"))
        self._thread.join()

    def replace(self, reason: str, *, crash: bool = False) -> None:
        """End the child and start a fresh one. ``crash``: it counts as its fault."""
        self._queue.put(EndWish("replace", reason, crash, self._life))

    def restart(self) -> None:
        """Start a fresh child now, also when it was given up or waits for its turn."""
        self._queue.put(EndWish("restart"))

    def change(self, program: Program, reason: str) -> None:
        """Run another program from now on. Its pid file and tree are those of the one before."""
        self._program = program
        if self._thread.is_alive():
            self._queue.put(EndWish("restart", reason))

    def settled(self, program: Program, seconds: float) -> ProcessReport | None:
        """The child of a program once it is ready, or has ended; None: neither within this time."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._now is program and self._report.status in _SETTLED, seconds
            )
            return self._report if found else None

    def report(self) -> ProcessReport:
        """The child as it is now."""
        with self._changed:
            seconds, limit = round(time.monotonic() - self._since, 3), self._limit()
            times = {"seconds_in_state": seconds, "limit_seconds": limit}
            return self._report.model_copy(update=times)

    def wait_for(self, condition: Callable[[ProcessReport], bool], timeout: float) -> bool:
        """Wait until the child's report meets a condition."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._report), timeout)

    def _limit(self) -> float | None:
        """How long the child may go on in this state, in seconds."""
        limits = {
            ProcessStatus.STARTING: self._policy.start_seconds,
            ProcessStatus.BACKOFF: self._pause_seconds,
            **dict.fromkeys(PROCESS_WORKING, self.work_seconds),
        }
        return limits.get(self._report.status)

    # --- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        end_leftover(self._program.pid_file)
        end_named_tree(self._program.tree, grace=0.5)
        crashes = 0
        while (wish := self._before_next(crashes)) is None or wish.kind != "stop":
            life = self._live()
            if life.then == "stop":
                break
            crashes = self._crashes_after(life, 0 if wish else crashes)
            self._set(None if crashes else ProcessStatus.STOPPED, reason=life.reason)
        self._set(ProcessStatus.STOPPED, reason=self._report.reason)

    def _before_next(self, crashes: int) -> EndWish | None:
        """Wait as the policy says; the wish that ended the waiting, if any."""
        if self._program.idle:
            return self._rest()
        step = next_step(crashes, self._policy)
        if step.kind is StepKind.GIVE_UP:
            return self._give_up()
        return self._pause(step.seconds) if step.kind is StepKind.WAIT else None

    def _crashes_after(self, life: ProcessRun, before: int) -> int:
        """How many crashes in a row there were, after this life."""
        if life.then == "again":
            return 0
        if life.then == "fatal":
            return self._policy.max_crashes
        got_on = life.seconds >= self._policy.steady_seconds or self._trained_in == self._life
        return 1 if got_on else before + 1

    def _rest(self) -> EndWish:
        """Wait until there is something to run."""
        self._set(ProcessStatus.STOPPED, reason=self._program.idle)
        return self._await_restart()

    def _give_up(self) -> EndWish:
        """Wait in the state fatal until somebody wants another try."""
        reason = self._report.reason or "it ended again and again"
        logger.error("the training client is given up: %s", reason)
        self._set(ProcessStatus.FATAL, reason=reason)
        return self._await_restart()

    def _await_restart(self) -> EndWish:
        while True:
            item = self._queue.get()
            if isinstance(item, EndWish) and item.kind in ("stop", "restart"):
                return item

    def _pause(self, seconds: float) -> EndWish | None:
        """Wait before the next try; the wish that cut it short, if any."""
        self._pause_seconds = seconds
        self._set(ProcessStatus.BACKOFF, reason=self._report.reason)
        logger.warning(
            "the training client ended: %s; started again in %.1f s", self._report.reason, seconds
        )
        timeout = Timeout(seconds)
        while not timeout.is_over:
            item = self._next(timeout)
            if isinstance(item, EndWish) and item.kind in ("stop", "restart"):
                return item
        return None

    # --- one life ----------------------------------------------------------------------------------

    def _live(self) -> ProcessRun:
        """Start the child and stay with it until it is gone."""
        program, begin = self._program, time.monotonic()
        if program.idle:
            return ProcessRun(program.idle, 0.0, "again")
        self._life += 1
        self._set(ProcessStatus.STARTING, reason=self._report.reason)
        self._now = program
        try:
            child, threads = self._spawn(program)
        except OSError as error:
            return ProcessRun(f"it cannot be started: {error}", 0.0, "crash")
        self._update(pid=child.pid, restarts=self._life - 1)
        try:
            return self._watch(child, threads, begin)
        finally:
            self._bury(child)

    def _spawn(self, program: Program) -> tuple[subprocess.Popen[bytes], list[threading.Thread]]:
        child, read_end = spawn_piped(
            program.command, env=program.env, tree=program.tree, cwd=program.cwd
        )
        write_pid_file(program.pid_file, child.pid)
        reached("manager.child.started")
        assert child.stdout is not None
        life = self._life
        threads = [
            self._output.follow(child.stdout),
            in_thread(self._read, life, os.fdopen(read_end, "rb")),
        ]
        in_thread(self._await_exit, life, child)
        return child, threads

    def _read(self, life: int, stream: IO[bytes]) -> None:
        """Pass on what the child reports."""
        with stream:
            for message in read_objects(stream):
                self._queue.put(Said(life, message))

    def _await_exit(self, life: int, child: subprocess.Popen[bytes]) -> None:
        self._queue.put(Ended(life, child.wait()))

    def _watch(
        self, child: subprocess.Popen[bytes], threads: list[threading.Thread], begin: float
    ) -> ProcessRun:
        """Take what comes from the queue until the child has ended."""
        end, fatal = NO_WISH, ""
        timeout: Timeout | None = Timeout(self._policy.start_seconds)
        while True:
            item = self._next(timeout)
            if isinstance(item, Said) and item.life == self._life:
                if item.message.get("kind") != "state":
                    fatal = self._take(item.message) or fatal
                elif end is NO_WISH:  # what it says of itself while it is ended is no state of its
                    self._take(item.message)
                    timeout = self._work_timeout()
            elif isinstance(item, Ended) and item.life == self._life:
                for thread in threads:
                    thread.join(_LAST_WORDS_SECONDS)
                fatal = self._take_rest() or fatal
                return self._conclude(item.code, end, fatal, time.monotonic() - begin)
            elif (wish := self._wish_to_end(item)) is not None and end.kind != "stop":
                end, timeout = wish, None
                end_tree(child.pid, self._policy.stop_seconds)

    def _wish_to_end(self, item: EndWish | Said | Ended | None) -> EndWish | None:
        """The wish to end this child, if the item is one. None as an item: it is not ready in time."""
        if item is None:
            return EndWish("replace", self._why_late(), crash=True)
        if not isinstance(item, EndWish):
            return None
        if item.kind == "restart":
            return EndWish("replace", item.reason or "a restart was asked for")
        return item if item.kind == "stop" or item.life == self._life else None

    def _work_timeout(self) -> Timeout | None:
        """How long the child may go on with what it just began."""
        if self._report.status not in PROCESS_WORKING or self.work_seconds is None:
            return None
        return Timeout(self.work_seconds)

    def _why_late(self) -> str:
        report = self._report
        if report.status not in PROCESS_WORKING:
            limit = self._policy.start_seconds
            return f"it was not ready within {limit:.0f} s (FEDOPS_CLIENT_START_SECONDS)"
        where = f"round {report.round} of run {report.run_id}"
        lasting = time.monotonic() - self._since
        return f"it was {report.status.value} in {where} for {lasting:.0f} s, longer than the run allows"

    def _next(self, timeout: Timeout | None) -> EndWish | Said | Ended | None:
        """The next item of the queue, or None when the time is over."""
        try:
            return self._queue.get(timeout=timeout.seconds_left if timeout else None)
        except queue.Empty:
            return None

    def _take(self, message: Message) -> str:
        """Act on what the child said; returns why it can never work, if it said that."""
        kind = message.get("kind")
        if kind == "state":
            self._take_state(message)
        elif kind == "facts":
            self._take_facts(message.get("facts"))
        elif kind != "fatal":
            self._on_message(message)
        return str(message.get("text", "")) if kind == "fatal" else ""

    def _take_rest(self) -> str:
        """What the child said before it ended and is still in the queue. Wishes stay there."""
        items: list[EndWish | Said | Ended] = []
        with contextlib.suppress(queue.Empty):
            while True:
                items.append(self._queue.get_nowait())
        fatal = ""
        for item in items:
            if not isinstance(item, Said):
                self._queue.put(item)
            elif item.life == self._life and item.message.get("kind") != "state":
                fatal = self._take(item.message) or fatal
        return fatal

    def _take_state(self, message: Message) -> None:
        try:
            status = ProcessStatus(str(message.get("status")))
        except ValueError:
            return
        if status in PROCESS_READY and can_advance(
            PROCESS_TRANSITIONS, self._report.status, status
        ):
            if (self._report.status, status) == (ProcessStatus.TRAINING, ProcessStatus.IDLE):
                self._trained_in = self._life
            self._set(
                status,
                task=message.get("task"),
                run_id=message.get("run_id"),
                round=message.get("round"),
            )

    def _take_facts(self, facts: object) -> None:
        """What the child is and has. It holds until the child says something else."""
        if isinstance(facts, Mapping):
            with contextlib.suppress(ValueError):  # whatever an app has made of it
                self._update(**{name: facts[name] for name in FACTS if name in facts})

    def _conclude(self, code: int, end: EndWish, fatal: str, seconds: float) -> ProcessRun:
        if end.kind == "stop":
            return ProcessRun("", seconds, "stop")
        reason = fatal or end.reason or why_ended(code, self._output.last_lines())
        report = self._report
        was = {"status": str(report.status), "run_id": report.run_id, "round": report.round}
        self._on_message({"kind": "ended", "text": reason, "code": code, **was})
        if fatal:
            return ProcessRun(reason, seconds, "fatal")
        return ProcessRun(reason, seconds, "again" if end.reason and not end.crash else "crash")

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """Leave nothing behind of a child that ended: neither its own children nor its pid file."""
        end_named_tree(self._program.tree, grace=0.0)
        let_go(child)
        self._program.pid_file.unlink(missing_ok=True)
        self._update(pid=None)

    # --- the report --------------------------------------------------------------------------------

    def _set(self, status: ProcessStatus | None, **fields: Any) -> None:
        """Change the state. What is not given of task, run, round and reason is emptied."""
        empty = dict.fromkeys(("task", "run_id", "round", "reason"))
        with self._changed:
            if status is not None and status is not self._report.status:
                self._since = time.monotonic()
            new = {**empty, **fields, "status": status or self._report.status}
            self._report = replace_report(self._report, new)
            self._changed.notify_all()
        if status is not None:
            self._on_change(self.report())

    def _update(self, **fields: Any) -> None:
        with self._changed:
            self._report = replace_report(self._report, fields)
