"""What a device asks and reports."""

from __future__ import annotations

import httpx

from fedops.api_client.transport import LONG_POLL_SECONDS, Client
from fedops.core import contracts as c


class DeviceClient(Client):
    """What a Client Manager does, with its device token."""

    def heartbeat(self, body: c.Heartbeat) -> c.Desired:
        return self._call(c.Desired, "POST", "/devices/me/heartbeat", body, timeout=10.0)

    def desired(self, after: int, wait: float = LONG_POLL_SECONDS) -> c.Desired:
        """Answers at once when the desired state is newer than ``after``, else holds the call."""
        return self._poll(c.Desired, "/devices/me/desired", wait, after=after)

    def records(self, body: c.RecordBatch) -> c.RecordsAccepted:
        return self._call(c.RecordsAccepted, "POST", "/devices/me/records", body)

    def tasks(self) -> list[c.TaskRead]:
        """The ready tasks of the server, so that a wrong name can be answered with the right ones."""
        return self._list(c.TaskRead, "/devices/me/tasks")

    def me(self) -> c.DeviceRead:
        return self._call(c.DeviceRead, "GET", "/devices/me")


class WorkClient(Client):
    """What a Client Manager does for the work of its device, with the device token."""

    def work(self, body: c.WorkPoll) -> c.Work:
        """Say how the device is; answered at once when there is news, else after ``body.wait`` seconds."""
        timeout = httpx.Timeout(10.0, read=body.wait + 10.0)
        return self._call(c.Work, "POST", "/work", body, timeout=timeout)

    def instruction(self, assignment: str) -> c.Instruction:
        """What to do. Accepts the assignment."""
        return self._call(c.Instruction, "GET", f"/work/{assignment}/instruction")

    def progress(self, assignment: str, body: c.Progress) -> None:
        self._send("POST", f"/work/{assignment}/progress", json=body.model_dump(mode="json"))

    def end(self, assignment: str, body: c.WorkEnd) -> None:
        """Refuse it, or say that the app failed."""
        self._send("POST", f"/work/{assignment}/end", json=body.model_dump(mode="json"))

    def deliver(self, assignment: str, result: bytes) -> None:
        """Deliver a result of at most ``INLINE_BYTES``: a safetensors file."""
        headers = {"content-type": "application/octet-stream"}
        self._send("POST", f"/work/{assignment}/result", content=result, headers=headers)

    def slot(self, assignment: str, body: c.SlotRequest) -> c.TransferSlot:
        """Wait in line for leave to upload."""
        timeout = httpx.Timeout(15.0, read=body.wait + 15.0)
        return self._call(c.TransferSlot, "POST", f"/work/{assignment}/slot", body, timeout=timeout)


class NodeClient(Client):
    """What a training client does beside the Fleet API, signed with the node key."""

    def bell(self, epoch: str, after: int, wait: float = LONG_POLL_SECONDS) -> c.NodeBell:
        """Answers when the bell rang more than ``after`` times or the epoch changed."""
        return self._poll(c.NodeBell, "/node/bell", wait, epoch=epoch, after=after)

    def hello(self, body: c.NodeHello) -> c.NodeBell:
        return self._call(c.NodeBell, "POST", "/node/hello", body)

    def upload_slot(self, flower_run_id: str, wait: float = 10.0) -> c.UploadSlot:
        return self._poll(c.UploadSlot, "/node/upload-slot", wait, flower_run_id=flower_run_id)

    def uploaded(self, body: c.NodeUploaded) -> None:
        self._send("POST", "/node/uploaded", json=body.model_dump(mode="json"))
