"""The round engine on a real Server Manager, with clients that really train."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_memory_federation import payload_of, strategy_of
from line_model import LineProject, StateMemory, examples, plain_rounds
from managing import Device, World

from fedops.api_client import EngineClient
from fedops.config.loading import parse_config
from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS, CONFIG, TrainingOrder
from fedops.core.errors import AttemptSuperseded, FedOpsError
from fedops.core.states import ParticipationStatus, RunStatus
from fedops.engine import attempt
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import prepare_run
from fedops.flower.codec.compat import take_task_identity
from fedops.server.runs import attempts
from fedops.storage.payloads import assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import load
from fedops.trainer import device_context
from fedops.trainer.local_round import LocalTrainer

ROUNDS = 3
NAMES = ["pi-1", "pi-2", "pi-3"]
SETTINGS: dict[str, Any] = {"num_rounds": ROUNDS, "clients_per_round": 3, "learning_rate": 0.05}


class Client:
    """Trains what its device is offered, in a thread of its own."""

    def __init__(self, device: Device, name: str, examples_: int, folder: Path) -> None:
        self.trained: list[tuple[str, int]] = []
        self._device = device
        self._folder = folder / name
        self._folder.mkdir()
        data = examples(sum(name.encode()), examples_)
        project = LineProject(parse_config(SETTINGS, "the test"), data=data)
        memory = StateMemory()
        self._trainer = LocalTrainer(project, device_context.Device(name, memory=memory))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End with the next answer."""
        self._over.set()

    def join(self) -> None:
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                for offer in self._device.poll(wait=1.0).offers:
                    self._work(offer.id)
            except FedOpsError:
                if not self._over.is_set():
                    raise

    def _work(self, id_: str) -> None:
        instruction = self._device.instruction(id_)
        document = check_document(instruction.content)
        files = {ref.sha256: self._blob(ref) for ref in blobs_of(document).values()}
        payload = assemble(document, {}, files)
        order = TrainingOrder.from_values(payload.configs[CONFIG])
        self.trained.append((instruction.kind, order.round))
        update = self._trainer(order, dict(payload.arrays[ARRAYS]), instruction.kind)
        self._device.deliver(id_, pack_payload(payload_of(update)))

    def _blob(self, ref: c.BlobRef) -> Any:
        path = self._folder / ref.sha256
        return load(self._device._download(f"/blobs/{ref.sha256}", path))


@pytest.fixture
def clients(world: World) -> Iterator[list[Client]]:
    world.task(overrides=[f"num_rounds={ROUNDS}", "clients_per_round=3"])
    devices = world.ready_devices(*NAMES)
    made = [Client(devices[name], name, 4 + i, world.folder) for i, name in enumerate(NAMES)]
    yield made
    for client in made:
        client.end()
    world.manager.services.let_go()
    for client in made:
        client.join()


def play(
    world: World, run_id: int, prepared: Callable[[EngineClient], None] = lambda _: None
) -> c.AttemptSpec:
    """What the process of an attempt does."""
    _, api = world.open_attempt(run_id)
    with ServerLink(api, 5.0) as link:
        spec = link.ask(lambda each: each.hello(c.EngineHello(pid=1)))
        take_task_identity(spec.run_id, 1)
        project = LineProject(parse_config(SETTINGS, "the test"))
        setup = prepare_run(project, spec, link, strategy_of)
        prepared(api)
        attempt.play(spec, link, lambda: attempt.run_rounds(setup, link))
    return spec


def check(world: World, run_id: int, seed: int) -> None:
    run = world.operator.run(run_id)
    assert run.status is RunStatus.COMPLETED, run.why
    file = world.operator.download_model("mnist", f"V{run.version}", world.folder / "model")
    expected = plain_rounds(NAMES, ROUNDS, seed=seed)[-1]
    assert {k: a.tobytes() for k, a in load(file).items()} == {
        k: a.tobytes() for k, a in expected.items()
    }


def test_rounds_equal_a_plain_loop_bit_for_bit(world: World, clients: list[Client]) -> None:
    run = world.operator.start_run("mnist", c.RunStart())
    spec = play(world, run.id)
    check(world, run.id, spec.seed)
    assert all(len(client.trained) == ROUNDS + 1 for client in clients)


@pytest.mark.parametrize("collected", [0, 1, 2, 4])
def test_the_next_attempt_goes_on_and_nobody_trains_twice(
    world: World, clients: list[Client], collected: int
) -> None:
    run = world.operator.start_run("mnist", c.RunStart())

    def dying(api: EngineClient) -> None:
        collect, seen = api.collect, [0]

        def counted(body: c.CollectRequest) -> c.Collected:
            if seen[0] >= collected:
                raise AttemptSuperseded("killed")
            found = collect(body)
            seen[0] += len(found.deliveries)
            return found

        api.collect = counted  # type: ignore[method-assign]

    play(world, run.id, dying)
    with world.manager.services.db.write() as session:
        for attempt in attempts.live_attempts(session, world.manager.services.settings):
            attempts.mark_lost(session, attempt.attempt_id, "killed", world.clock())
    spec = play(world, run.id)
    assert spec.open_round is not None
    check(world, run.id, spec.seed)
    assert all(len(client.trained) == len(set(client.trained)) for client in clients)
    assert all(len(client.trained) == ROUNDS + 1 for client in clients)


def test_a_device_that_is_revoked_while_its_update_is_aggregated_is_not_in_the_round(
    world: World, clients: list[Client]
) -> None:
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1"]))

    def revoking(api: EngineClient) -> None:
        commit = api.commit

        def too_late(body: c.RoundCommit) -> c.CommitReply:
            clients[1].end()
            world.operator.decide_device("pi-2", "revoke")
            return commit(body)

        api.commit = too_late  # type: ignore[method-assign]

    play(world, run.id, revoking)
    assert world.operator.run(run.id).committed_rounds == 0
    with world.manager.services.db.write() as session:
        for each in attempts.live_attempts(session, world.manager.services.settings):
            attempts.mark_lost(session, each.attempt_id, "superseded", world.clock())
    trained = [list(client.trained) for client in clients]
    play(world, run.id)
    (first,) = world.operator.rounds(run.id)
    replied = {p.device for p in first.participations if p.status is ParticipationStatus.REPLIED}
    assert replied == {"pi-1", "pi-3"}
    assert [
        client.trained[: len(before)] for client, before in zip(clients, trained, strict=True)
    ] == trained
    assert all(len(client.trained) == len(set(client.trained)) for client in clients)
