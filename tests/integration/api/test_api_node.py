"""A node and the round engine, hand in hand over HTTP: bell, hello, upload slots, uploads."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from managing import World, idle

from fedops.api_client import NodeClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden
from fedops.server import devices


@dataclass
class Node:
    """A device's training client."""

    name: str
    device_id: str
    client: NodeClient
    world: World

    @property
    def node_id(self) -> str:
        with self.world.manager.services.db.read() as session:
            (found,) = [k for k in devices.approved_keys(session) if k.name == self.name]
        return found.node_id or ""


def a_node(world: World, name: str) -> Node:
    """A device that is ready for the task, and its signed client."""
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key()
    reply, device = world.join(name, key)
    device.heartbeat(idle())
    world.register(reply.device_id)
    pem = public.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)

    def sign() -> dict[str, str]:
        timestamp = datetime.fromtimestamp(world.clock(), UTC).isoformat()
        signature = key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
        return {
            "flwr-public-key": b64encode(pem).decode(),
            "flwr-timestamp": timestamp,
            "flwr-signature": b64encode(signature).decode(),
        }

    client = NodeClient(world.url, signer=sign)
    world._open.append(client)
    return Node(name, reply.device_id, client, world)


def beside(call: Callable[..., Any], *args: Any) -> Future[Any]:
    """Make a call in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call, *args)
    pool.shutdown(wait=False)
    return future


def test_the_engine_rings_and_the_node_hears(world: World) -> None:
    world.task()
    node, other = a_node(world, "a"), a_node(world, "b")
    _, engine = world.running()
    first = node.client.bell("", 0)
    waiting = beside(node.client.bell, first.epoch, first.count, 20.0)
    engine.ring(c.Ring(node_ids=[other.node_id]))
    assert not threading.Event().wait(0.1)
    assert not waiting.done()
    engine.ring(c.Ring(node_ids=[node.node_id]))
    assert waiting.result(5).count == first.count + 1
    assert node.client.bell(first.epoch, first.count + 1, 0.05).count == first.count + 1


def test_an_upload_is_announced_to_the_engine_and_its_slot_comes_back(world: World) -> None:
    world.task()
    nodes = [a_node(world, name) for name in ("a", "b", "c")]
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected=dict.fromkeys("abc", "all")))
    flower_run = flower_run_of(world, run.id)
    assert [n.client.upload_slot(flower_run, 0.05).granted for n in nodes] == [True, True, False]
    waiting = beside(nodes[2].client.upload_slot, flower_run, 20.0)
    heard = beside(engine.signals, 0, 20.0)
    upload = c.NodeUploaded(
        node_id=nodes[0].node_id, flower_run_id=flower_run, message_id="reply", reply_to="message"
    )
    nodes[0].client.uploaded(upload)
    (signal,) = heard.result(5).signals
    assert (signal.kind, signal.device, signal.message_id, signal.reply_to) == (
        "uploaded",
        "a",
        "reply",
        "message",
    )
    assert not waiting.done()
    engine.pulled("message")
    assert waiting.result(5).granted


def test_hello_tells_the_engine_and_frees_the_slot(world: World) -> None:
    world.task()
    nodes = [a_node(world, name) for name in ("a", "b", "c")]
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected=dict.fromkeys("abc", "all")))
    flower_run = flower_run_of(world, run.id)
    assert [n.client.upload_slot(flower_run, 0.05).granted for n in nodes] == [True, True, False]
    assert nodes[0].client.hello(c.NodeHello(node_id=nodes[0].node_id)).epoch
    assert [(s.kind, s.device) for s in engine.signals(0, 5.0).signals][-1] == ("hello", "a")
    assert nodes[2].client.upload_slot(flower_run, 0.05).granted


def flower_run_of(world: World, run_id: int) -> str:
    """The engine's run id of the run's current attempt (as ``World.open_attempt`` gives it)."""
    from fedops.server.tables import AttemptRow

    with world.manager.services.db.read() as session:
        (attempt,) = session.query(AttemptRow).filter_by(run_id=run_id)
        return attempt.engine_run_id or ""


def test_what_a_node_may_not_do(world: World) -> None:
    world.task()
    node, idler = a_node(world, "a"), a_node(world, "b")
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected={"a": "chosen"}))
    flower_run = flower_run_of(world, run.id)
    with pytest.raises(Forbidden, match="not asked to work"):
        idler.client.upload_slot(flower_run, 0.05)
    with pytest.raises(Conflict, match="is over"):
        node.client.upload_slot("123", 0.05)
    with pytest.raises(Conflict, match=r"not \(any more\) that of device 'a'"):
        node.client.hello(c.NodeHello(node_id=idler.node_id))
    upload = c.NodeUploaded(
        node_id=idler.node_id, flower_run_id=flower_run, message_id="m", reply_to="r"
    )
    with pytest.raises(Conflict):
        node.client.uploaded(upload)
    world.operator.decide_device("a", "revoke")
    with pytest.raises(Forbidden, match="approved"):
        node.client.bell("", 0)
    assert [s.kind for s in engine.signals(0, 5.0).signals][-1] == "gone"
    with NodeClient(world.url) as unsigned, pytest.raises(Forbidden):
        unsigned.bell("", 0)
    with NodeClient(world.url, token=world.join_token()) as bearer, pytest.raises(Forbidden):
        bearer.bell("", 0)


def test_a_device_without_a_node_id_waits_quietly(world: World) -> None:
    world.task()
    node = a_node(world, "a")
    known = node.client.bell("", 0)
    with world.manager.services.db.write() as session:
        devices.forget_node_ids(session)
    with pytest.raises(Conflict, match="no node id yet"):
        node.client.hello(c.NodeHello(node_id="7"))
    waiting = beside(node.client.bell, known.epoch, 0, 0.3)
    assert not threading.Event().wait(0.1)
    assert not waiting.done()
    assert waiting.result(5).count == 0
