"""What a round costs a device in calls and bytes, counted on its link: whole, and with the link cut."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from calls import Calls, Heard
from federating import until
from ledger import Ledger
from world import DEVICES, Setup, World, opened

from fedops.core.states import RunStatus

ROUNDS = 4
#: Of one update: 20,000 numbers of eight bytes.
UPDATE_BYTES = 160_000
#: Work, instruction, model, slot, upload; and one more poll, open while the device works.
CALLS = 6
#: Not counted: how far the work is, and the reports that are gathered for a second each.
BESIDE = ("POST /work/*/progress", "POST /devices/me/records")
POLL = "POST /work"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # Polls that wait so long do not run out in this test: all are counted.
    env = {"FEDOPS_SERVER_HEARTBEAT_SECONDS": "20"}
    with opened(tmp_path_factory.mktemp("calls"), Setup(env=env)) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(world: World) -> tuple[str | None, dict[str, Calls]]:
    """The model of a run that nothing disturbed, and the calls that it took."""
    calls = {name: Calls(network) for name, network in world.networks.items()}
    return completed(world, world.start_run("mean")), calls


def completed(world: World, run_id: int) -> str | None:
    """The digest of the run's model, once it is there."""
    until(world.federation, run_id, RunStatus.COMPLETED)
    account = Ledger(world.federation.server_home / "fedops.db").account(run_id)
    assert account.took_part == dict.fromkeys(range(1, account.rounds + 1), DEVICES)
    assert account.retrained == 0
    return account.final


def test_a_round_takes_six_calls_of_a_device_at_most(
    undisturbed: tuple[str | None, dict[str, Calls]],
) -> None:
    _, calls = undisturbed
    for one in calls.values():
        rounds = by_round(one)
        polls = sum(round_.count(POLL) for round_ in rounds)
        assert [len(round_) - round_.count(POLL) for round_ in rounds] == [CALLS - 2] * ROUNDS
        assert polls <= 2 * ROUNDS, rounds
        uploads = [heard for heard in one.heard if heard.is_upload]
        assert len(uploads) == ROUNDS
        assert all(0 < heard.body - UPDATE_BYTES < 2_000 for heard in uploads)
        reports = [heard.at for heard in one.heard if heard.call == "POST /devices/me/records"]
        assert len(reports) <= 2 + (reports[-1] - reports[0])


def by_round(calls: Calls) -> list[list[str]]:
    """What was called from one instruction to the next."""
    rounds: list[list[str]] = []
    for heard in calls.heard:
        if heard.call == "GET /work/*/instruction":
            rounds.append([])
        if rounds and heard.call not in BESIDE:
            rounds[-1].append(heard.call)
    return rounds[:ROUNDS]  # the final model is evaluated once more


def test_an_upload_goes_on_from_the_last_byte_that_arrived(
    world: World, undisturbed: tuple[str | None, dict[str, Calls]]
) -> None:
    after = points(1)
    run_id, name = held(world, "manager.upload.begin", 1)
    calls = Calls(world.networks[name])
    cuts = world.networks[name].cuts
    world.networks[name].cut_after(*after, way="up")
    world.board.release("manager.upload.begin")
    assert completed(world, run_id) == undisturbed[0]
    assert world.networks[name].cuts == cuts + len(after)
    first = by_upload(calls)[0]
    assert sum(heard.body for heard in first) == first[0].length, "no byte was sent twice"
    assert len(first) <= 1 + 2 * len(after)


def test_a_download_goes_on_from_the_last_byte_that_arrived(
    world: World, undisturbed: tuple[str | None, dict[str, Calls]]
) -> None:
    after = points(3)
    run_id, name = held(world, "manager.work.accepted", 3)  # of round 2: its model is new here
    calls = Calls(world.networks[name])
    cuts = world.networks[name].cuts
    world.networks[name].cut_after(*after, way="down")
    world.board.release("manager.work.accepted")
    assert completed(world, run_id) == undisturbed[0]
    assert world.networks[name].cuts == cuts + len(after)
    fetching = [heard for heard in calls.heard if heard.call == "GET /blobs/*"]
    first = [heard for heard in fetching if heard.path == fetching[0].path]
    assert len(first) <= 1 + 2 * len(after)
    starts = [heard.start for heard in first]
    assert starts == sorted(starts)
    assert starts[-1] > sum(after) - len(after) * 4_096, "what arrived was kept, but for heads"


def held(world: World, point: str, number: int) -> tuple[int, str]:
    """A new run, and the device whose Client Manager waits at the point."""
    world.board.clear()
    world.board.arm(point, "hold", number)
    run_id = world.start_run("mean")
    caught = world.federation.until(f"somebody at {point}", lambda: world.board.fired(point))
    return run_id, world.device_of(caught.pid)


def points(seed: int) -> list[int]:
    """After how many bytes each cut comes: three of them, before the update is through."""
    chance = random.Random(seed)
    return [chance.randint(1_000, UPDATE_BYTES // 4) for _ in range(3)]


def by_upload(calls: Calls) -> list[list[Heard]]:
    """The calls about each upload, in their order."""
    uploads: list[list[Heard]] = []
    for heard in (one for one in calls.heard if one.call.endswith(("/blobs", "/uploads/*"))):
        if not uploads or sum(one.body for one in uploads[-1]) == uploads[-1][0].length:
            uploads.append([])
        uploads[-1].append(heard)
    return uploads
