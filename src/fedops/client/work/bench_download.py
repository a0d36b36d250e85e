"""The Client Manager's part of a benchmark: how long the newest model version takes to come here.

Nothing of it is kept: the models that the device has are those of its rounds.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from fedops.client.work.held_assignments import Held
from fedops.client.work.transfers import Transfers
from fedops.core.contracts import BENCH, BlobRef, Instruction, Stage
from fedops.core.contracts.devices import BENCH_MODEL, MEASURES_SECONDS
from fedops.core.errors import NotFound, Unavailable
from fedops.storage.payloads import Document, Payload, blobs_of, check_document, make_document


def is_bench(held: Held) -> bool:
    """Whether an assignment is a benchmark, and of no run."""
    return held.kind == BENCH and held.run_id is None


def with_download(held: Held, instruction: Instruction, transfers: Transfers) -> Instruction:
    """The instruction as the training client gets it: with the time in place of the model.

    Raises:
        Over: the assignment is over, or this process.
        Invalid: the instruction cannot be read.
    """
    document = check_document(instruction.content)
    model = blobs_of(document).get(BENCH_MODEL)
    if model is None:
        return instruction
    known: dict[str, Any] = {}
    with contextlib.suppress(NotFound):  # the training can be timed all the same
        seconds = transfers.insist(held, lambda: _timed(held, transfers, model), Stage.DOWNLOADING)
        known = {"model-bytes": model.size, "download-seconds": seconds}
    return instruction.model_copy(update={"content": _replaced(document, known)})


def _replaced(document: Document, known: dict[str, Any]) -> Document:
    told = {name: one for name, one in document["records"].items() if name != BENCH_MODEL}
    measured = make_document(Payload(metrics={BENCH: known}))["records"]
    return {**document, "records": {**told, **measured}}


def _timed(held: Held, transfers: Transfers, model: BlobRef) -> float:
    """Seconds for all of it; after a minute, reckoned from what has come. One try, from the first byte on."""
    begin, done = time.perf_counter(), 0
    with transfers.blobs.download(model.sha256, start=0, fresh=False) as coming:
        held.tell(Stage.DOWNLOADING, 0, model.size)
        for block in coming.blocks():
            transfers.check(held)
            done = min(done + len(block), model.size)
            held.tell(Stage.DOWNLOADING, done, model.size)
            spent = time.perf_counter() - begin
            if spent >= MEASURES_SECONDS:
                return spent * model.size / done
    if done < model.size:
        raise Unavailable(f"the connection was cut after {done} of {model.size} bytes")
    return time.perf_counter() - begin
