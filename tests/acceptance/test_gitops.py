"""Commits reach devices by way of the server, and what they train is served if it is better."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federating import QUIET
from pushing import TASK, Deploying

from fedops.core import contracts as c
from fedops.core.states import DeploymentStatus, FiringStatus
from fedops.demo.federation import Federation

#: The version that the commit asks for.
TABULATE = "0.9.0"
#: Each device stops dead once at each of these, and is started again.
STEPS = ("fetched", "prepared", "trial", "switched", "confirmed")
#: Devices import it, and the server's check does not.
CRASH = """
import os

if os.environ.get("DEPLOYED_WITNESS"):
    raise RuntimeError("this release does not start on devices")
"""
POLICY = c.RolloutPolicy(judged_seconds=0.5, wave_seconds=120)
#: New environments have no bytecode: what is imported again and again is to be compiled once.
QUICK = {"FEDOPS_CLIENT_DEPLOY_LOOK_SECONDS": "1", "PYTHONDONTWRITEBYTECODE": "", **QUIET}


@pytest.fixture
def deploying(tmp_path: Path) -> Iterator[Deploying]:
    with Federation(tmp_path / "federation", QUICK) as federation:
        (tmp_path / "federation").mkdir()
        made = Deploying(tmp_path, federation, ["clinic", "ward"])
        commit = made.commit("A model that sees one feature of six", NAME="A")
        federation.start_server()
        with federation.operator() as operator:
            url = str(made.repository)
            source = c.SourceSet(url=url, ref="main", poll_seconds=0, policy=POLICY)
            operator.create_task(c.TaskCreate(name=TASK, source=source))
        for name in made.names:
            made.start(name)
        made.until_all_run(commit)
        yield made


def test_commits_reach_devices_and_better_models_are_served(deploying: Deploying) -> None:
    _first_version(deploying)
    better = _better_commit(deploying)
    _commit_that_crashes(deploying, better)
    _commit_that_trains_worse(deploying)


def _first_version(deploying: Deploying) -> None:
    rule = c.PromotionRule(metric="accuracy", margin=0.01)
    with deploying.federation.operator() as operator:
        wanted = c.ScheduleSet(trigger=c.OnCommit(), promotion=rule)
        operator.set_schedule(TASK, "commits", wanted)
        operator.fire_schedule(TASK, "commits")
    assert deploying.until_fired("commits", 1).version == 1
    assert deploying.serving() == 1


def _better_commit(deploying: Deploying) -> str:
    """It adds a package. One device dies in the middle of each step."""
    _die_once_at_each_step(deploying, "ward")
    commit = deploying.commit(
        "See all six features", NAME="B", FEATURES=6, dependency=f"tabulate=={TABULATE}"
    )
    found = deploying.until_all_run(commit)
    assert found.rollout
    assert sorted(one.wave or 0 for one in found.deployments) == [1, 2]  # the canary, and the other
    for name in deploying.names:
        last = deploying.until_loaded(name, "B")
        assert last["tabulate"] == TABULATE
        assert f"/commits/{commit}/app/" in last["file"]
        assert last["prefix"].startswith(str(deploying.federation.device_home(name)))
    assert all(one.packages["tabulate"] == TABULATE for one in found.deployments)
    second = deploying.until_fired("commits", 2)
    assert (second.version, deploying.serving()) == (2, 2), second.outcome
    return commit


def _die_once_at_each_step(deploying: Deploying, name: str) -> None:
    folder = deploying.home / f"{name}.failpoints"
    folder.mkdir()
    for step in STEPS:
        (folder / f"manager.deployment.{step}.armed").write_text("kill@1")
    deploying.federation.stop(name)
    deploying.start(name, FEDOPS_FAILPOINTS=str(folder))
    deploying.revived.add(name)


def _commit_that_crashes(deploying: Deploying, before: str) -> None:
    died = sorted(p.name for p in (deploying.home / "ward.failpoints").glob("*.fired"))
    assert len(died) == len(STEPS), died
    deploying.revived.clear()
    commit = deploying.commit("Crash at import", NAME="C", crash=CRASH)
    stopped = deploying.until_stopped(commit)
    assert "this release does not start on devices" in stopped.why
    found = deploying.until_all_run(before)
    tried = [name for name in deploying.names if _was_at(deploying, name, commit)]
    assert len(tried) == 1, "only the canary was asked"
    assert all(one.status is DeploymentStatus.ACTIVE for one in found.deployments)
    assert deploying.serving() == 2


def _was_at(deploying: Deploying, name: str, commit: str) -> bool:
    home = deploying.federation.device_home(name)
    logs = (deploying.federation.home / "logs" / f"{name}.log").read_text()
    return commit[:12] in logs or (home / "deployments" / TASK / "commits" / commit).exists()


def _commit_that_trains_worse(deploying: Deploying) -> None:
    fired = len(_firings(deploying))
    deploying.git("revert", "--no-edit", "HEAD")
    commit = deploying.commit("See three features of six", NAME="D", FEATURES=3)
    deploying.until_all_run(commit)
    outcome = deploying.until_fired("commits", fired + 1)
    assert outcome.status is FiringStatus.KEPT
    assert "accuracy" in outcome.outcome
    assert deploying.serving() == 2
    deploying.until_all_run(deploying.revert())
    deploying.until_loaded("clinic", "B")


def _firings(deploying: Deploying) -> list[c.FiringRead]:
    with deploying.federation.operator() as operator:
        return operator.firings(TASK, "commits")
