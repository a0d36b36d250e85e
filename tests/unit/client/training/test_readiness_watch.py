"""A device is tried at the start and when something changes, and never more often than that."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from fedops.client.local.report_pipe import ReportPipe
from fedops.client.training import readiness_watch
from fedops.client.training.readiness_watch import CONFIG_SECONDS, ReadinessWatch
from fedops.core.contracts import ParameterContract
from fedops.core.contracts.parameters import ExchangeRule, ParameterSpec
from fedops.flower.client_app import Trial
from fedops.testing import FakeClock

CONTRACT = ParameterContract(
    parameters=(ParameterSpec(name="w", shape=(2,), dtype="float32", rule=ExchangeRule.MEAN),)
)


class App:
    """Needs its folder, and no config that is bad."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tried: list[Any] = []
        self.forgotten = 0

    def try_out(self, config: Mapping[str, Any] | None) -> Trial:
        self.tried.append(config)
        if not self.folder.exists():
            return Trial("no data")
        return Trial("bad", None) if config and config.get("bad") else Trial("", CONTRACT)

    def places(self, config: Mapping[str, Any] | None) -> list[Path]:
        return [self.folder]

    def forget_data(self) -> None:
        self.forgotten += 1


class World:
    def __init__(self, place: Path) -> None:
        (place / "app").mkdir()
        self.source = place / "app" / "flow.py"
        self.source.write_text("x = 1\n")
        self.data = place / "data"
        self.data.mkdir()
        self.app, self.clock = App(self.data), FakeClock()
        self.said: list[dict[str | None, tuple[str, str]]] = []
        self.bases: list[str] = []
        self.renewed: list[str] = []
        self.watch = ReadinessWatch(
            self.app, place, place / "app", [], cast(ReportPipe, self), self.clock
        )

    def readiness(
        self, tasks: Sequence[Mapping[str, Any]], basis: str, fingerprint: str = ""
    ) -> None:
        self.said.append({t["task"]: (str(t["status"]), t.get("reason", "")) for t in tasks})
        self.bases.append(basis)

    def renew(self, text: str) -> None:
        self.renewed.append(text)

    def look(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.watch.look()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_server_has_a_moment_to_name_the_tasks(world: World) -> None:
    world.watch.begin()
    assert world.said == [{None: ("checking", "")}]
    world.look(CONFIG_SECONDS / 2)
    assert world.app.tried == []
    world.watch.hear({"one": {"a": 1}, "two": {"bad": True}})
    world.look(0.0)
    assert world.said[-1] == {"one": ("ready", ""), "two": ("refused", "bad")}


def test_without_a_server_the_apps_own_config_is_tried(world: World) -> None:
    world.look(CONFIG_SECONDS)
    assert (world.app.tried, world.said) == ([None], [{None: ("ready", "")}])


def test_nothing_is_tried_again_without_a_change(world: World) -> None:
    world.watch.hear({"one": {"a": 1, "num_rounds": 2}})
    for _ in range(100):
        world.look()
    world.watch.hear({"one": {"a": 1, "num_rounds": 9, "server": {"url": "x"}}})
    world.look()
    assert len(world.app.tried) == 1
    world.watch.hear({"one": {"a": 2}})
    world.look()
    assert world.app.tried == [{"a": 1, "num_rounds": 2}, {"a": 2}]
    assert world.app.forgotten == 0


def test_a_folder_that_goes_and_comes_is_noticed(world: World) -> None:
    world.watch.hear({"one": {}})
    world.look()
    shutil.rmtree(world.data)
    world.look()
    assert world.said[-1] == {"one": ("refused", "no data")}
    world.data.mkdir()
    world.look()
    assert [said["one"][0] for said in world.said] == ["ready", "refused", "ready"]
    assert world.app.forgotten == 2  # what was loaded is not what is there now


def test_what_is_refused_is_tried_after_longer_and_longer_pauses(world: World) -> None:
    world.watch.hear({"one": {"bad": True}})
    moments = []
    for second in range(200):
        world.look()
        if len(world.app.tried) > len(moments):
            moments.append(second)
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == 60


def test_a_refused_app_whose_files_change_begins_anew(world: World) -> None:
    world.watch.hear({"one": {"bad": True}})
    world.look()
    world.look(0.5)
    assert world.renewed == []
    world.source.write_text("x = 1  # corrected\n")
    world.look(0.5)
    assert world.renewed == ["the app's files have changed while it was not ready"]


def test_a_full_disk_is_a_reason_until_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [""]
    monkeypatch.setattr(readiness_watch, "lacking_disk", lambda *_: full[0])
    world.watch.hear({"one": {}})
    for text in ("", "no room", "no room", ""):
        full[0] = text
        world.look(0.1)
    assert [said["one"] for said in world.said] == [
        ("ready", ""),
        ("refused", "no room"),
        ("ready", ""),
    ]


def test_after_work_that_could_not_be_done_the_data_is_loaded_anew(world: World) -> None:
    world.watch.hear({"one": {}})
    world.look()
    world.watch.after("done")
    world.look()
    assert len(world.app.tried) == 1
    world.watch.after("failed")
    world.look()
    assert (len(world.app.tried), world.app.forgotten) == (2, 1)


def test_data_that_has_changed_is_loaded_anew_and_tried(world: World) -> None:
    world.watch.hear({"one": {}})
    world.look()
    world.watch.data_changed()
    assert world.app.forgotten == 1
    world.look()
    assert len(world.app.tried) == 2


def test_the_basis_is_another_one_after_a_change_only(world: World) -> None:
    world.watch.hear({"one": {}})
    world.look()
    world.watch.hear({"one": {"a": 1}})
    world.look()
    world.data.rename(world.data.with_name("elsewhere"))
    world.look()
    assert world.bases[0] == world.bases[1]
    assert world.bases[2] not in world.bases[:2]
