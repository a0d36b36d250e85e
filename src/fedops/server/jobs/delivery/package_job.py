"""The worker that prepares the packages of commits."""

from __future__ import annotations

from fedops.server.delivery.packages.preparing import PackagePreparation
from fedops.server.jobs.leadership import Leadership
from fedops.server.jobs.periodic import PeriodicJob

#: How often it is looked whether another Server Manager was asked. Seconds.
STEP_SECONDS = 2.0


def package_job(preparation: PackagePreparation, leadership: Leadership) -> PeriodicJob:
    """A worker that prepares what is asked for. Of several Server Managers the one that leads does."""

    def step() -> None:
        if leadership.leads:
            preparation.step()

    job = PeriodicJob("packages", step, STEP_SECONDS)
    preparation.asked = job.wake
    preparation.ending = lambda: job.ending
    return job
