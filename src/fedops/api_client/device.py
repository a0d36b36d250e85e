"""How a machine becomes a device, and what a device asks and reports."""

from __future__ import annotations

from pathlib import Path

from fedops import __version__
from fedops.api_client.certificates import CA_PATH
from fedops.api_client.transport import PREFIX, Client, OtherVersion, Verify, parse, raise_for_error
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class JoinClient(Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        """Hand in the token. Over plain HTTP not before the server has shown that it answers that."""
        self._require_plain_http()
        with self._as_fedops_errors():
            response = self._http.post(f"{PREFIX}/join", json=body.model_dump(mode="json"))
        if response.status_code == 404:  # nothing that is not there is named in this call
            raise OtherVersion(
                f"{self.url} does not know the call with which FedOps {__version__} joins: is it the URL of a"
                " Server Manager? If so, update FedOps there"
            )
        raise_for_error(response)
        return parse(c.JoinReply, response)

    def tls_upgrade(self, body: c.TlsUpgrade) -> c.TlsUpgradeReply:
        """How to go on with TLS. Nothing secret is sent. ``NotFound``: the server speaks none."""
        return self._call(c.TlsUpgradeReply, "POST", "/tls-upgrade", body)


class DeviceClient(Client):
    """What a Client Manager does, with its device token."""

    def records(self, body: c.RecordBatch) -> c.RecordsAccepted:
        return self._call(c.RecordsAccepted, "POST", "/devices/me/records", body)

    def tasks(self) -> list[c.TaskRead]:
        """The server's tasks but the archived ones, so that a wrong name is answered with the right ones."""
        return self._list(c.TaskRead, "/devices/me/tasks")

    def configs(self) -> list[c.TaskConfig]:
        """What this device is to be ready for. ``NotFound``: the server is older than this."""
        return self._list(c.TaskConfig, "/devices/me/configs")

    def renew_credential(self) -> c.CredentialReply:
        """A new credential, to be kept and then confirmed. ``NotFound``: the server is older than this."""
        return self._call(c.CredentialReply, "POST", "/devices/me/credential")

    def confirm_credential(self) -> None:
        """The credential that this client has now was kept: the one before it may end."""
        self._send("POST", "/devices/me/credential/confirm")

    def trusting(self, verify: Verify) -> DeviceClient:
        """A new client of the same server, by the same way, without a token, that checks certificates so."""
        return DeviceClient(self.url, verify=verify, proxy=self._proxy, timeout=10.0)

    def authorities(self) -> str:
        """The certificate authorities of the server, as PEM. ``NotFound``: it names none."""
        with self._as_fedops_errors():
            response = self._http.get(CA_PATH)
        raise_for_error(response)
        return response.text

    def me(self) -> c.DeviceRead:
        return self._call(c.DeviceRead, "GET", "/devices/me")

    def model(self, task: str, version: str) -> c.DeviceModelRead:
        """A version of a task that the device takes part in. ``Forbidden`` when it does not."""
        return self._call(c.DeviceModelRead, "GET", _model_path(task, version))

    def packages(self, task: str, commit: str, platform: str) -> c.Packages:
        """The wheels of a commit's environment on a platform such as ``3.11/x86_64-manylinux_2_36``.

        ``Forbidden``: the device takes no part in the task. ``NotFound``: it has no such sound commit.
        """
        path = f"/devices/me/tasks/{require_name(task)}/packages"
        params = {"commit": commit, "platform": platform}
        return self._call(c.Packages, "GET", path, params=params)

    def download_model(self, task: str, version: str, target: Path) -> Path:
        """The version's model, now in the safetensors file ``target``."""
        return self._download(f"{_model_path(task, version)}/file", target)


def _model_path(task: str, version: str) -> str:
    return f"/devices/me/tasks/{require_name(task)}/models/{require_name(version)}"


class WorkClient(Client):
    """What a Client Manager does for the work of its device, with the device token."""

    def work(self, body: c.WorkPoll) -> c.Work:
        """Say how the device is; answered at once when there is news, else after ``body.wait`` seconds."""
        return self._long_poll(c.Work, "/work", body, wait=body.wait, spare=10.0)

    def instruction(self, assignment: str) -> c.Instruction:
        """What to do. Accepts the assignment."""
        return self._call(c.Instruction, "GET", f"/work/{assignment}/instruction")

    def progress(self, assignment: str, body: c.Progress) -> None:
        self._tell(f"/work/{assignment}/progress", body)

    def end(self, assignment: str, body: c.WorkEnd) -> None:
        """Refuse it, or say that the app failed."""
        self._tell(f"/work/{assignment}/end", body)

    def deliver(self, assignment: str, result: bytes) -> None:
        """Deliver a result of at most ``INLINE_BYTES``: a safetensors file."""
        headers = {"content-type": "application/octet-stream"}
        self._send("POST", f"/work/{assignment}/result", content=result, headers=headers)

    def slot(self, assignment: str, body: c.SlotRequest) -> c.TransferSlot:
        """Wait in line for leave to upload."""
        return self._long_poll(
            c.TransferSlot, f"/work/{assignment}/slot", body, wait=body.wait, spare=15.0
        )
