"""What devices let operators see of their explanations."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from fedops.core.contracts import ExplanationRead
from fedops.server.api.http.authentication import PERSON, Named, RunId, Server
from fedops.server.api.http.routers import api_router
from fedops.server.telemetry import explanations

router = api_router("runs", PERSON)
RecordId = Annotated[str, Path(min_length=8, max_length=64, pattern=r"^[^\x00]+$")]


@router.get("/runs/{run_id}/explanations")
def list_explanations(run_id: RunId, server: Server) -> list[ExplanationRead]:
    """What the devices let the server know of their explanations, by round and device."""
    with server.db.read() as session:
        return explanations.list_explanations(session, run_id)


@router.get(
    "/runs/{run_id}/explanations/{device}/{picture}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def get_explanation_picture(
    run_id: RunId, device: Named, picture: RecordId, server: Server
) -> Response:
    """A contact sheet that the device's owner let go: a PNG."""
    with server.db.read() as session:
        found = explanations.read_contact_sheet(session, run_id, device, picture)
    return Response(found, media_type="image/png", headers={"X-Content-Type-Options": "nosniff"})
