"""What an operator may do."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client.transport import Client, given, parse_list
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorClient(Client):
    """What an operator may do, with the admin token."""

    def info(self) -> c.ServerInfo:
        return self._call(c.ServerInfo, "GET", "/info")

    def create_token(self, body: c.TokenCreate) -> c.TokenRead:
        return self._call(c.TokenRead, "POST", "/tokens", body)

    def tokens(self) -> list[c.TokenRead]:
        return self._list(c.TokenRead, "/tokens")

    def revoke_token(self, token_id: int) -> c.TokenRead:
        return self._call(c.TokenRead, "POST", f"/tokens/{token_id}/revoke")

    def devices(self, task: str | None = None) -> list[c.DeviceRead]:
        return self._list(c.DeviceRead, "/devices", task=task)

    def device(self, device: str) -> c.DeviceRead:
        return self._call(c.DeviceRead, "GET", f"/devices/{require_name(device)}")

    def decide_device(self, device: str, decision: str) -> c.DeviceRead:
        """``decision``: ``approve``, ``reject`` or ``revoke``."""
        return self._call(
            c.DeviceRead, "POST", f"/devices/{require_name(device)}/{require_name(decision)}"
        )

    def upload_bundle(self, file: Path, commit: str | None = None) -> c.BlobRef:
        """``commit``: the Git commit that the app's files were at."""
        return self._upload("/bundles", file, commit=commit)

    def create_task(self, body: c.TaskCreate) -> c.TaskRead:
        return self._call(c.TaskRead, "POST", "/tasks", body)

    def update_task(self, task: str, body: c.TaskUpdate) -> c.TaskRead:
        return self._call(c.TaskRead, "PATCH", f"/tasks/{require_name(task)}", body)

    def archive_task(self, task: str) -> c.TaskRead:
        return self._call(c.TaskRead, "POST", f"/tasks/{require_name(task)}/archive")

    def tasks(self) -> list[c.TaskRead]:
        return self._list(c.TaskRead, "/tasks")

    def task(self, task: str) -> c.TaskRead:
        return self._call(c.TaskRead, "GET", f"/tasks/{require_name(task)}")

    def start_run(self, task: str, body: c.RunStart) -> c.RunRead:
        return self._call(c.RunRead, "POST", f"/tasks/{require_name(task)}/runs", body)

    def runs(self, task: str | None = None, limit: int = 50) -> list[c.RunRead]:
        return self._list(c.RunRead, "/runs", task=task, limit=limit)

    def run(self, run_id: int) -> c.RunRead:
        return self._call(c.RunRead, "GET", f"/runs/{run_id}")

    def rounds(self, run_id: int) -> list[c.RoundRead]:
        return self._list(c.RoundRead, f"/runs/{run_id}/rounds")

    def metrics(self, run_id: int, name: str | None = None) -> list[c.MetricRead]:
        return self._list(c.MetricRead, f"/runs/{run_id}/metrics", name=name)

    def explanations(self, run_id: int) -> list[c.ExplanationRead]:
        return self._list(c.ExplanationRead, f"/runs/{run_id}/explanations")

    def download_explanation(self, run_id: int, device: str, picture: str, target: Path) -> Path:
        """A contact sheet that the device's owner let go, as a PNG file."""
        return self._download(
            f"/runs/{run_id}/explanations/{require_name(device)}/{require_name(picture)}",
            target,
        )

    def stop_run(self, run_id: int) -> c.RunRead:
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/stop")

    def pause_run(self, run_id: int) -> c.RunRead:
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/pause")

    def resume_run(self, run_id: int) -> c.RunRead:
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/resume")

    def extend_run(self, run_id: int, body: c.RunExtend) -> c.RunRead:
        """A new run that adds rounds to one that is over."""
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/extend", body)

    def retry_run(self, run_id: int, body: c.RunRetry | None = None) -> c.RunRead:
        """A new run that does what is left of one that failed or was stopped."""
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/retry", body or c.RunRetry())

    def events(self, after: int = 0, run_id: int | None = None) -> list[c.EventRead]:
        return self._list(c.EventRead, "/events", after=after, run_id=run_id)

    def run_logs(
        self,
        run_id: int,
        *,
        device: str | None = None,
        round: int | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 200,
    ) -> c.LogPage:
        """What was logged in a run beyond ``after``, oldest first."""
        chosen = {"device": device, "round": round, "source": source}
        params = given({**chosen, "after": after, "limit": limit})
        return self._call(c.LogPage, "GET", f"/runs/{run_id}/logs", params=params)

    def device_logs(self, device: str, after: int = 0, limit: int = 200) -> c.LogPage:
        """What a device logged beyond ``after``, oldest first."""
        params = {"after": after, "limit": limit}
        return self._call(c.LogPage, "GET", f"/devices/{require_name(device)}/logs", params=params)

    def device_telemetry(self, device: str, limit: int = 200) -> list[c.TelemetryRead]:
        """The newest samples of what a device measured of itself, oldest first."""
        return self._list(
            c.TelemetryRead, f"/devices/{require_name(device)}/telemetry", limit=limit
        )

    def models(self, task: str) -> list[c.ModelVersionRead]:
        return self._list(c.ModelVersionRead, f"/tasks/{require_name(task)}/models")

    def model(self, task: str, version: str) -> c.ModelVersionRead:
        """``version``: a number, ``V3`` or an alias such as ``latest``."""
        return self._call(
            c.ModelVersionRead,
            "GET",
            f"/tasks/{require_name(task)}/models/{require_name(version)}",
        )

    def verify_models(self, task: str | None = None) -> list[c.FileCheck]:
        """Have the server read the file of every version."""
        params = given({"task": task})
        return parse_list(
            c.FileCheck, self._send("GET", "/models/verify", params=params, timeout=3_600.0)
        )

    def compare_models(self, task: str, first: str, second: str) -> c.ModelComparison:
        path = f"/tasks/{require_name(task)}/models/{require_name(first)}/compare/{require_name(second)}"
        return self._call(c.ModelComparison, "GET", path, timeout=600.0)

    def promote_model(self, task: str, version: str, alias: str = "serving") -> c.ModelVersionRead:
        path = f"/tasks/{require_name(task)}/models/{require_name(version)}/promote"
        body = c.Promotion(alias=alias)
        return self._call(c.ModelVersionRead, "POST", path, body, timeout=600.0)

    def rollback_alias(self, task: str, alias: str = "serving") -> c.ModelVersionRead:
        """Let an alias name what it named before."""
        return self._call(
            c.ModelVersionRead,
            "POST",
            f"/tasks/{require_name(task)}/aliases/{require_name(alias)}/rollback",
        )

    def aliases(self, task: str) -> list[c.AliasRead]:
        return self._list(c.AliasRead, f"/tasks/{require_name(task)}/aliases")

    def download_checkpoint(self, run_id: int, round_: int, target: Path) -> Path:
        """The model that a round made, while it is kept."""
        return self._download(f"/runs/{run_id}/rounds/{round_}/model", target)

    def download_model(self, task: str, version: str, target: Path) -> Path:
        return self._download(
            f"/tasks/{require_name(task)}/models/{require_name(version)}/file", target
        )
