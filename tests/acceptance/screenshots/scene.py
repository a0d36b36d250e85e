"""A federation with something of everything to show: runs of each kind, versions, commits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from federating import QUIET, until
from pushing import TASK, Deploying

from fedops.core import contracts as c
from fedops.core.states import Role, RunStatus
from fedops.demo.data import choose
from fedops.demo.federation import Federation

ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "apps" / "mnist-xai"
#: Four, because the integrity of an update is told by comparing it with three others at least. A long name
#: shows what tables do with it.
SITES = ("clinic-north", "clinic-south", "harbour-clinic", "university-hospital-radiology-ct-2")
TAGS = {"clinic-north": ["clinic", "gpu"], "clinic-south": ["clinic"], SITES[3]: ["hospital", "ct"]}
WARDS = ("ward-1", "ward-2")
QUICK = {"FEDOPS_CLIENT_DEPLOY_LOOK_SECONDS": "1", "PYTHONDONTWRITEBYTECODE": "", **QUIET}
PASSWORD = "correct horse battery"
_LEARNS = [
    "batch_size=32",
    f"clients_per_round={len(SITES)}",
    "random_seed=42",
    "xai.enabled=true",
    "xai.upload=images",
    "xai.samples=8",
    # So that there is a spread over the sites.
    "server.strategy.fraction_evaluate=1.0",
    "server.contribution.method=auto",
    "server.contribution.max_seconds=1.5",
]


class Scene:
    """Builds it step by step, and says which."""

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self.data = choose(None, download=False)
        self.federation = Federation(home / "federation", {**QUICK, **self.data.env})
        (home / "federation").mkdir(parents=True)
        self._deploying = Deploying(home, self.federation, WARDS, patience=400.0)

    def build(self) -> None:
        """Everything but the run that goes on while pictures are taken."""
        self._say("a server, a task from Git, four sites and two wards")
        first = self._deploying.commit("A model that sees one feature of six", NAME="A")
        self.federation.start_server()
        self._people()
        self._tasks()
        for name in WARDS:
            self._deploying.start(name)
        self._sites()
        self._say("a run that is explained and valued, and goes well")
        self._complete("mnist", "num_rounds=6")
        self._say("a commit reaches the wards")
        self._deploying.until_all_run(first)
        self._deliver()
        self._say("a second run, a version in use, and a run that fails")
        self._complete("mnist", "num_rounds=3")
        with self.federation.operator() as operator:
            operator.promote_model("mnist", "V1")
        self._fail()

    def run_on(self) -> int:
        """A run that goes on for as long as pictures are taken."""
        with self.federation.operator() as operator:
            run = operator.start_run(
                "mnist", c.RunStart(overrides=[*self._overrides, "num_rounds=200"])
            )

        def deep() -> bool:
            with self.federation.operator() as operator:
                return operator.run(run.id).committed_rounds >= 4

        self.federation.until("the run to have four rounds", deep, 180.0)
        return run.id

    @property
    def _overrides(self) -> list[str]:
        return [*_LEARNS, *self.data.overrides]

    def _people(self) -> None:
        people = (("olivia", Role.OPERATOR), ("vera", Role.VIEWER), ("arthur", Role.AUDITOR))
        with self.federation.operator() as operator:
            for name, role in people:
                operator.add_user(c.UserCreate(name=name, role=role, password=PASSWORD))

    def _tasks(self) -> None:
        self.federation.create_task("mnist", APP, self._overrides)
        policy = c.RolloutPolicy(judged_seconds=0.5, wave_seconds=600)
        source = c.SourceSet(
            url=str(self._deploying.repository), ref="main", poll_seconds=0, policy=policy
        )
        with self.federation.operator() as operator:
            operator.create_task(c.TaskCreate(name=TASK, source=source))

    def _sites(self) -> None:
        for index, name in enumerate(SITES):
            self.federation.join(name)
            (self.federation.device_home(name) / "device.toml").write_text(
                '[uploads]\nexplanations = "images"\n'
            )
            part = [
                "dataset.partition.scheme=dirichlet",
                "dataset.partition.alpha=0.5",
                f"dataset.partition.index={index}",
                f"dataset.partition.of={len(SITES)}",
                "xai.enabled=true",
                *self.data.overrides,
            ]
            self.federation.start_client(name, APP, "mnist", overrides=part)
        self.federation.until_ready(SITES, 120.0)
        with self.federation.operator() as operator:
            for name, tags in TAGS.items():
                operator.tag_device(name, c.DeviceTags(tags=tags))

    def _complete(self, task: str, *overrides: str) -> c.RunRead:
        with self.federation.operator() as operator:
            start = c.RunStart(overrides=[*self._overrides, *overrides])
            run = operator.start_run(task, start)
        return until(self.federation, run.id, RunStatus.COMPLETED, seconds=300.0)

    def _deliver(self) -> None:
        rule = c.PromotionRule(metric="accuracy", margin=0.01)
        with self.federation.operator() as operator:
            operator.set_schedule(
                TASK, "commits", c.ScheduleSet(trigger=c.OnCommit(), promotion=rule)
            )
            operator.fire_schedule(TASK, "commits")
        self._deploying.until_fired("commits", 1)
        better = self._deploying.commit("See all six features", NAME="B", FEATURES=6)
        self._deploying.until_all_run(better)

    def _fail(self) -> None:
        """A run that wants more devices than there are, gives up soon, and then needs somebody."""
        wants = [
            "clients_per_round=9",
            "server.strategy.min_available_clients=9",
            "server.round.wait_seconds=2",
        ]
        with self.federation.operator() as operator:
            run = operator.start_run(TASK, c.RunStart(overrides=wants))
        until(self.federation, run.id, RunStatus.FAILED, seconds=60.0)
