"""The serving of a model as a process that a failpoint may kill: HOME FOLDER URL COMMAND, then wishes.

Each wish is a ``DesiredModel`` as JSON; the next one comes when the one before is served.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from fedops.api_client import BlobClient
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import Serving
from fedops.client.serving.serving_desk import ServingDesk
from fedops.client.work.reachability import Reachability
from fedops.core.contracts import DesiredModel, Work
from fedops.core.states import Enrolment, ServingStatus


def main() -> None:
    home, folder, url, command, *wishes = sys.argv[1:]
    config = Serving(folder=folder, command=json.loads(command))
    blobs = BlobClient(url, token="fo_device_x")
    desk = ServingDesk(config, DataDir(Path(home)), blobs, Reachability(url), lambda: None)
    desk.start(["mnist"])
    for wish in map(DesiredModel.model_validate_json, wishes):
        desk.take(Work(revision=1, enrolment=Enrolment.APPROVED, serving=[wish]))
        deadline = time.monotonic() + 60.0
        while not _serves(desk, wish.version):
            assert time.monotonic() < deadline, desk.status()
            time.sleep(0.01)
    desk.stop()
    blobs.close()


def _serves(desk: ServingDesk, version: int) -> bool:
    (report,) = desk.reports()
    return report.status is ServingStatus.ACTIVE and report.active == version


if __name__ == "__main__":
    main()
