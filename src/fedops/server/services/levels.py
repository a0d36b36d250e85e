"""What is read for Prometheus when it asks: how the devices and runs are, and what this process has open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedops.server.devices.registry import count_devices
from fedops.server.measures.measures import Level
from fedops.server.runs.control import count_runs
from fedops.server.services.services import Services


def of_database(services: Services) -> Iterator[Level]:
    """The same of each process of a database."""
    with services.db.read() as session:
        devices = count_devices(session, services.clock())
        runs = count_runs(session)
    yield Level("fedops_devices", "Devices, by their state.", by_state=_numbers(devices))
    yield Level("fedops_runs", "Runs, by their state.", by_state=_numbers(runs))


def of_jobs(lags: Mapping[str, float]) -> Iterator[Level]:
    """How long what repeats itself is overdue, by the name of the job."""
    for name, seconds in lags.items():
        about = f"How long the next step of the job '{name}' is overdue."
        yield Level(f"fedops_{name}_lag_seconds", about, value=seconds)


def _numbers(counts: Mapping[str, int]) -> dict[str, float]:
    return {state: float(count) for state, count in counts.items()}
