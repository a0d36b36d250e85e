"""Schedules of a task: training that begins by itself."""

from __future__ import annotations

from fedops.core.contracts import FiringRead, SchedulePause, ScheduleRead, ScheduleSet
from fedops.server.api.http.authentication import PERSON, Limit, Named, Server
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.schedules import schedules

router = api_router("schedules", PERSON)
_ONE = "/tasks/{task}/schedules/{schedule}"


@router.get("/tasks/{task}/schedules")
def list_schedules(task: Named, server: Server) -> list[ScheduleRead]:
    """The schedules of a task, each with what it waits for and its last firing."""
    with server.db.read() as session:
        return schedules.list_schedules(session, task, server.clock())


@router.put(_ONE)
async def set_schedule(
    task: Named, schedule: Named, body: ScheduleSet, server: Server
) -> ScheduleRead:
    """Make a schedule, or change it. One that is paused stays so."""
    return await server.change(
        lambda s: schedules.set_schedule(s, task, schedule, body, server.clock())
    )


@router.get(_ONE + "/firings")
def list_firings(
    task: Named, schedule: Named, server: Server, limit: Limit = 20
) -> list[FiringRead]:
    """The newest firings of a schedule, and what became of each."""
    with server.db.read() as session:
        return schedules.list_firings(session, task, schedule, limit)


@router.post(_ONE + "/fire", status_code=201)
async def fire_schedule(task: Named, schedule: Named, server: Server) -> FiringRead:
    """Let it fire now. Its run begins as soon as the task is free."""
    return await server.change(lambda s: schedules.fire(s, task, schedule, server.clock()))


@router.post(_ONE + "/pause")
async def pause_schedule(
    task: Named, schedule: Named, body: SchedulePause, server: Server
) -> ScheduleRead:
    """Let it fire no more by itself. A run that it has begun goes on."""
    because = body.because
    return await server.change(
        lambda s: schedules.pause(s, task, schedule, because, server.clock())
    )


@router.post(_ONE + "/resume")
async def resume_schedule(task: Named, schedule: Named, server: Server) -> ScheduleRead:
    """Let it fire again. Ticks that came meanwhile are not made up for."""
    return await server.change(lambda s: schedules.resume(s, task, schedule, server.clock()))


@router.post(_ONE + "/remove")
async def remove_schedule(task: Named, schedule: Named, server: Server) -> ScheduleRead:
    """Remove it; it is answered as it was. A run that it has begun goes on; its version is not promoted."""
    return await server.change(lambda s: schedules.remove(s, task, schedule, server.clock()))
