"""What is done every few seconds: telemetry and log lines into the spool, a look at limits and conditions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fedops.client.device.conditions import ConditionWatch
from fedops.client.device.device_config import DeviceConfig
from fedops.client.spool.log_buffer import LogLines
from fedops.client.spool.spool import Spool
from fedops.client.supervision.supervisor import Supervisor
from fedops.client.telemetry.system_metrics import MIB, Telemetry, memory_of
from fedops.core.contracts import LogSource, RecordKind

logger = logging.getLogger("fedops.client")

_TICK_SECONDS = 1.0
_LOG_SECONDS = 2.0


class Monitoring:
    """One thread. Nothing that goes wrong in it reaches anything else."""

    def __init__(
        self,
        home: Path,
        config: DeviceConfig,
        spool: Spool,
        supervisor: Supervisor,
        logs: Mapping[LogSource, LogLines],
        telemetry_seconds: Callable[[], float],
        conditions: ConditionWatch,
    ) -> None:
        self._config = config
        self._spool = spool
        self._supervisor = supervisor
        self._logs = logs
        self._telemetry_seconds = telemetry_seconds
        self._conditions = conditions
        self._telemetry = Telemetry(home)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, after the last log lines are kept."""
        self._stopped.set()
        self._thread.join(5.0)
        self._keep_logs()

    def _run(self) -> None:
        next_sample = next_logs = 0.0
        while not self._stopped.wait(_TICK_SECONDS):
            now = time.monotonic()
            try:
                self._check_memory()
                self._conditions.look()
                if now >= next_logs:
                    next_logs = now + _LOG_SECONDS
                    self._keep_logs()
                if now >= next_sample:
                    next_sample = now + self._telemetry_seconds()
                    self._sample()
            except Exception:
                logger.exception("housekeeping failed and goes on")

    def _check_memory(self) -> None:
        limit, report = self._config.limits.memory_mb, self._supervisor.report()
        if not limit or report.pid is None:
            return
        used = memory_of(report.pid)
        if used is not None and used > limit * MIB:
            reason = (
                f"it used {used // MIB} MB of memory, device.toml allows memory_mb = {limit}: "
                "use a smaller batch_size or model, or raise the limit"
            )
            self._supervisor.replace(reason, crash=True)

    def _keep_logs(self) -> None:
        for source, lines in self._logs.items():
            for chunk in lines.take():
                if self._config.may_leave(RecordKind.LOG):
                    self._spool.put(
                        RecordKind.LOG,
                        source,
                        text=chunk.text,
                        run_id=chunk.run_id,
                        round=chunk.round,
                        at=chunk.at,
                    )

    def _sample(self) -> None:
        if self._config.may_leave(RecordKind.TELEMETRY):
            report = self._supervisor.report()
            values = self._telemetry.sample(report.pid)
            self._spool.put(RecordKind.TELEMETRY, "device", run_id=report.run_id, data=values)
