"""What the device and its training client use: CPU, memory, disk, network, GPU, battery."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fedops.processes.short_commands import output_of

MIB = 1 << 20


@dataclass
class Telemetry:
    """Samples this machine. Rates are since the sample before."""

    home: Path
    _network: tuple[int, int] | None = None
    _gpu: bool = True

    def sample(self, pid: int | None) -> dict[str, Any]:
        """One sample; ``pid`` is the training client's process. What cannot be read is left out."""
        found: dict[str, Any] = {}
        for part in (self._machine, self._net, self._battery, self._gpus):
            with contextlib.suppress(OSError, psutil.Error, NotImplementedError, ValueError):
                found.update(part())
        if pid is not None:
            found.update(_process(pid))
        return found

    def _machine(self) -> dict[str, Any]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self.home))
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": memory.percent,
            "memory_free_mb": memory.available // MIB,
            "disk_percent": disk.percent,
            "disk_free_mb": disk.free // MIB,
        }

    def _net(self) -> dict[str, Any]:
        now = psutil.net_io_counters()
        if now is None:
            return {}
        before, self._network = self._network, (now.bytes_sent, now.bytes_recv)
        if before is None:
            return {}
        return {
            "net_sent_bytes": max(now.bytes_sent - before[0], 0),
            "net_received_bytes": max(now.bytes_recv - before[1], 0),
        }

    def _battery(self) -> dict[str, Any]:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
        if battery is None:
            return {}
        return {"battery_percent": battery.percent, "on_mains": bool(battery.power_plugged)}

    def _gpus(self) -> dict[str, Any]:
        if not self._gpu:
            return {}
        query = "utilization.gpu,memory.used,memory.total"
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        said = output_of(command, seconds=5.0)
        self._gpu = said is not None  # else there is none: do not ask again
        return _gpu_values((said or "").splitlines())


def _gpu_values(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, line in enumerate(line for line in lines if line.strip()):
        used, memory, total = (float(word) for word in line.split(","))
        found[f"gpu{index}_percent"] = used
        found[f"gpu{index}_memory_percent"] = round(100 * memory / total, 1) if total else 0.0
    return found


def _process(pid: int) -> dict[str, Any]:
    used = memory_of(pid)
    return {} if used is None else {"training_memory_mb": used // MIB}


def memory_of(pid: int) -> int | None:
    """Bytes that a process and its children hold in memory; None when it is gone."""
    try:
        root = psutil.Process(pid)
        total = int(root.memory_info().rss)
        children = root.children(recursive=True)
    except psutil.Error:
        return None
    for child in children:
        with contextlib.suppress(psutil.Error):
            total += int(child.memory_info().rss)
    return total
