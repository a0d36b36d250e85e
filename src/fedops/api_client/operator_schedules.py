"""What an operator may do with schedules: training that begins by itself."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorSchedules(Client):
    """Schedules of a task."""

    def set_schedule(self, task: str, schedule: str, body: c.ScheduleSet) -> c.ScheduleRead:
        """A schedule, new or changed.

        ``NotFound`` when there is no such task, ``Invalid`` for a trigger or an override that cannot be.

        >>> nightly = c.ScheduleSet(trigger=c.Cron(expression="0 2 * * *", zone="Europe/Berlin"))
        >>> operator.set_schedule("mnist", "nightly", nightly).when
        'cron 0 2 * * * (Europe/Berlin)'
        """
        return self._call(c.ScheduleRead, "PUT", _path(task, schedule), body)

    def schedules(self, task: str) -> list[c.ScheduleRead]:
        """The schedules of a task, by name. ``NotFound`` when there is no such task.

        >>> operator.schedules("mnist")
        []
        """
        return self._list(c.ScheduleRead, f"/tasks/{require_name(task)}/schedules")

    def firings(self, task: str, schedule: str, *, limit: int = 20) -> list[c.FiringRead]:
        """The newest firings of a schedule, the newest first. ``NotFound`` when there is no such schedule.

        >>> made = operator.set_schedule("mnist", "firings", c.ScheduleSet(trigger=c.OnDemand()))
        >>> found = operator.firings("mnist", "firings")
        >>> _ = operator.remove_schedule("mnist", "firings")
        >>> found
        []
        """
        return self._list(c.FiringRead, f"{_path(task, schedule)}/firings", limit=limit)

    def fire_schedule(self, task: str, schedule: str) -> c.FiringRead:
        """Let a schedule fire now. Its run begins as soon as the task is free.

        ``NotFound`` when there is no such schedule, ``Conflict`` when a run goes on and it skips what comes
        meanwhile.

        >>> made = operator.set_schedule("mnist", "by-hand", c.ScheduleSet(trigger=c.OnDemand()))
        >>> firing = operator.fire_schedule("mnist", "by-hand")
        >>> firing.status.value, operator.run(firing.run_id).schedule
        ('running', 'by-hand')
        """
        return self._call(c.FiringRead, "POST", f"{_path(task, schedule)}/fire")

    def pause_schedule(self, task: str, schedule: str, because: str = "") -> c.ScheduleRead:
        """A schedule, which fires no more by itself. ``NotFound`` when there is none.

        >>> made = operator.set_schedule("mnist", "hourly", c.ScheduleSet(trigger=c.Every(seconds=3600)))
        >>> operator.pause_schedule("mnist", "hourly").next
        'paused'
        """
        body = c.SchedulePause(because=because)
        return self._call(c.ScheduleRead, "POST", f"{_path(task, schedule)}/pause", body)

    def resume_schedule(self, task: str, schedule: str) -> c.ScheduleRead:
        """A schedule, which fires again. ``NotFound`` when there is none.

        >>> made = operator.set_schedule("mnist", "hourly", c.ScheduleSet(trigger=c.Every(seconds=3600)))
        >>> paused = operator.pause_schedule("mnist", "hourly")
        >>> operator.resume_schedule("mnist", "hourly").paused_why
        ''
        """
        return self._call(c.ScheduleRead, "POST", f"{_path(task, schedule)}/resume")

    def remove_schedule(self, task: str, schedule: str) -> c.ScheduleRead:
        """A schedule as it was: it is no more. ``NotFound`` when there is none.

        >>> made = operator.set_schedule("mnist", "hourly", c.ScheduleSet(trigger=c.Every(seconds=3600)))
        >>> operator.remove_schedule("mnist", "hourly").name, operator.schedules("mnist")
        ('hourly', [])
        """
        return self._call(c.ScheduleRead, "POST", f"{_path(task, schedule)}/remove")


def _path(task: str, schedule: str) -> str:
    return f"/tasks/{require_name(task)}/schedules/{require_name(schedule)}"
