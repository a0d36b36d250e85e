"""What an operator may do with join tokens and devices."""

from __future__ import annotations

from fedops.api_client.transport import Client, request_of
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorDevices(Client):
    """Tokens, devices, and what devices tell of themselves."""

    def create_token(self, body: c.TokenCreate) -> c.TokenRead:
        """A new join token; only this answer holds its secret, as ``token``.

        >>> made = operator.create_token(c.TokenCreate(uses=5, note="lab"))
        >>> made.uses_left, made.token.startswith("fo_join_")
        (5, True)
        """
        return self._call(c.TokenRead, "POST", "/tokens", body)

    def tokens(self) -> list[c.TokenRead]:
        """All join tokens, the newest first, without their secrets.

        >>> made = operator.create_token(c.TokenCreate(note="lab"))
        >>> [token.id for token in operator.tokens() if token.note == "lab"] == [made.id]
        True
        """
        return self._list(c.TokenRead, "/tokens")

    def revoke_token(self, token_id: int) -> c.TokenRead:
        """The token, worthless from now on.

        ``NotFound`` when there is no such join token.

        >>> made = operator.create_token(c.TokenCreate(uses=5))
        >>> operator.revoke_token(made.id).revoked
        True
        """
        return self._call(c.TokenRead, "POST", f"/tokens/{token_id}/revoke")

    def devices(self, task: str | None = None) -> list[c.DeviceRead]:
        """All devices, or those of a task. ``NotFound`` when there is no such task.

        >>> sorted(device.name for device in operator.devices("mnist") if device.online)
        ['jetson', 'pi']
        """
        return self._list(c.DeviceRead, "/devices", task=task)

    def device(self, device: str) -> c.DeviceRead:
        """One device by its name, with what its training client does. ``NotFound`` when there is none.

        >>> found = operator.device("pi")
        >>> found.enrolment.value, found.process.status.value
        ('approved', 'idle')
        """
        return self._call(c.DeviceRead, "GET", f"/devices/{require_name(device)}")

    def decide_device(self, device: str, decision: str) -> c.DeviceRead:
        """The device after a decision: ``approve``, ``reject``, ``revoke`` or ``remove``.

        ``NotFound`` when there is no such device or decision, ``Conflict`` when it was decided otherwise.

        >>> operator.decide_device("jetson", "revoke").enrolment.value
        'revoked'
        """
        return self._call(
            c.DeviceRead, "POST", f"/devices/{require_name(device)}/{require_name(decision)}"
        )

    def quarantine_device(
        self, device: str, because: str, keep_versions: bool = False
    ) -> c.DeviceTouched:
        """The device, which is asked for nothing more, and what its updates are in: that is quarantined too.

        ``NotFound`` when there is no such device, ``Conflict`` when it takes part in nothing anyway.

        >>> found = operator.quarantine_device("pi", "its sensor is broken")
        >>> found.device.enrolment.value, found.touched[0].rounds, found.touched[0].version
        ('quarantined', [1], 1)
        >>> operator.model("mnist", "V1").quarantine
        'updates of device pi are in round 1 (its sensor is broken)'
        """
        body = request_of(c.DeviceQuarantine, because=because, keep_versions=keep_versions)
        path = f"/devices/{require_name(device)}/quarantine"
        return self._call(c.DeviceTouched, "POST", path, body)

    def release_device(self, device: str, because: str) -> c.DeviceTouched:
        """The device, which takes part again. ``Conflict`` when it was not quarantined.

        >>> operator.quarantine_device("pi", "a doubt", keep_versions=True).touched[0].quarantine
        >>> operator.release_device("pi", "its sensor is fine").device.enrolment.value
        'approved'
        """
        path = f"/devices/{require_name(device)}/release"
        return self._call(c.DeviceTouched, "POST", path, request_of(c.Because, because=because))

    def touched(self, device: str) -> c.DeviceTouched:
        """The runs that a device's updates are in. ``NotFound`` when there is no such device.

        >>> [(run.task, run.rounds) for run in operator.touched("pi").touched if run.version]
        [('mnist', [1])]
        """
        return self._call(c.DeviceTouched, "GET", f"/devices/{require_name(device)}/touched")

    def rename_device(self, device: str, body: c.DeviceRename) -> c.DeviceRead:
        """The device under its new name; its history stays with it.

        ``NotFound`` when there is no such device, ``Conflict`` when the name is taken or a run goes on.

        >>> operator.rename_device("spare", c.DeviceRename(name="ward-3")).name
        'ward-3'
        """
        return self._call(c.DeviceRead, "POST", f"/devices/{require_name(device)}/rename", body)

    def tag_device(self, device: str, body: c.DeviceTags) -> c.DeviceRead:
        """The device with these tags, in place of those that it had. ``NotFound``: there is none.

        >>> operator.tag_device("jetson", c.DeviceTags(tags=["ward", "gpu"])).tags
        ['gpu', 'ward']
        """
        return self._call(c.DeviceRead, "PUT", f"/devices/{require_name(device)}/tags", body)

    def upgrade_devices(self, body: c.DeviceUpgrade) -> c.UpgradeRead:
        """An upgrade to the server's release of FedOps, which has begun, a canary first.

        ``NotFound`` when there is no such device, ``Conflict`` when all have that release or one goes on.

        >>> body = c.DeviceUpgrade(names=["spare"], canary="1")
        >>> begun = operator.upgrade_devices(body)
        >>> begun.status.value, [(one.device, one.release) for one in begun.devices]
        ('pending', [('spare', '1.9.0')])
        """
        return self._call(c.UpgradeRead, "POST", "/devices/upgrade", body)

    def upgrade(self) -> c.UpgradeRead:
        """The newest upgrade, and how far its devices are. ``NotFound`` when there was none.

        >>> operator.upgrade()
        Traceback (most recent call last):
        ...
        fedops.core.errors.NotFound: no upgrade was asked for yet; 'fedops device upgrade --all' begins one
        """
        return self._call(c.UpgradeRead, "GET", "/devices/upgrade")

    def stop_upgrade(self) -> c.UpgradeRead:
        """The upgrade, which asks no further device. ``Conflict`` when none goes on.

        >>> begun = operator.upgrade_devices(c.DeviceUpgrade())
        >>> operator.stop_upgrade().status.value
        'stopped'
        """
        return self._call(c.UpgradeRead, "POST", "/devices/upgrade/stop")

    def device_logs(self, device: str, *, after: int = 0, limit: int = 200) -> c.LogPage:
        """What a device logged beyond the entry ``after``, oldest first.

        ``NotFound`` when there is no such device.

        >>> page = operator.device_logs("pi")
        >>> [entry.text for entry in page.entries]
        ['epoch 1 of 1']
        >>> operator.device_logs("pi", after=page.entries[-1].id).entries
        []
        """
        params = {"after": after, "limit": limit}
        return self._call(c.LogPage, "GET", f"/devices/{require_name(device)}/logs", params=params)

    def device_telemetry(self, device: str, limit: int = 200) -> list[c.TelemetryRead]:
        """The newest samples of what a device measured, oldest first.

        ``NotFound`` when there is no such device.

        >>> newest = operator.device_telemetry("pi")[-1]
        >>> newest.values["cpu_percent"]
        40.0
        """
        return self._list(
            c.TelemetryRead, f"/devices/{require_name(device)}/telemetry", limit=limit
        )
