"""Studies: runs of a task that differ in their seed alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.concurrency import run_in_threadpool

from fedops.core.contracts import StudyRead, StudyStart
from fedops.server.access.principal import Principal
from fedops.server.api.http.authentication import (
    MAX_ID,
    PERSON,
    Limit,
    Named,
    NameFilter,
    Server,
    Who,
)
from fedops.server.api.http.routers import api_router
from fedops.server.runs import studies
from fedops.server.services.services import Services

router = api_router("studies", PERSON)
StudyId = Annotated[int, Path(ge=1, le=MAX_ID)]


def _study(server: Services, study_id: int, who: Principal) -> StudyRead:
    with server.db.read() as session:
        now = server.clock()
        return studies.read_study(session, study_id, server.settings, now, who.tasks)


@router.post("/tasks/{task}/studies", status_code=201)
async def start_study(task: Named, body: StudyStart, server: Server, who: Who) -> StudyRead:
    """Start one run for each seed, one after another. The first begins now."""
    await server.require_sound(lambda s: studies.plan_study(s, task, body, server.clock()))
    study_id = await server.change(lambda s: studies.start_study(s, task, body, server.clock()))
    return await run_in_threadpool(_study, server, study_id, who)


@router.get("/studies")
def list_studies(
    server: Server, who: Who, task: NameFilter = None, limit: Limit = 20
) -> list[StudyRead]:
    """Studies, newest first, of one task or all."""
    with server.db.read() as session:
        found = studies.study_ids(session, task, limit, who.tasks)
        now, settings = server.clock(), server.settings
        return [studies.read_study(session, one, settings, now, who.tasks) for one in found]


@router.get("/studies/{study_id}")
def get_study(study_id: StudyId, server: Server, who: Who) -> StudyRead:
    """A study and its runs."""
    return _study(server, study_id, who)


@router.post("/studies/{study_id}/stop")
def stop_study(study_id: StudyId, server: Server, who: Who) -> StudyRead:
    """Begin no more of its runs, and stop the one that goes on."""
    with server.db.write() as session:
        studies.stop_study(session, study_id, server.settings, server.clock())
    return _study(server, study_id, who)
