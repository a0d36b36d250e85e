"""A device may have the models of the tasks that it takes part in, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from managing import CONTRACT, Device, World, idle, said_when_out

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Forbidden, NotFound
from fedops.storage.atomic_files import sha256_of


@pytest.fixture
def member(world: World) -> Device:
    """A device of the task mnist, which has V0 and V1, and not of the task digits, which has V0."""
    world.task(overrides=["num_rounds=1"])
    world.task("digits")
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    world.do_round(engine, 1, "a", "b")
    engine.finish(c.EngineFinish(outcome="completed"))
    world.running("digits")
    return devices["a"]


def test_a_member_gets_the_model_and_what_it_needs_to_evaluate_it(
    world: World, member: Device, tmp_path: Path
) -> None:
    found = member.model("mnist", "V1")
    known = world.operator.model("mnist", "V1")
    assert (found.sha256, found.size, found.round) == (known.sha256, known.size, 1)
    assert found.config == world.operator.run(1).config
    assert (found.contract, found.dataset) == (CONTRACT, "MNIST")
    assert member.model("mnist", "latest").version == 1
    file = member.download_model("mnist", "V0", tmp_path / "v0.safetensors")
    assert sha256_of(file) == world.operator.model("mnist", "V0").sha256


def test_nothing_is_told_that_only_operators_know(member: Device) -> None:
    assert not {"metrics", "lineage", "aliases"} & set(member.model("mnist", "V1").model_dump())


@pytest.mark.parametrize(
    ("task", "version", "kind"),
    [
        ("mnist", "V9", NotFound),
        ("digits", "V0", Forbidden),
        ("nothing", "V0", Forbidden),  # it is not told whether there is such a task
    ],
)
def test_what_it_may_not_have(
    member: Device, tmp_path: Path, task: str, version: str, kind: type[FedOpsError]
) -> None:
    with pytest.raises(kind):
        member.model(task, version)
    with pytest.raises(kind):
        member.download_model(task, version, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_device_that_left_the_task_or_was_revoked_gets_nothing(
    world: World, member: Device
) -> None:
    member.poll(idle("digits").model_copy(update={"tasks": ["digits"]}))
    with pytest.raises(Forbidden, match="it takes part in digits"):
        member.model("mnist", "V1")
    assert member.model("digits", "V0").version == 0
    world.operator.decide_device("a", "revoke")
    with pytest.raises(Forbidden):
        said_when_out(lambda: member.model("digits", "V0"))


def test_others_do_not_get_in_as_a_device(world: World, member: Device) -> None:
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    for other in (token, "fo_device_nonsense_nonsense"):
        with Device(world.url, other) as client, pytest.raises(Forbidden):
            client.model("mnist", "V1")
