"""An upgrade of devices by the real protocol: in waves, stopped by a bad canary, not over for who is away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Literal

import pytest
from managing import Device, World, idle

from fedops import __version__
from fedops.cli.main import main
from fedops.core import contracts as c
from fedops.core.delivery.upgrades import OWNERS_TURN
from fedops.core.errors import Conflict, NotFound
from fedops.core.states import RolloutStatus, UpgradeStatus

R, S = RolloutStatus, UpgradeStatus
OLD = "1.9.0"
Fate = Literal["well", "badly", "not allowed"]


class UpgradingDevice:
    """Says its release, and installs what is wanted as its fate is. Who does not poll is away."""

    def __init__(self, device: Device, fate: Fate = "well", release: str = OLD) -> None:
        self.device, self.fate, self.release = device, fate, release
        self.lives = 1
        #: The wishes that it has heard, each once.
        self.heard: list[tuple[str, int]] = []
        self._problem, self._is_told = "", False

    def poll(self) -> c.Work:
        body = idle().model_copy(
            update={
                "life": f"life {self.lives}",
                "info": None if self._is_told else c.DeviceInfo(fedops=self.release),
                "upgrade_problem": self._problem,
                "upgrade_stalled": self.fate == "not allowed" and bool(self._problem),
                "upgrade_attempt": self.heard[-1][1] if self.heard else 0,
            }
        )
        work = self.device.poll(body)
        self._is_told = True
        wish = (work.upgrade, work.upgrade_attempt)
        if not work.upgrade:
            self._problem = ""
        elif work.upgrade != self.release and wish not in self.heard:
            self.heard.append(wish)
            self._install(work.upgrade)
        return work

    def _install(self, release: str) -> None:
        if self.fate == "well":  # and it is started anew
            self.release, self._is_told, self.lives = f"{release}+src.h0123abcd", False, 2
        else:
            self._problem = OWNERS_TURN if self.fate == "not allowed" else "it does not start here"


Devices = dict[str, UpgradingDevice]


def devices_of(world: World, **fates: Fate) -> Devices:
    world.task()
    return {name: UpgradingDevice(world.join(name)[1], fate) for name, fate in fates.items()}


def go_on(world: World, devices: Iterable[UpgradingDevice], seconds: float = 1.0) -> None:
    """Let time pass, the devices say how they are and do what is wanted, and the server look."""
    world.clock.advance(seconds)
    for device in devices:
        device.poll()
        device.poll()
    world.step()
    world.manager.rollouts.step()
    for device in devices:
        device.poll()
        device.poll()
    world.step()


def begin(world: World, devices: Devices, **body: object) -> c.UpgradeRead:
    go_on(world, devices.values())
    return world.operator.upgrade_devices(
        c.DeviceUpgrade.model_validate({"judged_seconds": 3, **body})
    )


def statuses(found: c.UpgradeRead) -> dict[str, UpgradeStatus]:
    return {one.device: one.status for one in found.devices}


def test_a_canary_and_then_the_others_and_whoever_comes_later(world: World) -> None:
    devices = devices_of(world, ada="well", bob="well", eve="well")
    devices["new"] = UpgradingDevice(world.join("new")[1], release=__version__)
    begun = begin(world, devices)
    assert statuses(begun) == dict.fromkeys(("ada", "bob", "eve"), S.WAITING), "new has it"
    go_on(world, devices.values())
    found = world.operator.upgrade()
    assert statuses(found) == {"ada": S.DONE, "bob": S.WAITING, "eve": S.WAITING}
    assert (found.status, found.wave) == (R.WAVING, 1)
    assert "is watched" in found.why
    away = devices.pop("eve")
    for _ in range(12):
        go_on(world, devices.values(), 2.0)
    found = world.operator.upgrade()
    assert (found.status, found.wave) == (R.HOLDING, 2), found.why
    assert statuses(found) == {"ada": S.DONE, "bob": S.DONE, "eve": S.ASKED}
    (eve,) = [one for one in found.devices if one.device == "eve"]
    assert (eve.online, eve.wanted, eve.release) == (False, __version__, OLD)
    assert "when it is back" in eve.why
    late = UpgradingDevice(world.join("late")[1])
    go_on(world, [away, late])
    found = world.operator.upgrade()
    assert set(statuses(found).values()) == {S.DONE}
    assert set(statuses(found)) == {"ada", "bob", "eve", "late"}
    assert [one.other_release for one in world.operator.devices()] == [""] * 5
    events = [one.name for one in world.operator.events() if one.name.startswith("upgrade.")]
    assert events == [
        "upgrade.pending",
        "upgrade.waving",
        "upgrade.wave",
        "upgrade.wave",
        "upgrade.holding",
    ]


def test_a_bad_canary_stops_it_and_a_new_wish_is_tried_anew(world: World) -> None:
    devices = devices_of(world, ada="badly", bob="well")
    begin(world, devices)
    for _ in range(3):
        go_on(world, devices.values())
    found = world.operator.upgrade()
    assert (found.status, found.why) == (R.STOPPED, "ada: it does not start here")
    assert statuses(found) == {"ada": S.FAILED, "bob": S.WAITING}
    assert not devices["bob"].heard, "no further device is asked"
    assert devices["ada"].poll().upgrade == ""
    with pytest.raises(Conflict, match="no upgrade goes on"):
        world.operator.stop_upgrade()
    devices["ada"].fate = "well"
    begin(world, devices, names=["ada"])
    for _ in range(5):
        go_on(world, devices.values())
    found = world.operator.upgrade()
    assert statuses(found) == {"ada": S.DONE}
    assert found.status is R.HOLDING
    assert [number for _, number in devices["ada"].heard] == [1, 2]


def test_an_owner_whose_turn_it_is_keeps_the_others_waiting(world: World) -> None:
    devices = devices_of(world, ada="not allowed", bob="well")
    begin(world, devices)
    for _ in range(5):
        go_on(world, devices.values())
    found = world.operator.upgrade()
    assert found.status is R.PAUSED
    assert OWNERS_TURN in found.why
    assert statuses(found) == {"ada": S.STALLED, "bob": S.WAITING}
    with pytest.raises(Conflict, match="--stop"):
        world.operator.upgrade_devices(c.DeviceUpgrade())
    owner = devices["ada"]
    owner.fate, owner._problem = "well", ""
    owner._install(__version__)
    for _ in range(12):
        go_on(world, devices.values())
    found = world.operator.upgrade()
    assert set(statuses(found).values()) == {S.DONE}
    assert found.status is R.HOLDING, "it goes on by itself"


def test_what_cannot_be_upgraded_is_said(world: World) -> None:
    devices = devices_of(world, ada="well")
    with pytest.raises(NotFound, match="--all"):
        world.operator.upgrade()
    with pytest.raises(Conflict, match="not said yet by ada"):
        world.operator.upgrade_devices(c.DeviceUpgrade())
    devices["ada"].release = __version__
    go_on(world, devices.values())
    with pytest.raises(Conflict, match="none of these devices has another release"):
        world.operator.upgrade_devices(c.DeviceUpgrade(names=["ada"]))
    with pytest.raises(NotFound, match="there is no device 'bob'"):
        world.operator.upgrade_devices(c.DeviceUpgrade(names=["bob"]))


def test_it_is_asked_for_looked_at_and_stopped_as_typed(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = devices_of(world, ada="well", bob="well")
    go_on(world, devices.values())
    monkeypatch.setenv("FEDOPS_TOKEN", world.operator_token())
    monkeypatch.setenv("COLUMNS", "200")
    typed = _typing(world, capsys)
    for words in ([], ["ada", "--all"], ["--all", "--stop"], ["ada", "--canary", "none", "--yes"]):
        assert typed(*words)[0] == 2, words
    code, _, err = typed("--all")
    assert (code == 0, "--yes" in err) == (False, True)
    code, out, _ = typed("ada", "bob", "--canary", "50%", "--yes")
    assert (code, f"FedOps {__version__} is pending" in out) == (0, True)
    go_on(world, devices.values())
    code, out, _ = typed("--status")
    rows = [line.split() for line in out.splitlines() if line.startswith(("ada", "bob"))]
    assert rows[0][2:4] == [__version__, "done"]
    assert rows[1][:4] == ["bob", OLD, "-", "waiting"]
    code, out, _ = typed("--stop", "--json")
    assert (code, json.loads(out)["why"]) == (0, "stopped by a person")


def _typing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as over:
            main(["device", "upgrade", *words, "--server", world.url])
        found = capsys.readouterr()
        return int(str(over.value.code)), found.out, found.err

    return run
