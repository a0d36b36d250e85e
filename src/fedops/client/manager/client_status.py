"""What a Client Manager says of itself and of its server on its local API."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fedops.api_client import without_credentials
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import DeviceConfig
from fedops.client.local.messages import ClientInfo, ServerStatus
from fedops.client.work.reachability import Reach
from fedops.core.contracts import Work


def server_status(url: str, proxy: str | None, reach: Reach, wanted: Work | None) -> ServerStatus:
    """Whether the server answers, and what it wanted last. ``wanted`` None: it has not answered yet."""
    return ServerStatus(
        url=url,
        proxy=without_credentials(proxy or ""),
        reachable=reach.reachable,
        seconds=round(reach.seconds, 1),
        problem=reach.problem,
        fedops=wanted.fedops if wanted else "",
        enrolment=wanted.enrolment if wanted else None,
        runs=wanted.runs if wanted else [],
        tasks=wanted.tasks if wanted else [],
        problems=wanted.problems if wanted else [],
    )


def client_info(
    device: str, home: DataDir, server: str, app_dir: Path, config: DeviceConfig
) -> ClientInfo:
    """Who it is, where its things are, and what its owner allows."""
    return ClientInfo(
        device=device,
        fedops=version("fedops"),
        home=str(home.path),
        server=server,
        app=str(app_dir),
        limits=config.limits.model_dump(),
        uploads=config.uploads.model_dump(),
    )
