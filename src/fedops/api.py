"""Typed client of the Server Manager's REST API.

The CLI, the Client Manager, the training client and the round engine all speak through it. Every
failure is one of the five kinds of ``core.errors``; a server that cannot be reached is ``Unavailable``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter

from fedops.core import contracts as c
from fedops.core.contracts import require_name
from fedops.core.errors import FedOpsError, Forbidden, Unavailable, from_kind
from fedops.files import atomic_file

M = TypeVar("M", bound=BaseModel)
PREFIX = "/api/v1"
#: Longest time the server holds a long poll open. Seconds.
LONG_POLL_SECONDS = 25.0
Signer = Callable[[], Mapping[str, str]]


class _Client:
    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        signer: Signer | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 30.0,
        verify: bool | str = True,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {_token(token)}"} if token else {}
        self._signer = signer
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            transport=transport,
            timeout=timeout,
            verify=verify,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        with self._as_fedops_errors():
            headers = dict(self._signer()) if self._signer else {}
            response = self._http.request(method, PREFIX + path, headers=headers, **kwargs)
        _raise_for_error(response)
        return response

    @contextmanager
    def _as_fedops_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"cannot reach the Server Manager at {self.url}: {error or type(error).__name__}"
            ) from None

    def _call(
        self, reply: type[M], method: str, path: str, body: BaseModel | None = None, **kwargs: Any
    ) -> M:
        if body is not None:
            kwargs["json"] = body.model_dump(mode="json")
        return _parse(reply, self._send(method, path, **kwargs))

    def _list(self, item: type[M], path: str, **params: Any) -> list[M]:
        return _parse_list(item, self._send("GET", path, params=_given(params)))

    def _poll(self, reply: type[M], path: str, wait: float, **params: Any) -> M:
        timeout = httpx.Timeout(30.0, read=wait + 15.0)
        return self._call(
            reply, "GET", path, params=_given({**params, "wait": wait}), timeout=timeout
        )

    def _upload(self, path: str, file: Path, **params: Any) -> c.ArtifactRef:
        with file.open("rb") as stream:
            sent = self._send(
                "PUT", path, content=_blocks(stream), params=_given(params), timeout=600.0
            )
        return _parse(c.ArtifactRef, sent)

    def _download(self, path: str, target: Path) -> Path:
        with (
            self._as_fedops_errors(),
            self._http.stream("GET", PREFIX + path, timeout=600.0) as response,
        ):
            if response.is_error:
                response.read()
                _raise_for_error(response)
            _save(response, target)
        return target


def _token(text: str) -> str:
    """A token as a header carries it; often it was copied from somewhere, with a line's end."""
    token = text.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise Forbidden("this is no token: it holds blanks or letters that no token has")
    return token


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(1 << 20):
        yield block


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if value is not None}


def _save(response: httpx.Response, target: Path) -> None:
    try:
        with atomic_file(target) as file:
            for block in response.iter_bytes(1 << 20):
                file.write(block)
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror or error}") from None


def _parse(reply: type[M], response: httpx.Response) -> M:
    try:
        return reply.model_validate_json(response.content)
    except ValueError:
        raise _no_server_manager(response) from None


def _parse_list(item: type[M], response: httpx.Response) -> list[M]:
    try:
        return TypeAdapter(list[item]).validate_json(response.content)  # type: ignore[valid-type]
    except ValueError:
        raise _no_server_manager(response) from None


def _no_server_manager(response: httpx.Response) -> Unavailable:
    url = response.request.url
    return Unavailable(f"{url} did not answer as a Server Manager does; is this its URL?")


def _raise_for_error(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        error = c.ErrorReply.model_validate_json(response.content)
    except ValueError:
        text = response.text[:200].strip() or response.reason_phrase
        if response.status_code in (502, 503, 504):
            raise Unavailable(f"the Server Manager is not available: {text}") from None
        raise FedOpsError(
            f"{response.request.method} {response.request.url} answered "
            f"{response.status_code}: {text}"
        ) from None
    raise from_kind(error.kind, error.message)


class OperatorClient(_Client):
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

    def upload_bundle(self, file: Path, commit: str | None = None) -> c.ArtifactRef:
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
        params = _given({**chosen, "after": after, "limit": limit})
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
        params = _given({"task": task})
        return _parse_list(
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


class JoinClient(_Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        return self._call(c.JoinReply, "POST", "/join", body)


class DeviceClient(_Client):
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


class NodeClient(_Client):
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


class EngineClient(_Client):
    """What the round engine does, with the token of its attempt. A stale attempt gets ``Conflict``."""

    def hello(self, body: c.EngineHello) -> c.AttemptSpec:
        return self._call(c.AttemptSpec, "POST", "/engine/hello", body)

    def initial_model(self, body: c.ModelInit) -> None:
        self._send("POST", "/engine/initial-model", json=body.model_dump(mode="json"))

    def upload(self, file: Path) -> c.ArtifactRef:
        return self._upload("/engine/artifacts", file)

    def download(self, ref: c.ArtifactRef, target: Path) -> Path:
        return self._download(f"/engine/artifacts/{ref.sha256}", target)

    def candidates(self) -> c.Candidates:
        return self._call(c.Candidates, "GET", "/engine/candidates")

    def progress(self, body: c.EngineProgress) -> None:
        self._send("POST", "/engine/progress", json=body.model_dump(mode="json"))

    def begin_round(self, round_: int, body: c.RoundBegin) -> None:
        self._send("POST", f"/engine/rounds/{round_}/begin", json=body.model_dump(mode="json"))

    def ring(self, body: c.Ring) -> None:
        self._send("POST", "/engine/ring", json=body.model_dump(mode="json"))

    def signals(self, after: int, wait: float = LONG_POLL_SECONDS) -> c.Signals:
        """Answers when there are signals beyond ``after`` or the command changes."""
        return self._poll(c.Signals, "/engine/signals", wait, after=after)

    def pulled(self, reply_to: str) -> None:
        """The reply is on the engine's disk: its upload slot is free."""
        self._send("POST", f"/engine/pulled/{reply_to}")

    def commit(self, body: c.RoundCommit) -> c.CommitReply:
        return self._call(
            c.CommitReply, "POST", f"/engine/rounds/{body.round}/commit", body, timeout=120.0
        )

    def logs(self, body: c.EngineLogs) -> None:
        """Deliver what was logged. It may be repeated."""
        self._send("POST", "/engine/logs", json=body.model_dump(mode="json"), timeout=10.0)

    def finish(self, body: c.EngineFinish) -> None:
        self._send("POST", "/engine/finish", json=body.model_dump(mode="json"), timeout=120.0)
