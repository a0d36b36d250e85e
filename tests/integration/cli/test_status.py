"""``fedops status``, ``fedops events`` and ``fedops run events`` against a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import World, idle, managing

from fedops.cli.main import main
from fedops.core import contracts as c
from fedops.core.errors import NotFound

Said = Callable[..., str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


@pytest.fixture
def admin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    monkeypatch.setenv("FEDOPS_TOKEN", token)


@pytest.fixture
def said(world: World, capsys: pytest.CaptureFixture[str], admin: None) -> Said:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--server", world.url])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


def test_an_empty_server_says_what_comes_next(said: Said) -> None:
    text = said("status")
    assert "Needs you" not in text
    assert "0 of 0 online" in text
    assert "none ('fedops task create')" in text
    assert "No run is going on." in text


def test_what_needs_somebody_comes_first_and_equal_reasons_once(world: World, said: Said) -> None:
    world.task()
    world.ready_devices("a")
    for name in ("pi-1", "pi-2"):
        _, device = world.join(name)
        device.poll(idle())
    run, engine = world.running()
    engine.finish(c.EngineFinish(outcome="failed", reason="app_error", text="no such column"))
    world.clock.advance(60.0)
    world.step()
    lines = said("status").splitlines()
    assert lines[0] == "Needs you:"
    assert lines[1] == f"  run {run.id} of mnist {world.operator.run(run.id).why}"
    assert lines[1].endswith(f", then 'fedops run retry {run.id} --current-app'")
    assert lines[2] == "  3 devices: offline: a, pi-1, pi-2"
    found = json.loads(said("status", "--json"))
    assert len(found["attention"]) == 2
    assert [device["name"] for device in found["devices"]] == ["a", "pi-1", "pi-2"]


def test_a_run_that_goes_on_is_shown_with_why(world: World, said: Said) -> None:
    world.task()
    world.ready_devices("a")
    run, _ = world.running()
    text = said("status")
    assert "Needs you" not in text
    row = next(line for line in text.splitlines() if "0/3" in line)
    assert row.split()[:4] == [str(run.id), "mnist", "running", "0/3"]
    assert world.operator.run(run.id).why in row
    assert "1 of 1 online" in text


def test_who_waits_for_approval_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with managing(tmp_path, approval="manual") as world:
        for name in ("pi-1", "pi-2", "pi-3", "pi-4"):
            world.join(name)
        token = world.manager.services.settings.admin_token_file.read_text().strip()
        monkeypatch.setenv("FEDOPS_TOKEN", token)
        with pytest.raises(SystemExit):
            main(["status", "--server", world.url])
    assert capsys.readouterr().out.splitlines()[:2] == [
        "Needs you:",
        "  4 devices waiting for approval: pi-1, pi-2, pi-3 and 1 more ('fedops device approve pi-1')",
    ]


def test_a_long_ago_failure_needs_nobody(world: World, said: Said) -> None:
    world.task()
    world.ready_devices("a")
    _, engine = world.running()
    engine.finish(c.EngineFinish(outcome="failed", reason="app_error", text="no such column"))
    world.clock.advance(90_000.0)
    assert "failed" not in said("status")


def test_what_is_in_quarantine_needs_somebody(world: World, said: Said) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a", "b")
    _, engine = world.running()
    world.do_round(engine, 1, "a", "b")
    engine.finish(c.EngineFinish(outcome="completed"))
    out = said("device", "quarantine", "b", "--because", "its camera is broken")
    assert out.splitlines()[0] == "Device b is quarantined."
    assert "make V1 of mnist without it: 'fedops model rebuild mnist V1 --without b'" in out
    why = "updates of device b are in round 1 (its camera is broken)"
    lines = said("status").splitlines()
    assert lines[1].startswith(f"  run 1 of mnist: completed 1 round; V1 is quarantined: {why}; ")
    assert lines[2] == "  1 device in quarantine: b ('fedops device touched b')"
    row = next(line for line in said("device", "touched", "b").splitlines() if "mnist" in line)
    assert row.split() == ["mnist", "1", "1", "V1", "quarantined"]
    listed = said("model", "list", "mnist")
    assert f"V1: {why} (since " in listed
    assert why in said("model", "show", "mnist", "V1")
    why_run = said("run", "why", "1")
    assert why_run.startswith(f"Run 1 completed 1 round; V1 is quarantined: {why}")
    again = said("model", "rebuild", "mnist", "V1", "--without", "b")
    assert again.startswith("Run 2 of mnist trains anew from V0, the last version without updates")
    world.operator.stop_run(2)
    freed = said("model", "release", "mnist", "V1", "--because", "looked at by hand")
    assert freed == "V1 of mnist may be used again; it is latest.\n"
    said("model", "promote", "mnist", "V1")
    aside = said("model", "quarantine", "mnist", "V1", "--because", "no, it was not good")
    assert "serving still names V1: 'fedops model rollback mnist --alias serving'" in aside
    assert said("device", "release", "b", "--because", "repaired").startswith(
        "Device b takes part again.\nV1 of mnist stays quarantined until 'fedops model release"
    )


def test_events_of_the_server_and_of_a_run(world: World, said: Said) -> None:
    world.task()
    world.ready_devices("a")
    run, _ = world.running()
    everything = said("events")
    assert "task.ready  task mnist" in everything
    assert "by user admin (token 1, from 127.0.0.1)" in everything
    mine = said("run", "events", str(run.id))
    assert "task.ready" not in mine
    assert f"run {run.id}" in mine
    (newest,) = json.loads(said("events", "--last", "1", "--json"))
    assert newest["id"] == world.operator.events()[-1].id


@pytest.mark.parametrize("more", [[], ["--follow"]])
def test_a_run_that_is_not_there_has_no_events(
    world: World, admin: None, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "events", "99", *more, "--server", world.url])
    assert ended.value.code == NotFound.exit_code
    assert "there is no run 99" in capsys.readouterr().err
