"""``fedops task status``, ``rollout`` and decisions, as typed; and what may not be."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from commits_by_hand import app_of, commit_of, sound_commit, source
from light_device import LightDevice, go_on, light_devices
from managing import World
from people import user_token

from fedops.api_client import OperatorClient
from fedops.cli.main import main
from fedops.core import contracts as c
from fedops.core.errors import Forbidden, Invalid
from fedops.core.states import Role

Typed = Callable[..., tuple[int, str, str]]
B, C = commit_of("b"), commit_of("c")


@pytest.fixture
def devices(world: World) -> dict[str, LightDevice]:
    """Two of a task, which both run B; C was found sound."""
    ref = world.upload(app_of("b")).sha256
    world.operator.create_task(c.TaskCreate(name="mnist", bundle=ref))
    source(world, judged_seconds=0.0)
    sound_commit(world, "b", ref)
    made = light_devices(world, "a", "b")
    for _ in range(3):
        go_on(world, made)
    world.operator.start_rollout("mnist", c.RolloutStart(commit=B, pin=True))
    sound_commit(world, "c")
    return made


@pytest.fixture
def typed(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Typed:
    monkeypatch.setenv("FEDOPS_TOKEN", world.operator_token())
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as over:
            main(["task", *words, "--server", world.url])
        found = capsys.readouterr()
        return int(str(over.value.code)), found.out, found.err

    return run


def test_status_says_what_each_device_runs_and_why(
    world: World, devices: dict[str, LightDevice], typed: Typed
) -> None:
    code, out, _ = typed("status", "mnist")
    assert code == 0
    assert "pinned to bbbbbbb" in out
    assert "2 of 2 run what is wanted" in out
    away = devices.pop("b")
    world.clock.advance(60.0)
    assert typed("rollout", "mnist", "--commit", "ccc")[0] == 0
    for _ in range(3):
        go_on(world, devices)
    code, out, _ = typed("status", "mnist")
    rows = [line.split() for line in out.splitlines() if line.startswith(("a ", "b "))]
    assert rows[0][:5] == ["a", "ccccccc", "ccccccc", "synced", "healthy"]
    assert rows[1][:8] == ["b", "ccccccc", "bbbbbbb", "out", "of", "sync", "waiting", "for"]
    assert "it converges when it is back" in out
    code, out, _ = typed("status", "mnist", "--json")
    assert json.loads(out)["runs_use"] == C
    assert typed("status", "mnist", "--follow")[0] == 0, "who is away is not waited for"
    go_on(world, {"b": away})
    assert away.active == C


def test_a_person_decides_and_is_asked_before_what_takes_code_back(
    world: World, devices: dict[str, LightDevice], typed: Typed
) -> None:
    assert typed("rollout", "mnist", "--commit", "c")[0] == 0
    code, out, _ = typed("pause", "mnist", "--because", "a demonstration")
    assert (code, "paused by a person: a demonstration" in out) == (0, True)
    go_on(world, devices)
    assert {device.active for device in devices.values()} == {B}
    assert typed("status", "mnist", "--follow")[0] == 1, "it waits for a person"
    assert typed("approve", "mnist")[0] == 0
    for _ in range(3):
        go_on(world, devices)
    assert {device.active for device in devices.values()} == {C}
    code, _, err = typed("roll-back", "mnist")
    assert (code == 0, "--yes" in err) == (False, True)
    code, out, _ = typed("roll-back", "mnist", "--yes")
    assert (code, "rolled back by a person" in out) == (0, True)
    go_on(world, devices)
    assert {device.active for device in devices.values()} == {B}
    code, _, err = typed("stop-rollout", "mnist", "--yes")
    assert (code == 0, "has no rollout going on" in err) == (False, True)
    code, _, err = typed("rollout", "mnist", "--commit", "c")
    assert (code == 0, "--again" in err) == (False, True)
    code, out, _ = typed("unpin", "mnist")
    assert (code, "pinned" in out) == (0, False)


@pytest.mark.usefixtures("devices")
def test_a_commit_is_named_by_how_it_begins(world: World, typed: Typed) -> None:
    code, _, err = typed("rollout", "mnist", "--commit", "d")
    assert (code == 0, "the newest: ccccccc, bbbbbbb" in err) == (False, True)
    with pytest.raises(Invalid, match="commit"):
        world.operator.start_rollout("mnist", c.RolloutStart.model_construct(commit="c"))


@pytest.mark.usefixtures("devices")
def test_who_only_looks_decides_nothing(world: World) -> None:
    with OperatorClient(world.url, token=user_token(world, Role.VIEWER, ["mnist"])) as viewer:
        assert viewer.delivery("mnist").runs_use == B
        assert [one.commit for one in viewer.rollouts("mnist")] == [B]
        with pytest.raises(Forbidden):
            viewer.start_rollout("mnist", c.RolloutStart())
        with pytest.raises(Forbidden):
            viewer.decide_rollout("mnist", c.RolloutDecision(decision="roll_back"))
