"""Flower's nodes behind the engine's port: what is Flower's own, beside the contract of the port."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, RecordDict
from line_model import LineAdapter
from node_grid import Asked, NodesInProcess, packed

from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS, HEADER, TrainingOrder
from fedops.core.errors import FedOpsError
from fedops.core.states import AssignmentStatus
from fedops.flower import simulation
from fedops.flower.codec.messages import packed_record
from fedops.flower.grid.node_server import NodeServer
from fedops.scalize.flow.project import Project
from fedops.storage.payloads import Payload, make_document, read_payload
from fedops.storage.tensors import pack
from fedops.testing import InMemoryServer

A = AssignmentStatus
APPS = Path(__file__).parents[2] / "acceptance" / "apps"
Answer = Callable[[Asked], Payload | RecordDict]


def asked_once(folder: Path, answer: Answer) -> c.Delivery:
    """What becomes of work for one node."""
    server = NodeServer(
        NodesInProcess({7: ("a name of its own", answer)}), InMemoryServer({}, folder).spec()
    )
    spool = folder / "attempt-1"
    spool.mkdir()
    adapter = LineAdapter(1)
    (spool / "model").write_bytes(pack(adapter.get_tensors()))
    digest = hashlib.sha256((spool / "model").read_bytes()).hexdigest()
    blob = server.hand_over(c.BlobHandover(name="model", sha256=digest))
    order = TrainingOrder(1, 1, 1, "lines", 42, {}, adapter.contract)
    document = make_document(
        Payload(configs={"config": order.values()}), {ARRAYS: (blob, list(adapter.tensors))}
    )
    (candidate,) = server.candidates().candidates
    offer = c.OfferRequest(device=candidate.device, kind="train", instruction=0)
    server.offer(
        c.OfferBatch(instructions=[document], offers=[offer], deadline_seconds=30.0, round=1)
    )
    while True:
        got = server.collect(c.CollectRequest(wait=10.0))
        if got.deliveries:
            return got.deliveries[0]


def good(asked: Asked) -> Payload:
    header = {"device": asked.device, "run-id": 1}
    return Payload({ARRAYS: asked.tensors}, {"metrics": {"num-examples": 3}}, {HEADER: header})


def test_who_answers_is_known_by_the_node(tmp_path: Path) -> None:
    found = asked_once(tmp_path, good)
    assert found.status is A.UPLOADED
    assert found.blob
    payload = read_payload(tmp_path / "blobs" / found.blob.sha256[:2] / found.blob.sha256[2:])
    assert payload.configs[HEADER]["device"] == found.device == "node-00000"
    assert payload.metrics == {"metrics": {"num-examples": 3}}
    assert sorted(payload.arrays[ARRAYS]) == ["b", "own", "steps", "w"]
    assert list((tmp_path / "attempt-1").iterdir()) == [tmp_path / "attempt-1" / "model"]


def _cut(content: RecordDict) -> RecordDict:
    whole = b"".join(array.data for array in content.array_records["packed"].values())
    content["packed"] = packed_record([whole[:-2]])
    return content


def _two(content: RecordDict) -> RecordDict:
    content["more"] = packed_record([b""])
    return content


@pytest.mark.parametrize(("damage", "words"), [(_cut, "safetensors"), (_two, "no other arrays")])
def test_arrays_that_are_damaged_are_rejected(
    damage: Callable[[RecordDict], RecordDict], words: str, tmp_path: Path
) -> None:
    found = asked_once(tmp_path, lambda asked: damage(packed(good(asked))))
    assert found.status is A.REJECTED
    assert words in found.reason


def test_a_reply_that_says_nothing_of_itself_is_for_the_engine_to_refuse(tmp_path: Path) -> None:
    found = asked_once(tmp_path, lambda _: RecordDict({"note": ConfigRecord({"x": 1})}))
    assert found.status is A.UPLOADED


def test_a_simulation_without_nodes_says_how_to_have_more(tmp_path: Path) -> None:
    project = Project.open(APPS / "tiny", ["server.round.wait_seconds=1", "clients_per_round=2"])
    with pytest.raises(FedOpsError, match=r"0 of 2 available; start more nodes .*num-supernodes=N"):
        simulation.simulate(NodesInProcess({}), project, tmp_path)
