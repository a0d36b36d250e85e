"""What a device gets to build the environment of a commit from."""

from __future__ import annotations

from pathlib import Path

import pytest
from managing import Device, World
from sqlalchemy import update
from toy_fedops import toy_fedops
from toy_wheels import toy_wheel

from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound
from fedops.core.states import CommitStatus
from fedops.environments.lock_file import LockedWheel
from fedops.server.database.tables import CommitRow
from fedops.server.delivery.packages.commit_packages import MAX_PLATFORMS
from fedops.server.delivery.packages.fetching import WheelFetcher, keep_wheel
from fedops.server.delivery.packages.preparing import PackagePreparation
from fedops.server.rounds import checkpoints
from fedops.storage.atomic_files import sha256_of

HERE = "3.11/x86_64-manylinux_2_36"
SOUND, BROKEN, REFUSED = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def device(world: World) -> Device:
    """A member of the task mnist, which has three commits."""
    world.task()
    world.task("digits")
    found = world.ready_devices("a")["a"]
    commits = {
        SOUND: (CommitStatus.SOUND, ["fedops[torch]>=2.0.0.dev0"]),
        BROKEN: (CommitStatus.SOUND, ["no-such-thing"]),
        REFUSED: (CommitStatus.REFUSED, []),
    }
    with world.manager.services.db.write() as session:
        for commit, (status, requirements) in commits.items():
            row = CommitRow(
                task="mnist",
                commit=commit,
                status=status,
                status_since=world.clock(),
                seen_at=world.clock(),
                requirements=requirements,
                changes={},
            )
            session.add(row)
    return found


@pytest.fixture
def preparation(world: World, packages: Path, tmp_path: Path) -> PackagePreparation:
    services = world.manager.services
    return PackagePreparation(
        services.db, services.artifacts, tmp_path, world.clock, world.clock, own=toy_fedops
    )


def test_a_device_asks_until_its_packages_are_ready(
    world: World, device: Device, preparation: PackagePreparation
) -> None:
    first = device.packages("mnist", SOUND, HERE)
    assert (first.status, first.wheels) == ("preparing", [])
    preparation.step()
    found = device.packages("mnist", SOUND, HERE)
    assert found.status == "ready"
    names = [wheel.name.partition("-")[0] for wheel in found.wheels]
    assert names == ["fedops", "toybase", "toytorch"]
    assert found.named == ["fedops"]
    store = world.manager.services.artifacts
    for wheel in found.wheels:
        assert store.size(wheel.sha256) == wheel.size
        assert sha256_of(store.path(wheel.sha256)) == wheel.sha256
    assert any(event.name == "packages.ready" for event in world.operator.events())


def test_wheels_stay_while_a_commit_needs_them(
    world: World, device: Device, preparation: PackagePreparation
) -> None:
    found = preparation.ensure("mnist", SOUND, HERE)
    wheels = {wheel.sha256 for wheel in found.wheels}
    with world.manager.services.db.write() as session:
        checkpoints.give_up_orphans(session, world.clock() + 10 * checkpoints.ORPHAN_SECONDS)
        assert checkpoints.needed_files(session, wheels) == wheels
        assert not checkpoints.has_removals(session)


def test_after_an_upgrade_of_the_server_they_are_chosen_anew(
    world: World, device: Device, preparation: PackagePreparation, tmp_path: Path
) -> None:
    before = preparation.ensure("mnist", SOUND, HERE)
    preparation.ensure("mnist", BROKEN, HERE)
    services = world.manager.services

    def newer(folder: Path) -> Path:
        needs = ["toybase", 'toytorch; extra == "torch"']
        return toy_wheel(folder, "fedops", "2.1.0+src.h1", needs=needs, extras=["torch"])

    for own, first in ((toy_fedops, before.status), (newer, "preparing")):
        again = PackagePreparation(
            services.db, services.artifacts, tmp_path, world.clock, world.clock, own=own
        )
        again.step()
        assert device.packages("mnist", SOUND, HERE).status == first
        again.step()
    names = [wheel.name for wheel in device.packages("mnist", SOUND, HERE).wheels]
    assert "fedops-2.1.0+src.h1-py3-none-any.whl" in names


def test_packages_that_are_not_to_be_had_are_refused_with_the_reason(
    world: World, device: Device, preparation: PackagePreparation
) -> None:
    device.packages("mnist", BROKEN, HERE)
    preparation.step()
    found = device.packages("mnist", BROKEN, HERE)
    assert found.status == "refused"
    assert "no-such-thing was not found" in found.reason
    assert any(event.name == "packages.refused" for event in world.operator.events())
    assert preparation.ensure("mnist", BROKEN, HERE) == found


def test_refused_packages_are_chosen_anew_when_the_commit_is_tried_again(
    world: World, device: Device, preparation: PackagePreparation, packages: Path
) -> None:
    services, app = world.manager.services, world.operator.task("mnist").bundle
    with services.db.write() as session:
        session.execute(update(CommitRow).values(bundle=app))
    world.operator.start_rollout("mnist", c.RolloutStart(commit=BROKEN))
    assert preparation.ensure("mnist", BROKEN, HERE).status == "refused"
    toy_wheel(packages, "no_such_thing")
    world.operator.start_rollout("mnist", c.RolloutStart(commit=BROKEN))
    assert device.packages("mnist", BROKEN, HERE).status == "refused", "nobody asked for it"
    world.operator.start_rollout("mnist", c.RolloutStart(commit=BROKEN, again=True))
    assert device.packages("mnist", BROKEN, HERE).status == "preparing"
    preparation.step()
    found = device.packages("mnist", BROKEN, HERE)
    assert (found.status, found.reason) == ("ready", "")


def test_an_index_out_of_reach_is_tried_again_later(
    world: World,
    device: Device,
    preparation: PackagePreparation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UV_NO_INDEX", "")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    device.packages("mnist", SOUND, HERE)
    preparation.step()
    found = device.packages("mnist", SOUND, HERE)
    assert found.status == "preparing"
    assert "cannot be reached" in found.reason
    assert "tried again in 5 s" in found.reason
    monkeypatch.setenv("UV_NO_INDEX", "1")
    preparation.step()
    assert device.packages("mnist", SOUND, HERE).status == "preparing"
    world.clock.now += 6
    preparation.step()
    assert device.packages("mnist", SOUND, HERE).status == "ready"


@pytest.mark.parametrize(
    ("task", "commit", "platform", "kind"),
    [
        ("digits", SOUND, HERE, Forbidden),
        ("nothing", SOUND, HERE, Forbidden),
        ("mnist", "d" * 40, HERE, NotFound),
        ("mnist", REFUSED, HERE, NotFound),
        ("mnist", "HEAD", HERE, Invalid),
        ("mnist", SOUND, "3.11/x86_64-plan9", Invalid),
        ("mnist", SOUND, "../x", Invalid),
    ],
)
def test_what_a_device_is_not_given(
    world: World, device: Device, task: str, commit: str, platform: str, kind: type[FedOpsError]
) -> None:
    with pytest.raises(kind):
        device.packages(task, commit, platform)


def test_a_commit_is_prepared_for_a_few_platforms_only(world: World, device: Device) -> None:
    for minor in range(MAX_PLATFORMS):
        device.packages("mnist", SOUND, f"3.{minor + 11}/x86_64-windows")
    with pytest.raises(Conflict, match="no more"):
        device.packages("mnist", SOUND, HERE)
    assert device.packages("mnist", SOUND, "3.11/x86_64-windows").status == "preparing"


# --- fetching --------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path: Path) -> LockedWheel:
    path = toy_wheel(tmp_path, "toybase")
    size, sha256 = path.stat().st_size, sha256_of(path)
    return LockedWheel("toybase", "1.0", path.name, sha256, size, str(path))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sha256": "0" * 64}, "another file"),
        ({"size": 10}, "larger than the 10 bytes"),
        ({"size": 5 << 30}, "more than"),
        ({"location": "/nowhere/x.whl"}, "cannot read"),
        ({"location": "http://127.0.0.1:9/x.whl"}, "cannot be reached"),
    ],
)
def test_nothing_stays_of_a_wheel_that_is_not_what_was_locked(
    world: World, wheel: LockedWheel, changed: dict[str, object], said: str
) -> None:
    values = {name: getattr(wheel, name) for name in wheel.__dataclass_fields__}
    wrong = LockedWheel(**{**values, **changed})
    store = world.manager.services.artifacts
    with WheelFetcher().session() as blocks:
        with pytest.raises(FedOpsError, match=said):
            keep_wheel(store, wrong, blocks)
        assert not list(store.stored(0.0))
        assert keep_wheel(store, wheel, blocks) == wheel.size
    assert list(store.stored(0.0)) == [wheel.sha256]
