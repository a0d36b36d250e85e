"""What clients deliver: small or large, encoded or not, wrong in many ways."""

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from in_memory_federation import InMemoryFederation, LineAdapter, Work, plain_rounds

from fedops.core.contracts import (
    Delivery,
    ParticipationReport,
)
from fedops.core.contracts.training import ARRAYS, HEADER, METRICS, ClientMetrics, UpdateHeader
from fedops.core.errors import Invalid
from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.engine import collecting
from fedops.engine.link import blob_files
from fedops.storage.payloads import Payload, pack_payload
from fedops.storage.tensors import Tensors

THREE = ["pi-1", "pi-2", "pi-3"]
Make = Callable[..., InMemoryFederation]


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    made: list[InMemoryFederation] = []

    def make(*devices: str, **config: Any) -> InMemoryFederation:
        made.append(
            InMemoryFederation(tmp_path, **{"num_rounds": 1, "clients_per_round": 3, **config})
        )
        made[-1].add(*devices)
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def model(fed: InMemoryFederation) -> Tensors:
    return fed.server.tensors(fed.server.commits[-1].model)


def same(one: Tensors, other: Tensors) -> bool:
    return {k: a.tobytes() for k, a in one.items()} == {k: a.tobytes() for k, a in other.items()}


def report(fed: InMemoryFederation, device: str) -> ParticipationReport:
    return next(p for p in fed.server.commits[-1].participations if p.device == device)


# --- ways in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["none", "zstd"])
@pytest.mark.parametrize("inline", [0, 64 * 1024])
def test_all_ways_in_give_the_same_model(federation: Make, encoding: str, inline: int) -> None:
    fed = federation(*THREE, num_rounds=2)
    fed.server.encoding, fed.server.inline_bytes = encoding, inline
    fed.play()
    assert same(model(fed), plain_rounds(THREE, 2)[-1])
    sent = report(fed, "pi-1").bytes_up
    assert sent is not None
    assert 0 < sent < 2_000


def test_without_a_folder_of_blobs_they_are_fetched(federation: Make) -> None:
    fed = federation(*THREE, num_rounds=2)
    fed.server.inline_bytes = 0
    told = fed.server.spec
    fed.server.spec = lambda: told().model_copy(update={"blobs_dir": None})  # type: ignore[method-assign]
    fed.play()
    assert same(model(fed), plain_rounds(THREE, 2)[-1])


def test_the_encodings_and_the_largest_size_are_told(federation: Make) -> None:
    fed = federation(*THREE, exchange={"encoding": "zstd"})
    fed.play()
    batch = fed.server.batches[0]
    assert batch.encodings == ["zstd", "none"]
    assert batch.max_bytes is not None
    assert 256 * 1024 < batch.max_bytes < 300 * 1024


# --- wrong once --------------------------------------------------------------------------------


def test_a_rejected_update_is_made_once_more_in_the_round(federation: Make) -> None:
    fed = federation("pi-1", "pi-2")
    client, spoilt = fed.client("pi-3"), [True]

    def once(work: Work) -> Any:
        result = client(work)
        return b"no safetensors file" if spoilt and spoilt.pop() else result

    fed.server.add("pi-3", once)
    fed.play()
    got = report(fed, "pi-3")
    assert got.status is ParticipationStatus.REPLIED
    assert got.reason is not None
    assert got.reason.startswith("asked again, because the reply of device 'pi-3' is refused")
    assert [(one.retry, one.status.value) for one in fed.server.of_device("pi-3")[:2]] == [
        (0, "rejected"),
        (1, "checked"),
    ]
    assert len(fed.server.begun) == 1, "in one try"
    assert same(model(fed), plain_rounds(THREE, 1)[-1])


def test_it_is_not_made_again_when_there_is_no_time(federation: Make) -> None:
    policy = {"round": {"deadline_seconds": 1.0, "min_replies": 2}}
    fed = federation("pi-1", "pi-2", server=policy)

    def slow(work: Work) -> bytes:
        time.sleep(0.7)
        return b"no safetensors file"

    fed.server.add("pi-3", slow)
    fed.play()
    assert report(fed, "pi-3").status is ParticipationStatus.REJECTED
    assert fed.server.asked.count("pi-3") == 1


def test_who_is_uploading_at_the_deadline_is_waited_for(federation: Make) -> None:
    policy = {"round": {"deadline_seconds": 0.4, "min_replies": 2}}
    fed = federation("pi-1", "pi-2", server=policy)
    client = fed.client("pi-3")

    def uploading(work: Work) -> Any:
        work.assignment.deadline += 5  # as the server does for who is uploading
        time.sleep(0.8)
        return client(work)

    fed.server.add("pi-3", uploading)
    fed.play()
    assert report(fed, "pi-3").status is ParticipationStatus.REPLIED


def test_who_holds_an_assignment_keeps_it_through_the_tries(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.1)
    fed = federation("pi-1", clients_per_round=2, server={"round": {"min_replies": 2}})
    back = threading.Event()
    client = fed.client("pi-2")

    def away(work: Work) -> Any:
        if work.kind == "train":
            fed.server.unavailable["pi-2"] = "offline"
            fed.add("pi-3")
            fed.server.gone("pi-2", "offline")
            assert back.wait(10)
        return client(work)

    begun = fed.server.begin_round

    def begin(round_: int, body: Any) -> Any:
        if "pi-3" in body.selected:
            back.set()
        return begun(round_, body)

    fed.server.begin_round = begin  # type: ignore[method-assign]
    fed.server.add("pi-2", away)
    fed.play()
    assert len(fed.server.begun) == 2
    assert fed.server.asked[:3] == ["pi-1", "pi-2", "pi-3"]
    trained = [one for one in fed.server.of_device("pi-2") if one.kind == "train"]
    assert [one.retry for one in trained] == [0]


def test_late_devices_are_told_that_the_round_is_over(federation: Make) -> None:
    policy = {"round": {"over_select": 0.5}}
    fed = federation("pi-1", "pi-2", clients_per_round=2, server=policy)
    fed.server.add("pi-3", lambda work: None)
    fed.play()
    (cancel,) = fed.server.cancels
    assert cancel.ids == [fed.server.of_device("pi-3")[0].id]
    assert cancel.reason == "the round was complete with 2 replies"
    assert fed.server.of_device("pi-3")[0].status is AssignmentStatus.EXPIRED


def test_busy_devices_are_chosen_last(federation: Make) -> None:
    fed = federation(*THREE, "pi-4", clients_per_round=2)
    fed.server.busy = {"pi-1": 9, "pi-2": 9}
    fed.play()
    assert set(fed.server.begun[0][1]) == {"pi-3", "pi-4"}


# --- bad files ---------------------------------------------------------------------------------


def _delivery(data: bytes, **more: Any) -> Delivery:
    inline = base64.b64encode(data).decode()
    status = AssignmentStatus.UPLOADED
    return Delivery(id="0", device="pi-1", kind="train", status=status, inline=inline, **more)


def _zstd(data: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"encoding": "zstd", "decoded_sha256": digest, "decoded_size": len(data), **more}


DATA = bytes(5_000_000)
PACKED = zstandard.compress(DATA)


@pytest.mark.parametrize(
    ("delivery", "message"),
    [
        (_delivery(PACKED, encoding="topk"), "its encoding 'topk' is not known here"),
        (_delivery(PACKED, **_zstd(DATA, decoded_size=None)), "an unknown number of bytes"),
        (_delivery(PACKED, **_zstd(DATA, decoded_size=10**9)), "it has 1000000000 bytes, at most"),
        (_delivery(PACKED, **_zstd(DATA, decoded_size=4_999_999)), "holds more than the 4999999"),
        (_delivery(PACKED, **_zstd(DATA, decoded_size=5_000_001)), "not what it announced"),
        (_delivery(PACKED, **_zstd(DATA, decoded_sha256="0" * 64)), "not what it announced"),
        (_delivery(PACKED[:-9], **_zstd(DATA)), "not what it announced|cannot be decoded"),
        (_delivery(b"nothing", **_zstd(DATA)), "it cannot be decoded"),
        (_delivery(DATA), "it has 5000000 bytes, at most 4999999 are taken"),
    ],
)
def test_what_is_not_as_announced_is_refused_and_bounded(
    delivery: Delivery, message: str, tmp_path: Path
) -> None:
    files = blob_files.BlobFiles(None, tmp_path, None)  # type: ignore[arg-type]
    limit = 4_999_999 if delivery.encoding == "none" else 6_000_000
    with pytest.raises(Invalid, match=message):
        files.update(delivery, tmp_path / "round" / "pi-1.safetensors", limit)
    written = sum(path.stat().st_size for path in (tmp_path / "round").glob("*.decoded"))
    assert written <= 5_000_001


def _payload(**changed: Any) -> bytes:
    arrays = {k: a for k, a in LineAdapter(1).get_tensors().items() if k != "own"}
    contract = LineAdapter(1).contract
    header = UpdateHeader("bad", 5, 1, 1, contract.fingerprint, "lines")
    payload = {
        "arrays": {ARRAYS: arrays},
        "metrics": {METRICS: ClientMetrics(3, {"train_loss": 0.5}).values()},
        "configs": {HEADER: header.values()},
        **changed,
    }
    return pack_payload(Payload(**payload))


def _header(**changed: Any) -> dict[str, Any]:
    contract = LineAdapter(1).contract
    header = UpdateHeader("bad", 5, 1, 1, contract.fingerprint, "lines").values()
    return {"configs": {HEADER: {**header, **changed}}}


def _arrays(**changed: Any) -> dict[str, Any]:
    arrays = {k: a for k, a in LineAdapter(1).get_tensors().items() if k != "own"}
    return {"arrays": {ARRAYS: {**arrays, **changed}}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_payload(**_arrays(w=np.ones(3))), "'w' is float64[3] in it and float32[3] in the model"),
        (_payload(**_arrays(w=np.ones(4, np.float32))), "'w' is float32[4] in it and float32[3]"),
        (
            _payload(**_arrays(w=np.array([1, np.nan, 2], np.float32))),
            "1 of 3 values of 'w' are NaN or infinite",
        ),
        (b"", "it does not hold complete safetensors data"),
        (_payload()[:-1], "it does not hold complete safetensors data"),
        (_payload(arrays={}), "it must hold the arrays of 'arrays' and no others"),
        (_payload(arrays={ARRAYS: {}, "more": {}}), "and no others"),
        (_payload(arrays={ARRAYS: {"x": np.ones(3)}}), "it holds 'x', which is no exchanged"),
        (
            _payload(arrays={ARRAYS: {"w": np.ones(3, np.float32)}}),
            "it lacks 'b', which is float32",
        ),
        (_payload(metrics={}), "it does not say how many examples"),
        (_payload(configs={}), "no 'device' of type str"),
        (_payload(**_header(device="pi-1")), "it is for device 'pi-1', and device 'bad' was asked"),
        (_payload(**_header(round=7)), "it is for round 7, and round 1 was asked"),
        (_payload(**{**_header(**{"run-id": 6})}), "it is for run 6, and run 5 was asked"),
        (_payload(**_header(fingerprint="0" * 16)), "its model has the fingerprint"),
    ],
)
def test_a_wrong_file_is_one_sentence(federation: Make, data: bytes, message: str) -> None:
    fed = federation("pi-1", "pi-2")
    fed.server.add("bad", lambda work: data)
    fed.play()
    got = report(fed, "bad")
    assert got.status is ParticipationStatus.REJECTED
    assert got.reason is not None
    assert got.reason.startswith("the reply of device 'bad' is refused: ")
    assert message in got.reason
    assert str(fed.folder) not in got.reason
    assert fed.server.asked.count("bad") == 2


def test_a_blob_that_is_not_there_any_more_is_asked_for_again(federation: Make) -> None:
    fed = federation("pi-1", "pi-2")
    fed.server.inline_bytes = 0
    fed.add("pi-3")
    lost = [True]
    stored = fed.server.store

    def store(data: bytes) -> Any:
        ref = stored(data)
        if lost and threading.current_thread().name.startswith("pi-3"):
            lost.pop()
            fed.server.blob(ref.sha256).unlink()
        return ref

    client = fed.server.answers["pi-3"]

    def named(work: Work) -> Any:
        threading.current_thread().name = "pi-3"
        return client(work)

    fed.server.store, fed.server.answers["pi-3"] = store, named  # type: ignore[method-assign]
    fed.play()
    assert report(fed, "pi-3").status is ParticipationStatus.REPLIED
    assert "is not in the server's store any more" in (report(fed, "pi-3").reason or "")
