"""What devices that serve a model are told, what they may fetch, and how operators see it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from managing import Device, World, idle, later, managing

from fedops.api_client import BlobClient
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, NotFound
from fedops.core.states import DeploymentHealth, ServingStatus


@pytest.fixture
def world(tmp_path: Path, database_url: str | None) -> Iterator[World]:
    """A server with the task mnist that has V0, V1 and V2, of which none is served."""
    with managing(tmp_path, database_url) as made:
        yield _with_versions(made)


def _with_versions(world: World) -> World:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("trainer", "other")
    for value in (1.0, 2.0):
        _, engine = world.running()
        world.do_round(engine, 1, "trainer", "other", value=value)
        engine.finish(c.EngineFinish(outcome="completed"))
    return world


def _says(device: Device, wait: float = 0.0, **report: object) -> list[c.DesiredModel]:
    """The device polls, and hears what it is to serve."""
    said = c.ServingReport.model_validate({"task": "mnist", **report})
    return device.poll(idle().model_copy(update={"serving": [said]}), wait).serving


def _shown(world: World) -> c.ServingRead:
    (found,) = world.operator.serving("mnist")
    return found


def _fetched(world: World, device: Device, sha256: str) -> bytes:
    with (
        BlobClient(world.url, token=device.token) as blobs,
        blobs.download(sha256) as coming,
    ):
        return b"".join(coming.blocks())


def test_a_promoted_version_reaches_the_device_that_wants_it(world: World) -> None:
    pi = world.ready_devices("pi")["pi"]
    assert world.operator.serving("mnist") == []
    assert pi.last.serving == []
    assert _says(pi) == []
    assert "'fedops model promote mnist VERSION'" in _shown(world).why
    began = time.monotonic()
    with later(0.2, lambda: world.operator.promote_model("mnist", "V1")):
        (wanted,) = _says(pi, wait=10.0)
    assert time.monotonic() - began < 5.0
    model = world.operator.model("mnist", "V1")
    assert (wanted.version, wanted.sha256, wanted.size) == (1, model.sha256, model.size)
    assert wanted.metrics == model.metrics
    assert len(_fetched(world, pi, wanted.sha256)) == wanted.size
    assert _shown(world).health is DeploymentHealth.PROGRESSING
    assert not _shown(world).synced
    _says(pi, wanted=1, active=1, status=ServingStatus.ACTIVE, seconds=30.0)
    found = _shown(world)
    assert (found.device, found.desired, found.actual, found.synced) == ("pi", 1, 1, True)
    assert (found.health, found.since) == (DeploymentHealth.HEALTHY, world.clock() - 30.0)
    events = [(event.name, event.text) for event in world.operator.events()]
    assert events.count(("device.serves", "V1 of task mnist")) == 1


def test_it_follows_the_alias_and_no_other_file_is_given(world: World) -> None:
    pi = world.ready_devices("pi")["pi"]
    world.operator.promote_model("mnist", "V1")
    world.operator.promote_model("mnist", "V2")
    digests = {number: world.operator.model("mnist", f"V{number}").sha256 for number in (1, 2)}
    assert [one.version for one in _says(pi)] == [2]
    with pytest.raises(NotFound):
        _fetched(world, pi, digests[1])
    world.operator.rollback_alias("mnist")
    assert [one.version for one in _says(pi)] == [1]
    assert _fetched(world, pi, digests[1])
    with pytest.raises(NotFound):
        _fetched(world, pi, digests[2])
    assert [one.version for one in _says(pi, alias="latest")] == [2]
    assert pi.poll(idle()).serving == []  # its owner does not want it any more
    assert world.operator.serving("mnist") == []
    with pytest.raises(NotFound):
        _fetched(world, pi, digests[1])


def test_a_quarantined_version_is_not_delivered_and_who_has_it_is_told(world: World) -> None:
    pi, late = world.ready_devices("pi", "late").values()
    world.operator.promote_model("mnist", "V2")
    _says(pi, wanted=2, active=2, status=ServingStatus.ACTIVE)
    world.operator.quarantine_model("mnist", "V2", "a broken scanner")
    (told,) = _says(pi, wanted=2, active=2, status=ServingStatus.ACTIVE)
    assert told.version == 2
    assert told.hold == "V2 is quarantined and not delivered: a broken scanner"
    assert _says(late)[0].hold
    for device in (pi, late):
        with pytest.raises(NotFound):
            _fetched(world, device, told.sha256)
    by_name = {found.device: found for found in world.operator.serving("mnist")}
    assert by_name["pi"].health is DeploymentHealth.DEGRADED
    assert by_name["pi"].why.endswith("'fedops model rollback mnist'")
    assert by_name["late"].health is DeploymentHealth.STALLED
    world.operator.release_model("mnist", "V2", "it was the right scanner")
    assert _says(late)[0].hold == ""


def test_only_approved_members_are_served(world: World) -> None:
    world.operator.promote_model("mnist", "V1")
    pi = world.ready_devices("pi")["pi"]
    assert _says(pi, task="nothing") == []  # there is no such task
    (model,) = _says(pi)
    world.operator.quarantine_device("pi", "it lies")
    assert _says(pi) == []
    with pytest.raises(FedOpsError):
        _fetched(world, pi, model.sha256)
    assert _shown(world).why == "the device is quarantined: no model is delivered to it"


def test_a_device_that_is_away_or_stuck_is_shown_so(world: World) -> None:
    pi = world.ready_devices("pi")["pi"]
    world.operator.promote_model("mnist", "V1")
    full = "the device's disk is full (/srv/model): free some space"
    stuck = {"wanted": 1, "status": ServingStatus.FAILED, "reason": full}
    _says(pi, **stuck, stalled=True)
    assert (_shown(world).health, _shown(world).why) == (DeploymentHealth.STALLED, full)
    _says(pi, **stuck)
    assert _shown(world).health is DeploymentHealth.DEGRADED
    world.operator.promote_model("mnist", "V2")
    assert "heard of V2" in _shown(world).why
    world.clock.advance(3_600.0)
    found = _shown(world)
    assert (found.health, found.synced) == (DeploymentHealth.WAITING, False)
    assert "it takes V2 when it is back" in found.why
    with pytest.raises(NotFound, match="there is no task"):
        world.operator.serving("nothing")
