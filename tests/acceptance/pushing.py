"""A federation whose code comes from a Git repository: commits are pushed, devices converge on them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.core import contracts as c
from fedops.core.states import DeploymentStatus, FiringStatus
from fedops.demo.federation import FEDOPS, Federation, set_options

APP = Path(__file__).parent / "apps" / "deployed"
TASK = "deployed"
#: Environments are built on this machine, for each device one.
SECONDS = 180.0


@dataclass
class Deploying:
    """A repository, a federation, and the devices whose code comes from the one through the other."""

    home: Path
    federation: Federation
    names: Sequence[str]
    #: Devices that are started again whenever they have ended.
    revived: set[str] = field(default_factory=set)
    #: How long the server and the devices may take for a commit.
    patience: float = SECONDS

    def __post_init__(self) -> None:
        shutil.copytree(APP, self.repository)
        self.git("init", "-q", "-b", "main")

    @property
    def repository(self) -> Path:
        return self.home / "repository"

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        command = ["git", "-C", str(self.repository), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message: str, *, dependency: str = "", crash: str = "", **values: Any) -> str:
        """Push a commit that changes ``release.py``; the server hears of it. Returns its name."""
        release = self.repository / "deployedapp" / "release.py"
        text = release.read_text()
        for name, value in values.items():
            text = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.M)
        release.write_text(text + crash)
        if dependency:
            project = self.repository / "pyproject.toml"
            known = '"scikit-learn>=1.5"'
            project.write_text(project.read_text().replace(known, f'{known}, "{dependency}"'))
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self._pushed()

    def revert(self) -> str:
        """Take the newest commit back by another one."""
        self.git("revert", "--no-edit", "HEAD")
        return self._pushed()

    def _pushed(self) -> str:
        if self.federation.parts:
            with self.federation.operator() as operator:
                operator.look_at_source(TASK)
        return self.git("rev-parse", "HEAD")

    # --- devices -----------------------------------------------------------------------------

    def start(self, name: str, **env: str) -> None:
        """A device whose code comes from the server."""
        if not self.federation.device_home(name).exists():
            self.federation.join(name)
        index = list(self.names).index(name)
        part = [f"dataset.partition.index={index}", f"dataset.partition.of={len(self.names)}"]
        place = ["--home", str(self.federation.device_home(name)), "--task", TASK]
        command = [*FEDOPS, "client", "run", *place, *set_options(part)]
        witness = {"DEPLOYED_WITNESS": str(self.witness_file(name))}
        self.federation._start(name, command, {**witness, **env})

    def witness_file(self, name: str) -> Path:
        return self.home / f"{name}.witness"

    def witness(self, name: str) -> list[dict[str, Any]]:
        """What the processes of a device that had the app said of themselves, the newest last."""
        lines = self.witness_file(name).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def until_loaded(self, name: str, release: str) -> dict[str, Any]:
        """Wait until the newest process of a device that loaded its data is of a release; what it said."""

        def look() -> dict[str, Any] | None:
            last = self.witness(name)[-1]
            return last if last["release"] == release else None

        found: dict[str, Any] = self._until(f"{name} to load release {release}", look)
        return found

    # --- what the server says ----------------------------------------------------------------

    def delivery(self) -> c.DeliveryRead:
        with self.federation.operator() as operator:
            return operator.delivery(TASK)

    def until_all_run(self, commit: str) -> c.DeliveryRead:
        """Wait until it is active on the devices, and the next run uses it."""

        def look() -> c.DeliveryRead | None:
            self._revive()
            found = self.delivery()
            there = {
                one.device
                for one in found.deployments
                if one.actual == commit and one.synced and one.status is DeploymentStatus.ACTIVE
            }
            return found if there == set(self.names) and found.runs_use == commit else None

        return self._until(f"all to run commit {commit[:7]}", look)

    def until_stopped(self, commit: str) -> c.RolloutRead:
        """Wait until the rollout of a commit was stopped, and nobody is asked for it any more."""

        def look() -> c.RolloutRead | None:
            self._revive()
            with self.federation.operator() as operator:
                found = next((r for r in operator.rollouts(TASK) if r.commit == commit), None)
            asked = any(one.desired == commit for one in self.delivery().deployments)
            return found if found and found.status == "stopped" and not asked else None

        return self._until(f"the rollout of {commit[:7]} to be stopped", look)

    def until_fired(self, schedule: str, number: int) -> c.FiringRead:
        """Wait until the firing of that number, from 1, has ended."""

        def look() -> c.FiringRead | None:
            with self.federation.operator() as operator:
                found = operator.firings(TASK, schedule)[::-1]
            ended = [one for one in found if one.ended_at is not None]
            assert not [one for one in ended if one.status is FiringStatus.FAILED], ended
            return ended[number - 1] if len(ended) >= number else None

        return self._until(f"firing {number} of '{schedule}' to end", look)

    def serving(self) -> int | None:
        with self.federation.operator() as operator:
            named = {alias.name: alias.version for alias in operator.aliases(TASK)}
        return named.get("serving")

    def _until(self, what: str, look: Any) -> Any:
        try:
            return self.federation.until(what, look, self.patience, pause=0.3)
        except Exception as error:
            found = self.delivery()
            said = [f"{one.device}: {one.status} {one.why}" for one in found.deployments]
            raise AssertionError(f"{error}\n{found.rollout}\n" + "\n".join(said)) from error

    def _revive(self) -> None:
        for name in self.revived:
            if not self.federation.parts[name].running:
                self.federation.stop(name)
                time.sleep(0.1)
                self.start(name, FEDOPS_FAILPOINTS=str(self.home / f"{name}.failpoints"))
