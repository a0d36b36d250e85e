"""The demo: one command that federates a model over real processes and shows how it goes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from fedops.console.format import version_name
from fedops.console.runs import accuracy_of, loss_of
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, NotFound, Unavailable
from fedops.core.states import RUN_TERMINAL, ParticipationStatus, RunStatus
from fedops.demo.data import DataSource, choose
from fedops.demo.display import Screen
from fedops.demo.federation import Federation
from fedops.demo.options import Plan
from fedops.demo.process_list import ProcessList
from fedops.flower.app_bundle import PackedApp
from fedops.scalize.flow.project import Project

TASK = "mnist-demo"
#: So many devices are started side by side: that many imports of a framework leave the server some CPU.
AT_ONCE = max(4, 2 * (os.cpu_count() or 1))
#: More of them train at a time than there are cores: the server comes first.
POLITE = "[limits]\nnice = 10\n"
#: How long one of many devices may take to be ready.
CROWD_SECONDS = 300.0
#: With ten trainings on a core a heartbeat may come late: who is only late is not to count as offline.
CROWD_HEARTBEAT = "20"
#: A file that says: this directory is a demo's. Holds the process id of a server that was kept.
MARKER = ".fedops-demo"
SNIPPET = """\
from safetensors.torch import load_file
from {module} import {name}

model = {name}({arguments})
model.load_state_dict(load_file("{path}"))"""


@dataclass
class Demo:
    """One showing of the demo."""

    plan: Plan
    screen: Screen
    home: Path = field(init=False)
    app: Path = field(init=False)
    data: DataSource = field(init=False)
    census: ProcessList = field(default_factory=ProcessList)

    def __post_init__(self) -> None:
        self.app = self.plan.app or find_app()
        Project.open(self.app)  # a mistake in it is said before anything starts
        self.data = choose(self.plan.mnist, download=self.plan.download)
        self.home = prepare_home(self.plan.home)

    @property
    def _crowd(self) -> bool:
        return self.plan.devices > AT_ONCE

    def run(self) -> dict[str, Any]:
        """Show it; returns what ``--json`` prints. Leaves no process behind, whatever happens."""
        began = time.monotonic()
        self.screen.opening(self.plan, self.data, self.home)
        # One thread each: the devices share this machine's cores.
        env = {"OMP_NUM_THREADS": "1", **self.data.env}
        if self._crowd:
            env["FEDOPS_SERVER_HEARTBEAT_SECONDS"] = CROWD_HEARTBEAT
        with Federation(self.home, env) as federation, self.screen:
            self._bring_up(federation)
            ended = self._train(federation)
            report = self._report(federation, ended)
            if self.plan.xai:
                report["contact_sheets"] = self._contact_sheets(federation, ended)
        report["total_seconds"] = round(time.monotonic() - began, 2)
        kept = self._keep(federation) if self.plan.keep else None
        self.screen.closing(report, self._snippet(report), federation, kept)
        return report

    def _contact_sheets(self, federation: Federation, run: c.RunRead) -> list[str]:
        """The last round's contact sheet of each device, once its explanation is finished."""
        self.screen.say("waiting for the explanations of the last round")
        folder = Project.open(self.app).config.xai.output_dir
        place = Path(folder) / f"run-{run.id}" / f"round-{run.committed_rounds:04d}"
        found = []
        for name in self.plan.names:
            path = federation.device_home(name) / place
            federation.until(f"{path}/report.json", (path / "report.json").is_file, 120.0)
            found += [str(sheet) for sheet in sorted(path.glob("sheet-*.png"))]
        return found

    def _keep(self, federation: Federation) -> int:
        """Start the server again, on its data; returns its process id."""
        self.screen.say("starting the Server Manager again, to stay")
        pid = federation.keep_server()
        (self.home / MARKER).write_text(str(pid))
        return pid

    def _snippet(self, report: Mapping[str, Any]) -> str:
        model = Project.open(self.app).config.model
        module, _, name = model.target.rpartition(".")
        arguments = ", ".join(f"{key}={value!r}" for key, value in model.kwargs.items())
        return SNIPPET.format(
            module=module, name=name, arguments=arguments, path=report["model_path"]
        )

    def _bring_up(self, federation: Federation) -> None:
        self.screen.say("starting the Server Manager")
        with ThreadPoolExecutor(1) as pool:
            packing = pool.submit(PackedApp.of, self.app)
            federation.start_server()
        self.screen.say(f"creating the task and enrolling {self.plan.devices} devices")
        with federation.operator() as operator:
            bundle, overrides = packing.result().upload(operator), list(self.data.overrides)
            operator.create_task(c.TaskCreate(name=TASK, bundle=bundle, overrides=overrides))
            body = c.TokenCreate(uses=self.plan.devices, note="demo")
            token = operator.create_token(body).token
        crowd = self._crowd
        with ThreadPoolExecutor(min(self.plan.devices, AT_ONCE)) as pool:
            jobs = [
                pool.submit(self._enrol, federation, name, index, str(token), crowd)
                for index, name in enumerate(self.plan.names)
            ]
            try:
                for ready, job in enumerate(as_completed(jobs), start=1):
                    job.result()
                    if crowd and ready % 10 == 0:
                        self.screen.say(f"{ready} of {self.plan.devices} devices are ready")
            except BaseException:  # what the other threads wait for must end first
                pool.shutdown(wait=False, cancel_futures=True)
                federation.close()
                raise

    def _enrol(
        self, federation: Federation, name: str, index: int, token: str, crowd: bool
    ) -> None:
        """Join a device and start its client. In a crowd it is up before the next one begins."""
        federation.join(name, token)
        if crowd:
            (federation.device_home(name) / "device.toml").write_text(POLITE)
        overrides = self.plan.device_overrides(index, self.data)
        federation.start_client(name, self.app, TASK, overrides=overrides)
        if crowd:
            federation.until_ready([name], CROWD_SECONDS)

    def _train(self, federation: Federation) -> c.RunRead:
        with federation.operator() as operator:
            start = c.RunStart(overrides=[*self.plan.overrides, *self.data.overrides])
            run = operator.start_run(TASK, start)
            self.screen.say(f"run {run.id} started")

            def look() -> c.RunRead | None:
                federation.check_parts()
                self.census.take(federation)
                try:
                    current = operator.run(run.id)
                    self.screen.update(current, operator.rounds(run.id), operator.devices())
                except Unavailable:  # its process lives (see above): it is only busy
                    return None
                return current if current.status in RUN_TERMINAL else None

            ended = federation.until("the run to end", look, seconds=3_600.0, pause=0.4)
        if ended.status is not RunStatus.COMPLETED:
            raise FedOpsError(
                f"the run ended as {ended.status}: {ended.why} (logs: {self.home / 'logs'})"
            )
        return ended

    def _report(self, federation: Federation, run: c.RunRead) -> dict[str, Any]:
        with federation.operator() as operator:
            rounds = operator.rounds(run.id)
            model = operator.model(TASK, str(run.version))
            path = self.home / f"{TASK}-{version_name(run.version)}.safetensors"
            operator.download_model(TASK, str(run.version), path)
        records = [round_record(round_) for round_ in rounds]
        return {
            "dataset": model.lineage.get("dataset"),
            "devices": self.plan.devices,
            "rounds": records,
            "final_accuracy": run.metrics.get("accuracy"),
            "model_version": version_name(run.version),
            "model_path": str(path),
            "model_sha256": model.sha256,
            "total_seconds": 0.0,
            "processes": self.census.rows(),
        }


def round_record(round_: c.RoundRead) -> dict[str, Any]:
    """A round as ``--json`` shows it."""
    return {
        "round": round_.round,
        "accuracy": accuracy_of(round_),
        "loss": loss_of(round_),
        "seconds": round_.seconds,
        "overhead_seconds": round_.overhead_seconds,
        "participants": replied(round_.participations),
    }


def replied(participations: Sequence[c.ParticipationRead]) -> list[str]:
    """The devices whose update is part of the round's model."""
    return sorted(p.device for p in participations if p.status is ParticipationStatus.REPLIED)


def find_app() -> Path:
    """``apps/mnist-xai`` of the checkout this package was installed from.

    Raises:
        NotFound: the package was installed without its checkout.
    """
    folder = Path(__file__).resolve().parents[3] / "apps" / "mnist-xai"
    if not (folder / "pyproject.toml").is_file():
        raise NotFound(
            "the demo's app is not installed with the package; clone the repository and "
            "'pip install -e .' there, or give the app's folder with --app PATH"
        )
    return folder


def prepare_home(home: Path | None) -> Path:
    """The demo's own directory, empty: what an earlier demo left there is removed.

    Raises:
        Conflict: the directory holds something else, or an earlier demo's server still runs on it.
    """
    if home is None:
        return Path(tempfile.mkdtemp(prefix="fedops-demo-"))
    home = home.expanduser().resolve()
    marker = home / MARKER
    if marker.exists():
        _require_gone(home, marker.read_text().strip())
        shutil.rmtree(home)
    elif home.exists() and any(home.iterdir()):
        raise Conflict(f"{home} is not empty and not of an earlier demo; give another --home")
    home.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return home


def _require_gone(home: Path, pid: str) -> None:
    if pid and psutil.pid_exists(int(pid)):
        raise Conflict(f"an earlier demo's server still runs on {home}; end it with: kill {pid}")
