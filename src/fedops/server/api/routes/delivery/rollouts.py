"""Rollouts of a task's commits: how they are, begun by hand, and what a person decides about them."""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool

from fedops.core.contracts import DeliveryRead, RolloutDecision, RolloutRead, RolloutStart
from fedops.server.api.http.authentication import PERSON, Named, Server
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.rollouts import delivery_views, rollouts
from fedops.server.services.services import Services
from fedops.server.tasks import app_bundles

router = api_router("rollouts", PERSON)


@router.get("/tasks/{task}/delivery")
def get_delivery(task: Named, server: Server) -> DeliveryRead:
    """The source, the commits and the rollout of a task, and of each device what it runs and why."""
    with server.db.read() as session:
        return delivery_views.read_delivery(session, task, server.clock())


@router.get("/tasks/{task}/rollouts")
def list_rollouts(task: Named, server: Server) -> list[RolloutRead]:
    """The newest rollouts, the newest first."""
    with server.db.read() as session:
        return delivery_views.list_rollouts(session, task, server.clock())


@router.post("/tasks/{task}/rollouts", status_code=201)
def start_rollout(task: Named, body: RolloutStart, server: Server) -> RolloutRead:
    """Roll out a commit now: the newest that was found sound, or the one that is named."""
    now = server.clock()
    with server.db.write() as session:
        row = rollouts.start_rollout(session, task, body, now)
        return delivery_views.rollout_view(session, row, now)


@router.post("/tasks/{task}/rollouts/decision")
async def decide_rollout(task: Named, body: RolloutDecision, server: Server) -> DeliveryRead:
    """Let the rollout that goes on begin its next wave, wait, go on, stop or be taken back."""
    return await run_in_threadpool(_decide, server, task, body)


def _decide(server: Services, task: str, body: RolloutDecision) -> DeliveryRead:
    opened, now = app_bundles.config_from(server.artifacts), server.clock()
    with server.db.read() as session:
        bundle = rollouts.bundle_to_roll_back_to(session, task)
    if bundle is not None and body.decision == "roll_back":
        opened(bundle)  # it is kept: no file is read in the transaction
    with server.db.write() as session:
        rollouts.decide(session, task, body, opened, now)
        return delivery_views.read_delivery(session, task, now)
