"""Many updates, and large ones: a thousand in one round, and memory for a piece of one."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_memory_federation import InMemoryFederation, Refused, Work, strategy_of

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.contracts.training import ARRAYS, HEADER, METRICS, ClientMetrics, UpdateHeader
from fedops.core.states import ParticipationStatus
from fedops.engine.global_model import GlobalModel, StoredUpdate
from fedops.engine.update_checks import CheckedUpdate
from fedops.storage.payloads import Payload, pack_payload
from fedops.storage.tensors import save
from fedops.testing.in_memory_server import InMemoryServer
from fedops.testing.in_memory_work import Assignment


class ManyServer(InMemoryServer):
    """Clients that answer at once, without a thread each."""

    def _serve(self, one: Assignment) -> None:
        result = self.answers[one.device](self.work_of(one))
        assert isinstance(result, Payload)
        self.deliver(one, pack_payload(result))

    def _make(self, body: Any, offer: Any) -> Assignment:
        made = Assignment(
            id=f"{len(self.assignments):032x}",
            device=offer.device,
            kind=offer.kind,
            round=body.round,
            retry=offer.retry,
            evaluates=offer.evaluates,
            document=body.instructions[offer.instruction],
            deadline=time.monotonic() + body.deadline_seconds,
        )
        self.assignments.append(made)
        self._serve(made)
        return made

    def _judge(self, body: Any) -> None: ...


def test_a_thousand_tiny_updates(tmp_path: Path) -> None:
    fed = InMemoryFederation(tmp_path, num_rounds=1)
    fed.server = ManyServer(fed.config, tmp_path)
    for number in range(1_000):
        name = f"device-{number:04}"

        def answer(work: Work, name: str = name, number: int = number) -> Payload | Refused:
            arrays = {k: a + a.dtype.type(number) for k, a in work.tensors.items()}
            print_ = work.order.contract.fingerprint
            header = UpdateHeader(name, 5, 1, work.order.round, print_, "lines")
            metrics = {METRICS: ClientMetrics(1 + number % 3, {"train_loss": 1.0}).values()}
            return Payload({ARRAYS: arrays}, metrics, {HEADER: header.values()})

        fed.server.add(name, answer)
    began = time.process_time()
    fed.play()
    spent = time.process_time() - began
    (commit, batch) = fed.server.commits[0], fed.server.batches[0]
    assert {p.status for p in commit.participations} == {ParticipationStatus.REPLIED}
    assert len(commit.participations) == 1_000
    assert len(batch.instructions) == 1
    assert len(fed.server.progresses) < 30
    assert spent < 15, f"{spent:.1f} s of CPU for engine, fakes and clients"


def _large(folder: Path, clients: int, elements: int) -> tuple[GlobalModel, list[StoredUpdate]]:
    rng = np.random.default_rng(1)
    contract = ParameterContract(
        parameters=(
            ParameterSpec(name="w", shape=(elements,), dtype="float32", rule=ExchangeRule.MEAN),
        )
    )
    start = {"w": rng.normal(size=elements).astype(np.float32)}
    base = GlobalModel(folder / "m", save(start, folder / "m"), contract)
    updates = []
    for number in range(clients):
        path = folder / f"u{number}"
        save({"w": start["w"] * np.float32(number)}, path)
        header = UpdateHeader(f"device-{number:03}", 5, 1, 1, contract.fingerprint)
        checked = CheckedUpdate(header, ClientMetrics(number + 1, {}), None, 1)
        updates.append(StoredUpdate(checked, number, path))
    return base, updates


def _anonymous_bytes() -> int:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    (line,) = [row for row in status.splitlines() if row.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_aggregating_takes_memory_for_a_piece_however_many_there_are(tmp_path: Path) -> None:
    base, updates = _large(tmp_path, 12, 6_000_000)
    strategy = strategy_of(InMemoryFederation(tmp_path).project().config)
    idle, most, over = _anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            most[0] = max(most[0], _anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    next_ = base.next(tmp_path / "next", 1, strategy, updates)
    over.set()
    watcher.join()
    assert most[0] - idle < 0.5 * base.path.stat().st_size
    weights = np.arange(1, 13, dtype=np.float64)
    expected = base.file["w"].astype(np.float64) * float(
        (weights * np.arange(12)).sum() / weights.sum()
    )
    np.testing.assert_allclose(next_.file["w"], expected, rtol=1e-6)
