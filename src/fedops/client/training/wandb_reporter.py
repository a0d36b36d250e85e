"""A round's numbers to Weights & Biases, if the device's own ``[wandb]`` says so.

Beside what goes to the FedOps server, in a thread of its own: a service that is slow, away or refuses the key
costs the metrics there and nothing else. The key appears in no line, no config and no file of ours.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.client.device.data_dir import DataDir
from fedops.config.schema import Config
from fedops.core.states import ProcessStatus
from fedops.core.validation_messages import REDACTED
from fedops.processes.threads import in_thread
from fedops.trainer.device_context import Device, Reporter

logger = logging.getLogger("fedops.training")

#: How long the end of the training client may wait for what is on its way. Seconds.
CLOSE_SECONDS = 0.8
_INIT_SECONDS = 60.0
_WAITING_ROWS = 1_000
_EXTRA = "pip install wandb"


@dataclass(frozen=True)
class _Row:
    """The numbers of one message: a round's training, or the evaluation of a model."""

    task: str
    run_id: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Place:
    """Who reports, and where the files lie until they are sent."""

    device: str
    device_id: str
    folder: Path


class WandbReporter:
    """A ``Reporter`` that hands everything on, and each message's metrics to Weights & Biases as well."""

    def __init__(self, inner: Reporter, config: Config, place: Place) -> None:
        self._inner = inner
        self._sender = _Sender(inner, config, place)
        self._task = ""
        self._rows: dict[tuple[int, int], dict[str, float]] = {}

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None:
        self._task = task
        self._inner.working(status, task, run_id, round_)

    def idle(self) -> None:
        self._inner.idle()
        rows, self._rows = self._rows, {}
        for (run_id, round_), values in rows.items():
            self._sender.send(_Row(self._task, run_id, {"round": round_, **values}))

    def epoch(self, done: int, total: int) -> None:
        self._inner.epoch(done, total)

    def event(self, name: str, text: str, **data: Any) -> None:
        self._inner.event(name, text, **data)

    def describe(self, **facts: Any) -> None:
        self._inner.describe(**facts)

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        self._inner.metric(name, value, run_id, round_)
        self._rows.setdefault((run_id, round_), {})[name] = value

    def close(self) -> None:
        """Send what waits, for a short while."""
        self._sender.close()


def rounds_to_wandb(device: Device, device_id: str, config: Config, home: DataDir) -> WandbReporter:
    """A device's reporter, with Weights & Biases added."""
    place = Place(device.name, device_id, home.path / "wandb")
    return WandbReporter(device.report, config, place)


@dataclass
class _Sender:
    """The thread that talks to the library; one run there for each run and device."""

    report: Reporter
    config: Config
    place: Place
    _queue: queue.Queue[_Row | None] = field(default_factory=lambda: queue.Queue(_WAITING_ROWS))
    _thread: threading.Thread | None = None
    _run: Any = None
    _run_id: int | None = None
    _given_up: bool = False

    def send(self, row: _Row) -> None:
        """Never waits, never fails."""
        if self._given_up:
            return
        if self._thread is None:
            self._thread = in_thread(self._work, name="wandb")
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self._give_up(f"{_WAITING_ROWS} rows wait for it")

    def close(self) -> None:
        if self._thread is not None and not self._given_up:
            self._queue.put(None)
            self._thread.join(CLOSE_SECONDS)

    # --- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (row := self._queue.get()) is not None:
                self._log(row)
            self._finish()
            self._tear_down()
        except BaseException as error:  # it may also want to end the process
            self._give_up(f"{type(error).__name__}: {error}")

    def _log(self, row: _Row) -> None:
        if self._run_id != row.run_id:
            self._finish()
            self._run = self._open(row)
            self._run_id = row.run_id
        self._run.log(dict(row.values))

    def _open(self, row: _Row) -> Any:
        import wandb  # in this thread: it takes seconds, and not everybody has it

        options, place = self.config.wandb, self.place
        place.folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=options.project or None,
            entity=_given(options.account) or None,
            name=f"{row.task} run {row.run_id} {place.device}",
            group=f"{row.task} run {row.run_id}",
            id=f"{place.device_id}-{row.run_id}",
            dir=str(place.folder),
            config={"task": row.task, "run": row.run_id, "device": place.device},
            resume="allow",
            settings=_settings(wandb, options.secret),
        )
        run.define_metric("*", step_metric="round")
        return run

    def _finish(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.finish()

    def _tear_down(self) -> None:
        """Wait until all is on disk, or sent: the process will not wait for it."""
        import wandb

        wandb.teardown()

    def _give_up(self, why: str) -> None:
        """Say once what is wrong, without the key, and send nothing more."""
        if self._given_up:
            return
        self._given_up = True
        secret = self.config.wandb.secret
        why = why.replace(secret, REDACTED) if secret else why
        hint = f" ({_EXTRA})" if why.startswith("ModuleNotFoundError") else ""
        text = f"no metrics go to Weights & Biases any more: {' '.join(why.split())[:500]}{hint}"
        logger.warning("%s", text)
        self.report.event("wandb_given_up", text)


def _settings(wandb: Any, secret: str) -> Any:
    """Metrics only: nothing of this machine's code, output, packages or load."""
    return wandb.Settings(
        **({"api_key": secret} if secret else {}),
        silent=True,
        console="off",
        save_code=False,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
        init_timeout=_INIT_SECONDS,
    )


def _given(text: str) -> str:
    """A value of the config, unless it is the placeholder of an example."""
    return "" if text.startswith("your ") else text
