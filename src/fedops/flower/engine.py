"""The run engine on Flower: a SuperLink of our own, spoken to through its Control API."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.config import get_fab_config, get_metadata_from_config
from flwr.common.constant import APP_DIR, FAB_HASH_TRUNCATION, Status
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.run_pb2 import Run
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.flower.superlink import SuperLink

logger = logging.getLogger("fedops.flower.engine")

#: What the app's ``[tool.flwr.app.config]`` gets in a run that we submit.
SERVER_MODE: dict[str, bool | float | int | str] = {"mode": "server"}
#: Answers of the Control API that mean: there is no such run any more.
_RUN_IS_OVER = (ApiErrorCode.RUN_ID_NOT_FOUND, ApiErrorCode.RUN_ALREADY_FINISHED)
_LOG_LINES = 40

T = TypeVar("T")


class _ControlError(Exception):
    """The Control API refused, with its error code."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{detail} (code {code})")
        self.code = code


class FlowerEngine:
    """A ``RunEngine``: one SuperLink, disposable; everything durable is on our side."""

    def __init__(self, superlink: SuperLink) -> None:
        self._superlink = superlink
        self._client: ControlHttpClient | None = None
        self._generation = 0
        self._nodes: dict[bytes, str] = {}
        self._sickness: str | None = "it is not started"
        self._lock = threading.RLock()

    # --- its life ----------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def fleet_url(self) -> str | None:
        return None if self._client is None else f"http://{self._superlink.address}"

    def start(self) -> None:
        with self._lock:
            self._forget()
            if not self._superlink.launched:
                self._superlink.stop()
            # Runs and nodes of before are gone anyway; so are the apps it had unpacked.
            shutil.rmtree(self._apps_dir, ignore_errors=True)
            self._superlink.start()
            self._client = ControlHttpClient.from_server_address(
                self._superlink.address, insecure=True, root_certificates=None, interceptors=[]
            )
            self._generation += 1
            self._sickness = None

    def stop(self) -> None:
        self._superlink.cancel_start()  # which holds the lock
        with self._lock:
            self._forget()
            self._superlink.stop()
            self._sickness = "it is stopped"

    def _forget(self) -> None:
        client, self._client = self._client, None
        self._nodes.clear()
        if client:
            client.close()

    def ensure_healthy(self) -> bool:
        with self._lock:
            self._sickness = self._superlink.sickness()
            if self._sickness is None:
                return True
            if self._generation:
                logger.warning("the SuperLink is restarted: %s", self._sickness)
            self.start()
            return False

    def why(self) -> str:
        if self._sickness:
            return f"the SuperLink is down: {self._sickness}; see {self._superlink.log_file}"
        return f"the SuperLink is up on {self._superlink.address} (start {self._generation})"

    # --- nodes -------------------------------------------------------------------------------------

    def register_node(self, public_key: bytes) -> str:
        key = _as_node_key(public_key)
        with self._lock:
            if key not in self._nodes:
                self._nodes[key] = str(self._call(lambda c: _register(c, key)))
            return self._nodes[key]

    # --- runs --------------------------------------------------------------------------------------

    def start_run(self, bundle: bytes) -> str:
        digest = hashlib.sha256(bundle).hexdigest()
        with self._lock:
            self._unpack(bundle, digest)
        request = StartRunRequest(
            fab=Fab(hash_str=digest, content=bundle),
            override_config=user_config_to_proto(SERVER_MODE),
        )
        run_id = self._call(lambda c: c.StartRun(request).run_id)
        if not run_id:
            raise Invalid("the app bundle is too large for Flower: leave data and models out of it")
        return str(run_id)

    @property
    def _apps_dir(self) -> Path:
        return self._superlink.home / "flwr" / APP_DIR

    def _unpack(self, bundle: bytes, digest: str) -> None:
        """Unpack the app where its ServerApp looks for it, as a whole or not at all.

        Flower does this itself, but file by file: a ServerApp killed meanwhile would leave a half app
        behind, which every later attempt would take for the whole.
        """
        target = self._apps_dir / _app_folder(bundle, digest)
        if target.exists():
            return
        staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            archive.extractall(staging)
        shutil.rmtree(staging / ".info", ignore_errors=True)
        staging.rename(target)

    def stop_run(self, engine_run_id: str) -> None:
        request = StopRunRequest(run_id=int(engine_run_id))
        try:
            self._call(lambda c: c.StopRun(request), passed=_RUN_IS_OVER)
        except _ControlError:
            logger.debug("run %s was over already", engine_run_id)

    def run_ended(self, engine_run_id: str) -> str | None:
        run = self._run(engine_run_id)
        if run is None:
            return "finished:unknown"
        if run.status.status != Status.FINISHED:
            return None
        return f"{run.status.status}:{run.status.sub_status}"

    def run_log(self, engine_run_id: str) -> str:
        with contextlib.suppress(FedOpsError, _ControlError):
            run = self._run(engine_run_id)
            if run is not None and run.status.status == Status.FINISHED:
                lines = self._call(lambda c: _log_of(c, int(engine_run_id))).splitlines()
                return "\n".join([*lines[-_LOG_LINES:], run.status.details]).strip()
        return ""

    def _run(self, engine_run_id: str) -> Run | None:
        request = ListRunsRequest(run_id=int(engine_run_id))
        try:
            runs = dict(self._call(lambda c: c.ListRuns(request).run_dict, passed=_RUN_IS_OVER))
        except _ControlError:
            return None
        run: Run | None = runs.get(int(engine_run_id))
        return run

    def process_alive(self, pid: int) -> bool:
        return self._superlink.runs_process(pid)

    def kill_process(self, pid: int) -> None:
        self._superlink.kill_process(pid)

    # --- the Control API ---------------------------------------------------------------------------

    def _call(self, call: Callable[[ControlHttpClient], T], passed: tuple[int, ...] = ()) -> T:
        """Make a call; its refusals become ours, but for codes in ``passed``, which are let through."""
        client = self._client
        if client is None:
            raise Unavailable(self.why())
        try:
            with _control_errors():
                return call(client)
        except _ControlError as error:
            if error.code in passed:
                raise
            if error.code == ApiErrorCode.INVALID_RUN_CONFIG:
                raise Invalid(
                    "Flower refuses the app bundle: its pyproject.toml needs"
                    f" [tool.flwr.app.config] with a 'mode' ({error})"
                ) from None
            raise Unavailable(f"the SuperLink refused: {error}") from None


@contextmanager
def _control_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _refusal(error.response) from None
    # A client that another thread closes in mid-call says RuntimeError.
    except (httpx.TransportError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"the SuperLink does not answer: {error or type(error).__name__}"
        ) from None


def _refusal(response: httpx.Response) -> _ControlError:
    try:
        body = json.loads(response.text)
        return _ControlError(int(body.get("code", 0)), str(body.get("detail", "")))
    except (ValueError, AttributeError):
        return _ControlError(0, f"HTTP {response.status_code}: {response.text[:200]}")


def _as_node_key(public_key: bytes) -> bytes:
    """The form in which a node presents its key and the SuperLink compares it: PEM."""
    try:
        return public_key_to_bytes(load_ssh_public_key(public_key))  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid(f"this is no node key in OpenSSH form: {error}") from None


def _register(client: ControlHttpClient, key: bytes) -> int:
    try:
        with _control_errors():
            return int(client.RegisterNode(RegisterNodeRequest(public_key=key)).node_id)
    except _ControlError as error:
        if error.code != ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE:
            raise
    # Registered before, but the answer got lost.
    nodes = client.ListNodes(ListNodesRequest()).nodes_info
    known = [int(node.node_id) for node in nodes if node.public_key == key]
    if not known:
        raise Unavailable("the SuperLink knows this node key, but not its node")
    return known[0]


def _log_of(client: ControlHttpClient, run_id: int) -> str:
    return "".join(r.log_output for r in client.StreamLogs(StreamLogsRequest(run_id=run_id)))


def _app_folder(bundle: bytes, digest: str) -> str:
    """The folder name under which Flower looks for an unpacked app."""
    try:
        fab_id, version = get_metadata_from_config(get_fab_config(bundle))
        publisher, name = fab_id.split("/")
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise Invalid(f"this is no app bundle that Flower can run: {error}") from None
    folder = f"{publisher}.{name}.{version}.{digest[:FAB_HASH_TRUNCATION]}"
    if os.sep in folder:
        raise Invalid(f"this is no app bundle that Flower can run: a '{os.sep}' in '{folder}'")
    return folder
