"""A Client Manager whose code comes from the server: real processes, from commit to commit and back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from deploying import Deploying, write_app
from device_processes import Device
from fake_manager import eventually
from typer.testing import CliRunner

from fedops.cli.main import app
from fedops.client.device.data_dir import DataDir
from fedops.client.device.remembered_app import remembered_app
from fedops.client.local.status import client_status

POINTS = ("fetched", "prepared", "trial", "switched", "confirmed")
#: Only the training client needs it: a trial goes well, and the start after it does not.
BROKEN_START = {"uvicorn.py": 'raise SystemExit("no port for this commit")\n'}


@pytest.fixture
def deploying(device: Device, tmp_path: Path) -> Deploying:
    return Deploying(device, tmp_path)


def test_from_commit_to_commit_and_back(deploying: Deploying) -> None:
    device = deploying.device
    device.start("managed=yes", "training=real")
    eventually(lambda: deploying.report)
    assert (deploying.report["commit"], deploying.report["active"]) == (None, None)
    nothing = "no commit of task 'mnist' runs here yet"
    eventually(lambda: device.server.process["reason"] == nothing)

    first = deploying.want("a")
    report = deploying.until("active", first)
    assert (report["active"], report["attempt"], report["local"]) == (first, 1, False)
    assert report["packages"]["fedops"]
    assert deploying.current() == first
    device.until("idle")

    broken = deploying.want("b", beside=BROKEN_START)
    report = deploying.until("rolled_back", broken)
    assert report["active"] == first
    assert "did not start with it" in report["reason"]
    assert "no port for this commit" in report["reason"]
    assert deploying.current() == first
    device.until("idle")
    eventually(lambda: deploying.imported()[-1] == "training a")

    second = deploying.want("c")
    deploying.until("active", second)
    eventually(lambda: deploying.imported()[-1] == "training c")
    noted = remembered_app(DataDir(device.home))
    assert noted is not None
    assert noted.app_dir == str(device.home / "deployments/mnist/commits" / second / "app")
    kept = {path.name for path in (device.home / "deployments/mnist/commits").iterdir()}
    assert kept == {first, second}, "what failed is gone, what ran before is kept"
    status = client_status(device.home).deployment
    assert status is not None
    assert (status.desired, status.active, status.why) == (second, second, "")

    device.started[-1].process.kill()
    device.server.unreachable = True
    count = len(deploying.imported())
    device.start("managed=yes", "training=real")
    eventually(lambda: deploying.imported()[count:] == ["training c"], what="the server is away")
    device.server.unreachable = False


def test_killed_in_the_middle_of_each_step(deploying: Deploying, tmp_path: Path) -> None:
    device, points = deploying.device, tmp_path / "points"
    state = device.home / "deployments/mnist/state.json"
    points.mkdir()

    def killed_at(point: str, number: int) -> str | None:
        """Have the Client Manager killed there; returns what runs if it stays so."""
        (points / f"manager.deployment.{point}.armed").write_text(f"kill@{number}")
        killed = device.start("managed=yes", "training=real", FEDOPS_FAILPOINTS=str(points))
        assert killed.wait(60) < 0, f"it was not killed at '{point}': {killed.text}"
        runs: str | None = json.loads(state.read_text())["active"]
        return runs

    after = deploying.want("after")
    for point in ("fetched", "prepared", "trial"):
        assert killed_at(point, 1) is None, point
    trials = device.home / "deployments" / "_trials"
    (left,) = trials.iterdir()
    assert killed_at("confirmed", 1) == after
    last = deploying.want("last")
    assert killed_at("switched", 2) == after, "it has not said that it is ready"
    assert deploying.current() == last
    device.start("managed=yes", "training=real", FEDOPS_FAILPOINTS=str(points))
    assert deploying.until("active", last)["active"] == last
    assert deploying.current() == last
    assert not left.exists(), "it holds what the owner sets, and a model"
    passes = {point: (points / f"manager.deployment.{point}").stat().st_size for point in POINTS}
    assert passes == {"fetched": 2, "prepared": 2, "trial": 4, "switched": 3, "confirmed": 2}
    eventually(lambda: deploying.imported()[-1] == "training last")


def test_new_code_runs_when_the_owner_allows_it(deploying: Deploying) -> None:
    device = deploying.device
    (device.home / "device.toml").write_text("[deploy]\napprove = true\n")
    device.start("managed=yes")
    changes = {"since": "0" * 40, "files": ["M light/client.py"], "dependencies": ["+ pandas"]}
    commit = deploying.want("a", subject="Faster\x1b[2J", author="Ada", changes=changes)
    report = deploying.until("awaiting_approval", commit)
    assert (report["stalled"], report["active"]) == (True, None)
    assert deploying.imported() == []
    runner, home = CliRunner(), ["--home", str(device.home)]
    asked = runner.invoke(app, ["client", "approve", *home])
    assert "M light/client.py" in asked.output
    assert "+ pandas" in asked.output
    assert "\x1b" not in asked.output
    assert asked.exit_code != 0, "nobody was there to answer"
    wrong = runner.invoke(app, ["client", "approve", "1234567", *home])
    assert f"is {commit}, not 1234567" in str(wrong.output) + str(wrong.exception)
    allowed = runner.invoke(app, ["client", "approve", commit[:8], "--json", *home])
    assert json.loads(allowed.stdout) == {"commit": commit[:8], "approved": True}
    deploying.until("active", commit)


def test_code_from_the_server_is_of_one_task(deploying: Deploying) -> None:
    device = deploying.device
    several = device.start("managed=yes", "tasks=mnist,digits")
    assert several.wait(20.0) == 2
    assert "takes part in one task, and here are" in several.text
    assert not DataDir(device.home).local_api.exists(), (
        "nobody is told of a port that nobody serves"
    )


def test_the_owners_own_folder(deploying: Deploying, tmp_path: Path) -> None:
    device = deploying.device
    own = write_app(tmp_path / "own", "own", deploying.marks)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(own)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    commit = head.stdout.strip()
    (device.home / "device.toml").write_text(f'[deploy]\nsource = "local"\nfolder = "{own}"\n')
    device.start("managed=yes", "training=real")
    report = deploying.until("active", commit)
    assert (report["local"], report["dirty"], report["active"]) == (True, False, commit)
    eventually(lambda: deploying.imported() == ["training own"])
    wanted = deploying.want("other")
    write_app(own, "edited", deploying.marks)
    eventually(lambda: deploying.report["dirty"])
    eventually(lambda: deploying.report["reason"])
    assert f"the server wants {wanted[:12]}" in deploying.report["reason"]
    assert deploying.report["commit"] == commit
    assert not (device.home / "deployments").exists(), "nothing was fetched"
    assert deploying.imported() == ["training own"]
    subprocess.run([*git, "commit", "-q", "-a", "-m", "second"], check=True)
    eventually(lambda: deploying.imported()[-1] == "training edited", what="the old code runs on")
    eventually(lambda: deploying.report["commit"] != commit)
    (own / "light" / "config.toml").write_text("learning_rat = 1\n")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "third"], check=True)
    eventually(lambda: deploying.report["stalled"])
    assert "learning_rat" in deploying.report["reason"]
    write_app(own, "mended", deploying.marks)
    eventually(lambda: not deploying.report["stalled"])
    eventually(lambda: deploying.imported()[-1] == "training mended")
    assert deploying.report["dirty"]
