"""A Server Manager for tests of the device side: in memory, on loopback, obedient to the test.

It also plays the Fleet API, with Flower's own messages, so that no SuperLink is needed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from serving import serving

NODE_ID = "4611686018427387905"


def eventually(check: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, what or "it did not come about"
        time.sleep(0.02)
    return found


class FakeServer:
    """What it was told and what it says. Change it, then ``bump``."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.desired: dict[str, Any] = {
            "revision": 1,
            "enrolment": "approved",
            "node_id": NODE_ID,
            "tasks": ["mnist"],
            "runs": [],
            "heartbeat_seconds": 0.5,
            "telemetry_seconds": 1.0,
        }
        self.ready_tasks = ["mnist"]
        self.down = False
        self.forbidden = ""
        self.heartbeats: list[dict[str, Any]] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.lost_answers = 0
        self.joins: list[dict[str, Any]] = []
        self.hellos: list[dict[str, Any]] = []
        self.uploads: list[dict[str, Any]] = []
        self.replies: list[Message] = []
        self.rings = 0
        self._queue: list[Message] = []
        self._objects: dict[str, bytes] = {}
        self._trees: dict[str, Any] = {}
        self._asked = 0

    # --- for the test ------------------------------------------------------------------------------

    def bump(self, **changes: Any) -> None:
        with self.lock:
            self.desired.update(changes)
            self.desired["revision"] += 1
            self.lock.notify_all()

    def ask(self, run: int, round_: int, **config: Any) -> None:
        """Give the node a piece of work."""
        self._asked += 1
        content = RecordDict(
            {
                "arrays": ArrayRecord({"packed": Array(np.arange(1000, dtype=np.float32))}),
                "config": ConfigRecord(
                    {
                        "run-id": run,
                        "attempt": 1,
                        "server-round": round_,
                        "task": "mnist",
                        "config-json": json.dumps(config),
                    }
                ),
            }
        )
        metadata = Metadata(
            run_id=99,
            message_id="",
            src_node_id=1,
            dst_node_id=int(NODE_ID),
            reply_to_message_id="",
            group_id="",
            created_at=time.time(),
            ttl=3_600.0,
            message_type="train",
        )
        message = Message(content, metadata=metadata)
        with self.lock:
            message.metadata.__dict__["_message_id"] = message.object_id
            for object_id, part in get_all_nested_objects(message).items():
                self._objects[object_id] = part.deflate()
            self._trees[message.object_id] = get_object_tree(message)
            self._queue.append(message)
            self.rings += 1
            self.lock.notify_all()

    @property
    def last(self) -> dict[str, Any]:
        return self.heartbeats[-1] if self.heartbeats else {}

    @property
    def process(self) -> dict[str, Any]:
        found: dict[str, Any] = self.last.get("process", {})
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        return [r for r in self.records.values() if r["kind"] == "event" and r["name"] == name]

    def wait(self, condition: Callable[[], Any], timeout: float) -> None:
        with self.lock:
            self.lock.wait_for(condition, min(timeout, 5.0))

    # --- the Fleet API -----------------------------------------------------------------------------

    def pull(self) -> PullMessagesResponse:
        with self.lock:
            if not self._queue:
                return PullMessagesResponse()
            message = self._queue.pop(0)
        return PullMessagesResponse(
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[self._trees[message.object_id]],
        )

    def take_reply(self, request: PushMessagesRequest) -> PushMessagesResponse:
        reply = message_from_proto(request.messages_list[0])
        tree = request.message_object_trees[0]
        self._trees[reply.metadata.message_id] = tree
        return PushMessagesResponse(
            objects_to_push=[part.object_id for part in iterate_object_tree(tree)], session_id="s"
        )

    def uploaded(self, body: dict[str, Any]) -> None:
        tree = self._trees[body["message_id"]]
        ids = [part.object_id for part in iterate_object_tree(tree)]
        contents = {object_id: self._objects[object_id] for object_id in ids}
        reply = inflate_object_from_contents(tree.object_id, contents)
        assert isinstance(reply, Message)
        self.replies.append(reply)
        self.uploads.append(body)


def make_app(server: FakeServer) -> FastAPI:
    app = FastAPI()
    api = "/api/v1"

    @app.middleware("http")
    async def outage(request: Request, call_next: Any) -> Response:
        if server.down:
            return Response("away", status_code=503)
        if server.forbidden and request.url.path.startswith(f"{api}/devices"):
            return _error("forbidden", server.forbidden, 403)
        answer: Response = await call_next(request)
        return answer

    @app.post(f"{api}/join")
    def join(body: dict[str, Any]) -> Any:
        if body["token"] != "good":
            return _error("forbidden", "the join token is wrong, expired or used up", 403)
        server.joins.append(body)
        return {
            "device_id": "d1",
            "name": body["name"],
            "device_token": "fo_device_x",
            "enrolment": server.desired["enrolment"],
        }

    @app.post(f"{api}/devices/me/heartbeat")
    def heartbeat(body: dict[str, Any]) -> dict[str, Any]:
        server.heartbeats.append(body)
        return {**server.desired, "server_time": time.time()}

    @app.get(f"{api}/devices/me/desired")
    def desired(after: int, wait: float) -> dict[str, Any]:
        server.wait(lambda: server.desired["revision"] != after or server.down, wait)
        return {**server.desired, "server_time": time.time()}

    @app.post(f"{api}/devices/me/records")
    def records(body: dict[str, Any]) -> Any:
        new = [r for r in body["records"] if r["id"] not in server.records]
        for record in new:
            server.records[record["id"]] = record
            server.order.append(record["name"])
        if server.lost_answers > 0:
            server.lost_answers -= 1
            return Response("lost", status_code=502)
        return {"accepted": len(new), "duplicates": len(body["records"]) - len(new)}

    @app.get(f"{api}/devices/me/tasks")
    def tasks() -> list[dict[str, Any]]:
        fixed = {"status": "ready", "description": "", "bundle": "0", "config": {}, "devices": []}
        times = {"active_run": None, "latest_version": None, "created_at": 0, "updated_at": 0}
        return [{"name": name, **fixed, **times} for name in server.ready_tasks]

    @app.get(f"{api}/node/bell")
    def bell(epoch: str, after: int, wait: float) -> dict[str, Any]:
        server.wait(lambda: epoch != "e" or server.rings > after or server.down, wait)
        return {"epoch": "e", "count": server.rings}

    @app.post(f"{api}/node/hello")
    def hello(body: dict[str, Any]) -> dict[str, Any]:
        server.hellos.append(body)
        return {"epoch": "e", "count": server.rings}

    @app.get(f"{api}/node/upload-slot")
    def slot() -> dict[str, Any]:
        return {"granted": True}

    @app.post(f"{api}/node/uploaded")
    def uploaded(body: dict[str, Any]) -> dict[str, Any]:
        server.uploaded(body)
        return {}

    @app.post("/v1/fleet/{method}")
    async def fleet(method: str, request: Request) -> Response:
        answer = _fleet(server, method, await request.body())
        return Response(answer.SerializeToString(), media_type="application/protobuf")

    return app


def _fleet(server: FakeServer, method: str, body: bytes) -> Any:
    if method == "send-node-heartbeat":
        return SendNodeHeartbeatResponse(success=True)
    if method == "pull-messages":
        PullMessagesRequest.FromString(body)
        return server.pull()
    if method == "push-messages":
        return server.take_reply(PushMessagesRequest.FromString(body))
    if method == "pull-object":
        content = server._objects[PullObjectRequest.FromString(body).object_id]
        return PullObjectResponse(object_found=True, object_available=True, object_content=content)
    if method == "push-object":
        request = PushObjectRequest.FromString(body)
        server._objects[request.object_id] = request.object_content
        return PushObjectResponse(stored=True)
    assert method == "confirm-message-received"
    return ConfirmMessageReceivedResponse()


def _error(kind: str, message: str, status: int) -> Response:
    body = {"kind": kind, "error": kind.title(), "message": message}
    return Response(json.dumps(body), status_code=status, media_type="application/json")


@contextmanager
def fake_server() -> Iterator[tuple[FakeServer, str]]:
    """A server and its URL."""
    server = FakeServer()
    with serving(make_app(server)) as port:
        try:
            yield server, f"http://127.0.0.1:{port}"
        finally:
            server.down = True
            with server.lock:
                server.lock.notify_all()


def metrics(reply: Message) -> dict[str, Any]:
    record = reply.content["metrics"]
    assert isinstance(record, MetricRecord)
    return dict(record)
