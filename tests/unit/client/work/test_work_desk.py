"""Work on the desk is seen through, whatever the disk does meanwhile."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from zstandard import ZstdDecompressor

from fedops.api_client import BlobClient, DigestMismatch, Upload, WorkClient
from fedops.client.device.data_dir import DataDir
from fedops.client.device.epoch_checkpoints import folder_name
from fedops.client.local.messages import Finished, WorkOrder
from fedops.client.work import held_assignments, transfers
from fedops.client.work.held_assignments import Held
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Reachability
from fedops.client.work.reconciler import Reconciler
from fedops.client.work.transfers import Transfers
from fedops.client.work.work_desk import Outside, WorkDesk
from fedops.core.contracts import (
    Instruction,
    Offer,
    SlotRequest,
    TransferSlot,
    UploadHead,
    Work,
    WorkEnd,
)
from fedops.storage.payloads import Payload, write_payload

ID = "a" * 32
INSTRUCTION = Instruction(
    id=ID,
    kind="train",
    task="t",
    run_id=7,
    round=2,
    work_key="key",
    content={"version": 1, "records": {}},
    seconds_left=60.0,
)


@dataclass
class Server:
    """Keeps what is delivered to it."""

    instructed: Instruction = INSTRUCTION
    delivered: list[bytes] = field(default_factory=list)
    encodings: list[str] = field(default_factory=list)
    ends: list[WorkEnd] = field(default_factory=list)
    damages: int = 0
    on_damage: Callable[[], object] = lambda: None

    def instruction(self, _: str) -> Instruction:
        return self.instructed

    def deliver(self, _: str, data: bytes) -> None:
        self.delivered.append(data)

    def end(self, _: str, end: WorkEnd) -> None:
        self.ends.append(end)

    def slot(self, _: str, __: SlotRequest) -> TransferSlot:
        return TransferSlot(granted=True)

    def create_upload(self, head: UploadHead, size: int, content: Iterator[bytes]) -> Upload:
        self.encodings.append(head.encoding)
        self.delivered.append(b"".join(content))
        if self.damages:  # the disk of the device, in truth
            self.damages -= 1
            self.on_damage()
            raise DigestMismatch("another content")
        return Upload("u", size)


class Trainer:
    """Does each order at once."""

    def __init__(self) -> None:
        self.trainings = 0
        self.numbers = 3
        self.may_end = threading.Event()
        self.may_end.set()

    def do(self, held: Held, order: WorkOrder) -> Finished:
        self.may_end.wait(10)
        self.trainings += 1
        written = write_payload(
            Payload({"arrays": {"w": np.full(self.numbers, self.trainings)}}), order.out
        )
        return Finished(id=held.id, outcome="done", sha256=written.sha256, size=written.size)

    def wake(self) -> None:
        pass


class Bench:
    def __init__(self, folder: Path) -> None:
        self.home = DataDir(folder)
        self.server = Server()
        self.trainer = Trainer()
        self.desk = self.made()

    def made(self) -> WorkDesk:
        work = cast(WorkClient, self.server)
        brought = Transfers(
            work,
            cast(BlobClient, self.server),
            ModelCache(self.home.models, 1 << 20),
            Reachability("http://s"),
            lambda: self.desk.stopped,
        )
        nothing = lambda *_: None  # noqa: E731
        outside = Outside(lambda: None, nothing, nothing, nothing, nothing)
        return WorkDesk(self.home, work, brought, cast(Reconciler, self.trainer), outside, 1)

    def offer(self) -> None:
        offer = Offer(id=ID, kind="train", task="t", run_id=7, round=2, seconds_left=60.0)
        work: dict[str, Any] = {"revision": 1, "enrolment": "approved", "offers": [offer]}
        self.desk.take(Work.model_validate(work))


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_epochs_that_another_process_removes_meanwhile_do_not_keep_the_work_on_the_desk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.iterdir

    def too_late(path: Path) -> object:
        if path.parent == bench.home.epochs:
            shutil.rmtree(path, ignore_errors=True)
        return real(path)

    (bench.home.epochs / folder_name("key")).mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", too_late)
    bench.offer()
    eventually(lambda: not bench.desk.held())
    assert len(bench.server.delivered) == 1


def full(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_update_is_delivered_when_the_disk_has_no_room_to_note_that_it_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = held_assignments.write_atomic

    def write(path: Path, data: bytes, *args: object, **kwargs: Any) -> None:
        real(path, full() if json.loads(data)["finished"] else data, *args, **kwargs)

    monkeypatch.setattr(held_assignments, "write_atomic", write)
    bench.offer()
    eventually(lambda: not bench.desk.held())
    assert (len(bench.server.delivered), bench.server.ends) == (1, [])
    assert bench.trainer.trainings == 1


def test_an_update_is_delivered_when_the_disk_has_no_room_to_encode_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.trainer.numbers = 20_000
    bench.server.instructed = INSTRUCTION.model_copy(update={"encodings": ["zstd", "none"]})
    monkeypatch.setattr(transfers, "atomic_file", full)
    bench.offer()
    eventually(lambda: not bench.desk.held())
    assert (bench.server.encodings, bench.server.ends) == (["none"], [])
    assert len(bench.server.delivered[0]) > 160_000


def test_an_update_that_must_be_encoded_waits_for_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.trainer.numbers = 20_000
    bench.server.instructed = INSTRUCTION.model_copy(update={"encodings": ["zstd"]})
    real = transfers.atomic_file
    monkeypatch.setattr(transfers, "atomic_file", full)
    bench.offer()
    eventually(
        lambda: "the device's disk is full" in "".join(held.text for held in bench.desk.held())
    )
    monkeypatch.setattr(transfers, "atomic_file", real)
    eventually(lambda: not bench.desk.held())
    assert (bench.server.encodings, bench.server.ends) == (["zstd"], [])
    assert bench.trainer.trainings == 1


def test_work_that_cannot_be_kept_ends_with_what_the_device_lacks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_assignments, "write_atomic", full)
    bench.offer()
    eventually(lambda: not bench.desk.held())
    (end,) = bench.server.ends
    folder = bench.home.work / ID
    assert end.reason == f"the device's disk is full ({folder}): free some space"


def test_nobody_reserves_the_desk_while_it_accepts_an_offer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reserved = held_assignments.AssignmentStore.begin, []

    def begin(store: held_assignments.AssignmentStore, offer: Offer) -> Held:
        thread = threading.Thread(target=lambda: reserved.append(bench.desk.reserve()))
        thread.start()
        thread.join(0.2)
        return real(store, offer)

    monkeypatch.setattr(held_assignments.AssignmentStore, "begin", begin)
    bench.trainer.may_end.clear()
    bench.offer()
    eventually(lambda: reserved)
    assert reserved == [False]
    bench.trainer.may_end.set()
    eventually(lambda: not bench.desk.held())
    assert bench.desk.reserve()
    bench.offer()
    assert bench.desk.held() == [], "nothing is taken on before it is released"


def test_a_damaged_update_is_made_and_encoded_again(bench: Bench) -> None:
    bench.trainer.numbers = 20_000
    bench.server.instructed = INSTRUCTION.model_copy(update={"encodings": ["zstd"]})
    result = bench.home.work / ID / "result.safetensors"
    bench.server.damages = 1
    bench.server.on_damage = lambda: result.write_bytes(b"damaged")
    bench.offer()
    eventually(lambda: not bench.desk.held())
    assert bench.trainer.trainings == 2
    wrong, right = (
        ZstdDecompressor().stream_reader(data).read() for data in bench.server.delivered
    )
    assert wrong != right
