"""``fedops client status``: asks the Client Manager of a data dir, or says that none runs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Literal

from fedops.client.device.data_dir import DataDir, load_identity
from fedops.client.local.http import LocalClient
from fedops.client.local.messages import (
    Approval,
    AwaitedCommit,
    ClientStatus,
    ServerStatus,
    ServingOrder,
)
from fedops.client.local.status_text import why
from fedops.core.errors import Conflict, FedOpsError


def client_status(home: Path) -> ClientStatus:
    """How the device of this data dir is.

    Raises:
        NotFound: it has not joined a server.
    """
    place = DataDir(home)
    identity = load_identity(place)
    client = _local(place)
    if client is not None:
        with client, contextlib.suppress(FedOpsError):  # else it ended without tidying up
            return client.get("/status", ClientStatus)
    server = ServerStatus(url=identity.server, reachable=None, seconds=0.0)
    status = ClientStatus(device=identity.name, home=str(home), running=False, server=server)
    return status.model_copy(update={"why": why(status)})


def stop_client(home: Path) -> None:
    """Ask the Client Manager of this data dir to end.

    Raises:
        Conflict: none runs.
    """
    with _running(home) as client:
        client.post("/stop")


def restart_training(home: Path) -> None:
    """Start the training client anew, also when it was given up.

    Raises:
        Conflict: no Client Manager runs.
    """
    with _running(home) as client:
        client.post("/restart")


def awaited_commit(home: Path) -> AwaitedCommit:
    """The commit that waits for the owner of this device.

    Raises:
        Conflict: no Client Manager runs, or nothing waits.
    """
    with _running(home) as client:
        return client.get("/deployment", AwaitedCommit)


def approve_commit(home: Path, commit: str) -> None:
    """Allow it to run here.

    Raises:
        Conflict: no Client Manager runs, or another commit waits.
    """
    with _running(home) as client:
        client.post("/deployment/approve", Approval(commit=commit))


def decide_serving(home: Path, action: Literal["back", "again"]) -> None:
    """Have the version before put back, or the newest one taken again.

    Raises:
        Conflict: no Client Manager runs, or that cannot be now.
    """
    with _running(home) as client:
        client.post("/serving", ServingOrder(action=action))


def restart_program(home: Path) -> None:
    """Ask the Client Manager to end as one does that its service has to start again.

    Raises:
        Conflict: none runs.
    """
    with _running(home) as client:
        client.post("/leave")


def _running(home: Path) -> LocalClient:
    client = _local(DataDir(home))
    if client is None:
        raise Conflict(f"no Client Manager runs on {home}")
    return client


def _local(home: DataDir) -> LocalClient | None:
    try:
        noted = json.loads(home.local_api.read_text())
        return LocalClient(str(noted["url"]), home.local_token.read_text().strip())
    except (OSError, ValueError, KeyError, TypeError):
        return None
