"""The node's side of Flower's Fleet API: the only user of its private client.

Flower's own connection helper ends the process on a failure; here every failure is one of four
exceptions, and trying again is the caller's business. Pinned to flwr 1.41 by a contract test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from flwr.app.message import Message, remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient

Signer = Callable[[], Mapping[str, str]]
T = TypeVar("T")

#: How long to wait for the objects of a message that its sender is still uploading. Seconds.
OBJECT_SECONDS = 120.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class FleetError(Exception):
    """A call to the Fleet API did not succeed."""


class Away(FleetError):
    """Nobody answered, or nobody who can: worth trying again."""


class NodeUnknown(FleetError):
    """The SuperLink does not know this node id: it was restarted, a new id is to come."""


class RunOver(FleetError):
    """The Flower run that the message belongs to does not run any more."""


class NotAllowed(FleetError):
    """The gateway turned the node away: its key is not approved, or its clock is off."""


class Undeliverable(FleetError):
    """The objects of this message cannot be had or stored; trying again does not help."""


@dataclass(frozen=True)
class Pulled:
    """A message as the SuperLink announces it: metadata and the ids of its objects."""

    message: Message
    tree: ObjectTree


@dataclass(frozen=True)
class Reply:
    """A reply with its object ids, ready to be pushed."""

    message: Message
    tree: ObjectTree
    objects: dict[str, Any]


class Fleet:
    """The six Fleet calls a node needs, one try each."""

    def __init__(
        self, url: str, signer: Signer, *, verify: bool | str = True, timeout: float = 30.0
    ) -> None:
        self._client = _HttpClient(url, signer, verify, timeout)

    def close(self) -> None:
        self._client.close()

    def heartbeat(self, node_id: int, interval: float) -> None:
        """Say that the node is online for the next ``interval`` seconds (10 to 1800)."""
        request = SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=interval)
        if not _mapped(lambda: self._client.SendNodeHeartbeat(request)).success:
            raise NodeUnknown("the SuperLink does not know this node")

    def pull(self, node_id: int) -> Pulled | None:
        """Claim the next message, if any. It is never given out again, whatever becomes of us."""
        request = PullMessagesRequest(node=Node(node_id=node_id))
        reply = _mapped(lambda: self._client.PullMessages(request))
        if not reply.messages_list:
            return None
        return Pulled(message_from_proto(reply.messages_list[0]), reply.message_object_trees[0])

    def fetch(self, node_id: int, pulled: Pulled, cancelled: threading.Event) -> Message:
        """Get the objects of a message and put it together."""
        run_id, tree = pulled.message.metadata.run_id, pulled.tree
        node = Node(node_id=node_id)
        pull = make_pull_object_fn_protobuf(self._client.PullObject, node, run_id)
        confirm = make_confirm_message_received_fn_protobuf(
            self._client.ConfirmMessageReceived, node, run_id
        )
        contents = _mapped(
            lambda: pull_objects(
                [part.object_id for part in iterate_object_tree(tree)],
                _unless(cancelled, pull),
                max_time=OBJECT_SECONDS,
                max_tries_per_object=None,
                initial_backoff=0.02,
                backoff_cap=1.0,
            )
        )
        _mapped(lambda: confirm(tree.object_id))
        message = inflate_object_from_contents(tree.object_id, contents)
        if not isinstance(message, Message):
            raise Undeliverable(f"a {type(message).__name__} came in place of a message")
        message.metadata.__dict__["_message_id"] = pulled.message.metadata.message_id
        return message

    def push(self, node_id: int, reply: Reply, seconds: float, cancelled: threading.Event) -> None:
        """Announce a reply and upload its objects."""
        node, run_id = Node(node_id=node_id), reply.message.metadata.run_id
        request = PushMessagesRequest(
            node=node,
            messages_list=[message_to_proto(remove_content_from_message(reply.message))],
            message_object_trees=[reply.tree],
            clientapp_runtime_list=[seconds],
        )
        answer = _mapped(lambda: self._client.PushMessages(request))
        push = make_push_object_fn_protobuf(
            self._client.PushObject, node, run_id, answer.session_id
        )
        _mapped(
            lambda: push_objects(
                dict(reply.objects),
                _unless(cancelled, push),
                object_ids_to_push=set(answer.objects_to_push),
                keep_objects=True,
            )
        )


def prepare_reply(message: Message, asked: Message, now: float) -> Reply:
    """Give a reply its identity. ``now`` is the server's time: the device's clock may be off."""
    received = asked.metadata
    message.metadata.created_at = now
    message.metadata.ttl = received.created_at + received.ttl - now
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        return Reply(message, get_object_tree(message), objects)


class _HttpClient(FleetHttpClient):
    """Flower's client, signing as we do and blind to proxies in the environment, as our own is."""

    def __init__(self, url: str, signer: Signer, verify: bool | str, timeout: float) -> None:
        super().__init__(url, interceptors=[_Sign(signer)], verify=verify, timeout=timeout)
        self._client.close()
        self._client = httpx.Client(verify=verify, timeout=timeout, trust_env=False)


class _Sign:
    """Adds the node's signed identity to each request."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers.update(dict(self._signer()))
        return call_next(context)


def _unless(cancelled: threading.Event, call: Callable[..., T]) -> Callable[..., T]:
    """``call``, unless the message was abandoned in the meantime."""

    def checked(*args: Any) -> T:
        if cancelled.is_set():
            raise RunOver("the message was abandoned")
        return call(*args)

    return checked


def _mapped(call: Callable[[], T]) -> T:
    """Run one call; whatever goes wrong comes out as a ``FleetError``."""
    try:
        return call()
    except httpx.HTTPStatusError as error:
        raise _by_status(error.response) from None
    except httpx.TransportError as error:
        raise Away(str(error) or type(error).__name__) from None
    except (ObjectPullError, ObjectPushError) as error:
        raise Undeliverable(str(error)) from None
    except ValueError as error:  # an answer that is no protobuf: a proxy's or another server's
        raise Away(f"not a Fleet API's answer: {error}") from None


def _by_status(response: httpx.Response) -> FleetError:
    flower = FlowerError.from_json(response.text)
    text = flower.message if flower else f"HTTP {response.status_code}: {response.text[:200]}"
    if flower is not None and flower.code == ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED:
        return RunOver(text)
    if response.status_code in _TRANSIENT:
        return Away(text)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return NodeUnknown(text)
    if response.status_code == httpx.codes.FORBIDDEN:
        return NotAllowed(text)
    return Undeliverable(text)
