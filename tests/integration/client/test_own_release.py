"""The release that the server wants: installed by a child once for each wish, if the owner lets it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from device_processes import joined_device
from fake_manager import eventually

from fedops import __version__
from fedops.client.deployment.own_release import OwnRelease
from fedops.client.device.data_dir import DataDir
from fedops.core.contracts import Work, WorkPoll
from fedops.core.delivery.upgrades import OWNERS_TURN
from fedops.core.errors import Conflict, Unavailable
from fedops.core.states import Enrolment

DONE = "print('{}')"
SLOW = "import time; open(sys.argv[-1] + '/begun', 'w').close(); time.sleep(60)"


def fails(message: str, code: int) -> str:
    return f'print(\'{{"message": "{message}"}}\'); sys.exit({code})'


@dataclass
class Desk:
    """Whether work is in hand, as the work desk says it."""

    busy: bool = False
    reserved: int = 0

    def reserve(self) -> bool:
        self.reserved += not self.busy
        return not self.busy

    def release(self) -> None:
        self.reserved -= 1


@dataclass
class Device:
    """A data dir, and the Client Managers that ran on it. What they install is a line of Python."""

    home: DataDir
    desk: Desk = field(default_factory=Desk)
    left: int = 0
    told: int = 0

    def start(self, program: str, *, allowed: bool = True) -> OwnRelease:
        def leave() -> None:
            self.left += 1

        def tell() -> None:
            self.told += 1

        log = "open(sys.argv[-1] + '/tries', 'a').write('x')"
        command = (sys.executable, "-c", f"import sys; {log}; {program}")
        return OwnRelease(self.home, allowed, self.desk, tell, leave, command=command)

    @property
    def tries(self) -> int:
        path = self.home.path / "tries"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def device(tmp_path: Path) -> Device:
    home = DataDir(tmp_path / "home")
    home.create()
    return Device(home)


def wish(release: str = "9.0.0", attempt: int = 1) -> Work:
    return Work(revision=1, enrolment=Enrolment.APPROVED, upgrade=release, upgrade_attempt=attempt)


def said(release: OwnRelease) -> tuple[str, bool, int]:
    poll = release.report(WorkPoll())
    return poll.upgrade_problem, poll.upgrade_stalled, poll.upgrade_attempt


def test_what_its_owner_has_not_allowed_is_the_owners_turn(device: Device) -> None:
    release = device.start(DONE, allowed=False)
    release.take(wish())
    assert said(release) == (OWNERS_TURN, True, 1)
    for other in (wish("", 0), wish(__version__, 2), wish(f"{__version__}+src.h1", 3)):
        release.take(other)
        assert said(release) == ("", False, 0), "there is nothing to do"
    assert (device.tries, device.left) == (0, 0)


def test_it_waits_for_the_work_in_hand_and_then_leaves(device: Device) -> None:
    device.desk.busy = True
    release = device.start(DONE)
    release.take(wish())
    release.take(wish())
    assert said(release) == ("", False, 0)
    device.desk.busy = False
    eventually(lambda: device.left)
    assert (device.tries, device.left, device.desk.reserved) == (1, 1, 1), "no new work is taken"


@pytest.mark.parametrize(
    ("code", "stalled"), [(Unavailable.exit_code, False), (Conflict.exit_code, True)]
)
def test_a_wish_that_failed_is_tried_again_only_when_it_is_wished_again(
    device: Device, code: int, stalled: bool
) -> None:
    release = device.start(fails("it does not start", code))
    release.take(wish())
    eventually(lambda: device.told)
    expected = ("it does not start", stalled, 1)
    assert (said(release), device.desk.reserved) == (expected, 0)
    release.take(wish())
    again = device.start(DONE)
    again.take(wish())
    assert said(again) == expected, "also after a restart"
    assert device.tries == 1
    again.take(wish(attempt=2))
    eventually(lambda: device.left)
    assert device.tries == 2


def test_a_restart_of_the_same_release_is_no_reason_to_go_round_in_circles(device: Device) -> None:
    release = device.start(DONE)
    release.take(wish())
    eventually(lambda: device.left)
    again = device.start(DONE)
    again.take(wish())
    problem, stalled, attempt = said(again)
    assert f"FedOps {__version__} runs here still" in problem
    assert (stalled, attempt, device.tries) == (True, 1, 1)


def test_one_that_is_told_to_end_tries_it_after_its_next_start(device: Device) -> None:
    release = device.start(SLOW)
    release.take(wish())
    eventually(lambda: (device.home.path / "begun").exists())
    release.stop()
    again = device.start(DONE)
    again.take(wish())
    eventually(lambda: device.left)
    assert device.tries == 2


def test_a_client_manager_says_what_is_in_the_way(tmp_path: Path) -> None:
    """This FedOps runs from a folder that somebody works on: no upgrade replaces that."""
    with joined_device(tmp_path) as device:
        (device.home / "device.toml").write_text("[deploy]\nupgrade = true\n")
        device.start()
        device.until("idle")
        device.server.bump(upgrade="9.0.0", upgrade_attempt=3)
        found = _eventually_said(lambda: device.server.polls[-1].get("upgrade_problem"))
        assert "somebody works on it" in found or "not installed here as a package" in found
        assert device.server.polls[-1]["upgrade_stalled"] is True
        assert device.server.polls[-1]["upgrade_attempt"] == 3
        assert device.server.polls[-1]["process"]["status"] == "idle", "it works on"


def _eventually_said(look: Callable[[], str | None]) -> str:
    return str(eventually(look, 20.0))
