"""Benchmarks of a task's devices."""

from __future__ import annotations

from fedops.core.contracts import BenchesRead, BenchRequest
from fedops.server.api.http.authentication import PERSON, Named, Server, Who
from fedops.server.api.http.routers import api_router
from fedops.server.tasks import benches

router = api_router("benches", PERSON)


@router.post("/tasks/{task}/benches", status_code=201)
async def start_benches(task: Named, body: BenchRequest, server: Server, who: Who) -> BenchesRead:
    """Let devices time a round on a small chunk of their own data: those named, or all that are ready.

    The answer names those that are left out, each with the reason.
    """
    return await server.change(
        lambda s: benches.start_benches(s, task, body, server.clock(), who.tasks)
    )


@router.get("/tasks/{task}/benches")
def list_benches(task: Named, server: Server, who: Who) -> BenchesRead:
    """The last benchmark of each device, and how long a round would take it."""
    with server.db.read() as session:
        return benches.list_benches(session, task, who.tasks)
