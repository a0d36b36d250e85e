"""Where this Client Manager's app comes from: the command line, the server, or the owner's own folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedops.client.deployment.app_source import AppSource
from fedops.client.deployment.commits.downloads import Downloads
from fedops.client.deployment.commits.fetching import Fetching
from fedops.client.deployment.commits.places import Places, remembered_task
from fedops.client.deployment.commits.preparing import Preparation
from fedops.client.deployment.given_app import GivenApp
from fedops.client.deployment.keeper import Keeper, KeeperParts, Turn
from fedops.client.deployment.local_folder import LocalFolder
from fedops.client.deployment.own_environments import environments_of
from fedops.client.deployment.running import RunningApp
from fedops.client.deployment.switching import Switching
from fedops.client.deployment.trial import Trials
from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.client.manager.connections import Connections
from fedops.client.manager.options import Options
from fedops.client.spool.child_output import Output
from fedops.client.supervision.supervisor import Supervisor
from fedops.client.supervision.training_program import TrainingPrograms
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Reachability
from fedops.core.contracts import DeploymentReport, Work, require_name
from fedops.core.errors import Conflict, Invalid
from fedops.core.suggestions import comma_list
from fedops.settings import ClientSettings


@dataclass(frozen=True)
class Around:
    """What a source of apps works with."""

    settings: ClientSettings
    options: Options
    programs: TrainingPrograms
    supervisor: Supervisor
    to: Connections
    reach: Reachability
    turn: Turn
    #: Something changed that the server waits for.
    news: Callable[[], None]
    #: Something worth keeping happened: name and text.
    event: Callable[[str, str], None]


class AppSources:
    """The source in use. Before the task is known there is none, but with ``--app``."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._running = RunningApp(
            around.programs.home,
            around.programs,
            around.supervisor,
            around.settings.start_seconds,
        )
        self._task = ""
        self._source: AppSource | None = None
        options = around.options
        if options.app_dir is not None:
            self._source = GivenApp(options.app_dir, options.output_dir, self._running)

    @property
    def is_managed(self) -> bool:
        """Whether which app runs depends on the task."""
        return self._around.options.app_dir is None

    @property
    def folder(self) -> str | None:
        return self._source.folder if self._source else None

    def begin(self) -> None:
        """Run what is known without the server: the app given, or what ran last of the only task."""
        if not self.is_managed:
            assert self._source is not None
            self._source.start()
            return
        named = self._around.options.tasks
        if len(named) > 1:
            raise Invalid(_one_task(named))
        known = (
            named[0] if named else remembered_task(self._around.programs.training.place.deployments)
        )
        if known:
            self._use(known)

    def choose(self, tasks: Sequence[str]) -> None:
        """The tasks that the device takes part in, as the server has them.

        Raises:
            Invalid: there are several, and the code of one only can come from the server.
        """
        if self.is_managed and len(tasks) != 1:
            raise Invalid(_one_task(tasks))
        if self.is_managed:
            self._use(tasks[0])

    def _use(self, task: str) -> None:
        if task == self._task and self._source is not None:
            return
        require_name(task)
        if self._source is not None:
            self._source.stop()
        source = self._made(task)
        source.start()
        self._task, self._source = task, source

    def _made(self, task: str) -> AppSource:
        around, owner = self._around, self._around.programs.config.deploy
        look_seconds = around.settings.deploy_look_seconds
        if owner.source == "local":
            folder = Path(owner.folder).expanduser()
            return LocalFolder(task, folder, self._running, around.turn, around.news, look_seconds)
        return Keeper(self._parts(task))

    def _parts(self, task: str) -> KeeperParts:
        around, programs = self._around, self._around.programs
        owner, settings = programs.config.deploy, around.settings
        places = Places.of(programs.training, task)
        downloads = Downloads(around.to.blobs, around.reach)
        make = around.options.environments or environments_of(settings)
        environments = make(places, around.to.device.packages)
        models = ModelCache(programs.home.models, settings.model_bytes)
        fetching = Fetching(places, downloads, models, owner)
        preparation = Preparation(places, environments, downloads, around.reach)
        output = Output(programs.home.logs / "trial.log", echo=around.options.echo)
        trials = Trials(places, programs, output, settings.trial_seconds)
        return KeeperParts(
            places=places,
            fetching=fetching,
            preparation=preparation,
            switching=Switching(places, fetching, preparation, trials, self._running),
            turn=around.turn,
            owner=owner,
            platform=environments.platform,
            news=around.news,
            event=around.event,
            look_seconds=settings.deploy_look_seconds,
        )

    # --- what the source in use says ---------------------------------------------------------------

    def stop(self) -> None:
        if self._source is not None:
            self._source.stop()

    def take(self, work: Work) -> None:
        if self._source is not None:
            self._source.take(work)

    def learn(self, fingerprint: str) -> None:
        if self._source is not None:
            self._source.learn(fingerprint)

    def reports(self) -> list[DeploymentReport]:
        return self._source.reports() if self._source else []

    def status(self) -> DeployedStatus | None:
        return self._source.status() if self._source else None

    def awaited(self) -> AwaitedCommit:
        """See ``AppSource``."""
        return self._require().awaited()

    def approve(self, commit: str) -> None:
        """See ``AppSource``."""
        self._require().approve(commit)

    def _require(self) -> AppSource:
        if self._source is None:
            raise Conflict("it is not known yet which task this device takes part in: try again")
        return self._source


def _one_task(named: Sequence[str]) -> str:
    return (
        f"without --app a Client Manager takes part in one task, and here are {comma_list(named)}: name one "
        "with --task; for another, run another Client Manager with a data dir of its own (--home)"
    )
