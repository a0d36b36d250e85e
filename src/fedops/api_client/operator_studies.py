"""What an operator may do with studies, and with runs before they are started."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorStudies(Client):
    """Studies: runs of a task that differ in their seed alone, one after another."""

    def forecast_run(self, task: str, body: c.RunStart) -> c.RunForecast:
        """What such a run would be: its devices, bytes and time. Nothing is started.

        ``NotFound`` when there is no such task or version, ``Invalid`` for wrong overrides.

        >>> found = operator.forecast_run("mnist", c.RunStart(overrides=["num_rounds=2"]))
        >>> found.rounds, found.asked, [(d.device, d.examples) for d in found.devices]
        (2, 2, [('jetson', 100), ('pi', 100)])
        """
        return self._call(c.RunForecast, "POST", f"/tasks/{require_name(task)}/runs/forecast", body)

    def start_study(self, task: str, body: c.StudyStart) -> c.StudyRead:
        """A new study, whose first run begins now.

        ``NotFound`` when there is no such task or version, ``Conflict`` when the task is archived or has a
        run going on, ``Invalid`` for wrong overrides.

        >>> study = operator.start_study("mnist", c.StudyStart(seeds=3))
        >>> study.seeds, [run.status.value for run in study.runs]
        ([7, 8, 9], ['pending'])
        """
        return self._call(c.StudyRead, "POST", f"/tasks/{require_name(task)}/studies", body)

    def studies(self, task: str | None = None, *, limit: int = 20) -> list[c.StudyRead]:
        """The newest studies, of all tasks or of one. ``NotFound`` when there is no such task.

        >>> operator.studies("mnist")
        []
        """
        return self._list(c.StudyRead, "/studies", task=task, limit=limit)

    def study(self, study_id: int) -> c.StudyRead:
        """A study and its runs. ``NotFound`` when there is none.

        >>> made = operator.start_study("mnist", c.StudyStart(seeds=[3, 1]))
        >>> operator.study(made.id).seeds
        [3, 1]
        """
        return self._call(c.StudyRead, "GET", f"/studies/{study_id}")

    def stop_study(self, study_id: int) -> c.StudyRead:
        """The study, which begins no more runs; the one that goes on is stopped.

        ``NotFound`` when there is none.

        >>> made = operator.start_study("mnist", c.StudyStart(seeds=2))
        >>> stopped = operator.stop_study(made.id)
        >>> stopped.text, [run.status.value for run in stopped.runs]
        ('stopped by the operator', ['stopped'])
        """
        return self._call(c.StudyRead, "POST", f"/studies/{study_id}/stop")
