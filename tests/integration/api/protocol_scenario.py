"""Every call that devices and FL servers make, in an order that makes sense: a federation by hand.

What is recorded of it is kept for good (``record_protocol.py``), and today's server must understand it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import BaseModel

from fedops.api_client import DeviceClient, EngineClient, JoinClient, WorkClient
from fedops.api_client.blobs import BlobClient
from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c
from fedops.core.errors import Conflict, NotFound
from fedops.core.states import ParticipationStatus, ProcessStatus
from fedops.storage import tensors
from fedops.storage.payloads import Payload, pack_payload

TASK = "mnist"
CONTRACT = c.ParameterContract(
    parameters=(c.ParameterSpec(name="w", shape=(2,), dtype="float32", rule=c.ExchangeRule.MEAN),)
)


def model(value: float) -> bytes:
    """A model file."""
    return tensors.pack({"w": np.full(2, value, dtype=np.float32)})


#: What the FL server has in its spool folder, by name.
SPOOL = {f"model-{number}": model(float(number)) for number in range(4)}
RESULT = pack_payload(Payload(metrics={"metrics": {"loss": 0.5}}))

_ID, _ENGINE = "/work/[^/]+/", "/engine/rounds/[0-9]+/"
#: What travels with a call, by method and path: the models of request and answer.
MODELS: dict[tuple[str, str], tuple[type[BaseModel] | None, Any]] = {
    ("POST", "/join"): (c.JoinRequest, c.JoinReply),
    ("GET", "/devices/me"): (None, c.DeviceRead),
    ("GET", "/devices/me/tasks"): (None, list[c.TaskRead]),
    ("POST", "/devices/me/records"): (c.RecordBatch, c.RecordsAccepted),
    ("POST", "/work"): (c.WorkPoll, c.Work),
    ("GET", _ID + "instruction"): (None, c.Instruction),
    ("POST", _ID + "progress"): (c.Progress, None),
    ("POST", _ID + "end"): (c.WorkEnd, None),
    ("POST", _ID + "slot"): (c.SlotRequest, c.TransferSlot),
    ("POST", "/engine/hello"): (c.EngineHello, c.AttemptSpec),
    ("POST", "/engine/initial-model"): (c.ModelInit, None),
    ("GET", "/engine/candidates"): (None, c.Candidates),
    ("POST", "/engine/progress"): (c.EngineProgress, None),
    ("POST", _ENGINE + "begin"): (c.RoundBegin, c.Offered),
    ("POST", _ENGINE + "commit"): (c.RoundCommit, c.CommitReply),
    ("POST", "/engine/offers"): (c.OfferBatch, c.Offered),
    ("POST", "/engine/collect"): (c.CollectRequest, c.Collected),
    ("POST", "/engine/cancel"): (c.CancelRequest, None),
    ("POST", "/engine/blobs"): (c.BlobHandover, c.BlobRef),
    ("POST", "/engine/logs"): (c.EngineLogs, None),
    ("POST", "/engine/finish"): (c.EngineFinish, None),
}


def models_of(method: str, path: str) -> tuple[type[BaseModel] | None, Any]:
    """The models of a call, below ``/api/v1``. None where no JSON travels."""
    found = [m for (how, where), m in MODELS.items() if how == method and re.fullmatch(where, path)]
    return found[0] if found else (None, None)


@dataclass
class Scenario:
    """The calls, made by today's clients. ``transport`` records them."""

    url: str
    join_token: str
    attempt_token: str
    key: Any
    spool: Path
    transport: httpx.BaseTransport

    def play(self) -> None:
        """A device joins, and an FL server plays three rounds with it."""
        self._join()
        with EngineClient(self.url, token=self.attempt_token, transport=self.transport) as engine:
            self._engine = engine
            self._begin()
            self._round_with_one_call_for_the_update()
            self._round_with_an_update_in_parts()
            self._round_with_everything_else()
            engine.finish(c.EngineFinish(outcome="completed", client_metrics={"loss": 0.25}))
        for client in (self._device, self._work, self._blobs):
            client.close()

    def _join(self) -> None:
        info = c.DeviceInfo(hostname="ada", platform="Linux", python="3.12.1", cpus=4)
        with JoinClient(self.url, transport=self.transport) as client:
            reply = client.join(join_request(self.join_token, "ada", self.key, info))
        made = {"token": reply.device_token, "transport": self.transport}
        self._device = DeviceClient(self.url, **made)
        self._work, self._blobs = WorkClient(self.url, **made), BlobClient(self.url, **made)
        self._revision = -1
        self._poll()
        self._device.me()
        self._device.tasks()
        record = c.DeviceRecord(id="r" * 16, kind="metric", name="loss", value=0.5, age_seconds=1.0)
        self._device.records(c.RecordBatch(records=[record]))

    # --- the device ------------------------------------------------------------------------------

    def _poll(self, *held: c.HeldAssignment) -> c.Work:
        process = c.ProcessReport(status=ProcessStatus.IDLE, pid=7, task=TASK, seconds_in_state=2.5)
        body = c.WorkPoll(
            life="first", tasks=[TASK], process=process, held=list(held), after=self._revision
        )
        work = self._work.work(body)
        self._revision = work.revision
        return work

    def _take(self) -> str:
        (offer,) = self._poll().offers
        self._work.instruction(offer.id)
        return offer.id

    def _head(self, id_: str, update: bytes) -> c.UploadHead:
        return c.UploadHead(assignment=id_, sha256=hashlib.sha256(update).hexdigest())

    # --- the FL server ---------------------------------------------------------------------------

    def _hand_over(self, name: str) -> str:
        self.spool.mkdir(parents=True, exist_ok=True)
        (self.spool / name).write_bytes(SPOOL[name])
        digest = hashlib.sha256(SPOOL[name]).hexdigest()
        return self._engine.hand_over(c.BlobHandover(name=name, sha256=digest)).sha256

    def _begin(self) -> None:
        engine = self._engine
        engine.hello(c.EngineHello(pid=11))
        self._model = self._hand_over("model-0")
        engine.initial_model(c.ModelInit(model=self._model, contract=CONTRACT))
        engine.fetch_blob(c.BlobRef(sha256=self._model, size=0), self.spool / "fetched")
        engine.candidates()
        self._sequence = 0

    def _offers(self, kind: str = "train", retry: int = 0) -> c.OfferBatch:
        arrays = {"type": "array", "tensors": [["w", "w"]]}
        arrays |= {"blob": {"sha256": self._model, "size": len(SPOOL["model-0"])}}
        document = {"version": 1, "records": {"arrays": arrays}}
        offer = c.OfferRequest(device="ada", kind=kind, instruction=0, retry=retry)
        return c.OfferBatch(
            instructions=[document],
            offers=[offer],
            deadline_seconds=600.0,
            model=self._model,
            round=self._round,
        )

    def _begin_round(self, number: int) -> None:
        self._round = number
        body = c.RoundBegin(selected={"ada": "all of them"}, offers=self._offers())
        self._engine.begin_round(number, body)
        phase = c.EngineProgress(phase="training", round=number, selected=["ada"], needed=1)
        self._engine.progress(phase)

    def _collect(self, **verdicts: Any) -> c.Collected:
        body = c.CollectRequest(after=self._sequence, wait=5.0 if not verdicts else 0.0, **verdicts)
        found = self._engine.collect(body)
        self._sequence = found.sequence
        return found

    def _commit(self, status: ParticipationStatus = ParticipationStatus.REPLIED) -> None:
        report = c.ParticipationReport(
            device="ada", status=status, examples=100, seconds=0.5, metrics={"train_loss": 0.25}
        )
        self._model = self._hand_over(f"model-{self._round}")
        body = c.RoundCommit(
            round=self._round,
            model=self._model,
            strategy_state=None,
            metrics={"accuracy": 0.5},
            participations=[report],
            seconds=1.0,
            overhead_seconds=0.1,
            dataset="MNIST",
        )
        self._engine.commit(body)

    # --- rounds ----------------------------------------------------------------------------------

    def _round_with_one_call_for_the_update(self) -> None:
        self._begin_round(1)
        id_ = self._take()
        with self._blobs.download(self._model) as part:
            whole = b"".join(part.blocks())
        with self._blobs.download(self._model, start=len(whole) // 2) as part:
            list(part.blocks())
        self._work.progress(id_, c.Progress(stage=c.Stage.TRAINING, done=1, total=3))
        self._poll(c.HeldAssignment(id=id_, stage=c.Stage.UPLOADING, done=10, total=20))
        update = model(1.5)
        self._work.slot(id_, c.SlotRequest(size=len(update), wait=1.0))
        self._blobs.create_upload(self._head(id_, update), len(update), iter([update]))
        self._poll(c.HeldAssignment(id=id_, stage=c.Stage.UPLOADING))
        self._collect()
        self._collect(checked=[id_])
        self._commit()

    def _round_with_an_update_in_parts(self) -> None:
        self._begin_round(2)
        id_, update = self._take(), model(2.5)
        half = len(update) // 2
        upload = self._blobs.create_upload(self._head(id_, update), len(update), None)
        self._blobs.append(upload.id, 0, iter([update[:half]]), half)
        offset = self._blobs.upload_offset(upload.id)
        self._blobs.append(upload.id, offset, iter([update[offset:]]), len(update) - offset)
        self._blobs.upload_offset(upload.id)
        self._collect()
        self._collect(checked=[id_])
        self._commit()

    def _round_with_everything_else(self) -> None:
        self._begin_round(3)
        id_ = self._take()
        self._work.deliver(id_, RESULT)
        self._collect()
        self._collect(rejected={id_: "it is not what was asked for"})
        self._engine.offer(self._offers(retry=1))
        self._work.end(self._take(), c.WorkEnd(outcome="refused", reason="no data"))
        self._engine.offer(self._offers("evaluate"))
        id_ = self._take()
        self._engine.cancel(c.CancelRequest(ids=[id_], reason="enough came"))
        self._poll(c.HeldAssignment(id=id_))
        self._poll()
        self._refused(id_)
        entry = c.EngineLog(id="l" * 16, round=3, text="3 of 3")
        self._engine.logs(c.EngineLogs(entries=[entry]))
        self._commit(ParticipationStatus.DROPPED)

    def _refused(self, over: str) -> None:
        """What is over, and what is not there."""
        for call, error in (
            (lambda: self._work.instruction(over), Conflict),
            (lambda: self._work.instruction("0" * 32), NotFound),
            (lambda: self._blobs.upload_offset("f" * 32 + "-" + "0" * 16), NotFound),
        ):
            try:
                call()
            except error:
                continue
            raise AssertionError("this should have been refused")
