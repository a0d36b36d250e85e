"""The Client Manager: one process per device that keeps it in touch with the server and training.

It puts the parts together: the connection to the server, the device's work, the supervisor of the training
client, the spool, the local API.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from fedops.api_client import proxy_for
from fedops.client.deployment.own_release import OwnRelease, upgrade_env
from fedops.client.device.authority_pin import AuthorityPin
from fedops.client.device.conditions import ConditionWatch
from fedops.client.device.data_dir import DataDir, Identity, write_secret
from fedops.client.device.device_config import DeviceConfig
from fedops.client.device.enrolment import describe_device
from fedops.client.device.training_home import TrainingHome
from fedops.client.local.http import LocalServer, bind
from fedops.client.local.messages import ClientInfo, ClientStatus
from fedops.client.local.status_text import why
from fedops.client.manager.app_sources import AppSources, Around
from fedops.client.manager.client_status import (
    LocalActions,
    client_info,
    local_app,
    server_status,
)
from fedops.client.manager.connections import Connections
from fedops.client.manager.credential_renewal import DAY_SECONDS, CredentialRenewal
from fedops.client.manager.monitoring import Monitoring
from fedops.client.manager.options import Options
from fedops.client.manager.readiness import ReadinessBook
from fedops.client.manager.report_intake import ReportIntake
from fedops.client.manager.server_connection import ServerConnection
from fedops.client.manager.spool_sender import GOODBYE_SECONDS, SpoolSender, say_goodbye
from fedops.client.manager.standing import Standing
from fedops.client.manager.task_configs import TaskConfigsTeller
from fedops.client.manager.task_selection import choose_tasks
from fedops.client.serving.serving_desk import ServingDesk
from fedops.client.spool.program_lines import ProgramLines
from fedops.client.spool.spool import Spool
from fedops.client.supervision.process_news import ProcessNews
from fedops.client.supervision.process_setup import Signals
from fedops.client.supervision.supervisor import Supervisor
from fedops.client.supervision.training_program import TrainingPrograms
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Over, Reachability
from fedops.client.work.reconciler import Reconciler
from fedops.client.work.transfers import Transfers
from fedops.client.work.work_desk import Outside, WorkDesk
from fedops.core.contracts import ProcessReport, Work, WorkPoll
from fedops.core.errors import FedOpsError, Forbidden, Invalid, NotApproved, Unavailable
from fedops.core.restart_policy import SupervisionPolicy
from fedops.processes.threads import in_thread
from fedops.settings import ClientSettings

logger = logging.getLogger("fedops.client")
T = TypeVar("T")

_LOOK_SECONDS = 1.0


class ClientManager:
    """The parts, put together."""

    def __init__(
        self,
        settings: ClientSettings,
        options: Options,
        home: DataDir,
        identity: Identity,
        config: DeviceConfig,
    ) -> None:
        self._settings = settings
        self._options = options
        self._home = home
        self._identity = identity
        self._config = config
        self._training = TrainingHome(home, config.limits, options.output_dir)
        self._training.prepare()
        self._url = (settings.server or identity.server).rstrip("/")
        self._tasks: list[str] = list(options.tasks)
        self._ended = threading.Event()
        self._error: FedOpsError | None = None
        self._life, self._machine = uuid.uuid4().hex, describe_device()
        self._standing = Standing(identity, self._url, self.end)
        self._proxy = proxy_for(self._url, config.network.proxy)
        self._pin = AuthorityPin(home, settings.ca_file)
        self._to = Connections.open(self._url, identity.token, self._pin.context, self._proxy)
        self._reach = Reachability(self._url)
        self._spool = Spool(home.spool, settings.spool_bytes)
        self._make_program_parts()
        self._make_work_parts()
        self._make_server_parts()
        self._make_local_parts()

    def _make_program_parts(self) -> None:
        """What starts the training client, and reads what it says."""
        log = self._home.logs / "training-client.log"
        self._lines = ProgramLines(self._working_for, log, self._options.echo)
        self._programs = TrainingPrograms(
            self._home,
            self._config,
            self._training,
            self._options.training_command,
            self._options.overrides,
            self._settings.host,
            self._settings.training_port,
            lambda: (self._identity.name, self._identity.device_id),
        )
        self._process_news = ProcessNews(lambda: self._server.tell_now(), self._given_up)
        self._supervisor = self._make_supervisor()

    def _make_work_parts(self) -> None:
        """What is between the server's work and the training client."""
        self._reconciler = Reconciler(
            self._supervisor,
            self._training.place.make_training_token(),
            lambda: self._desk.stopped,
        )
        self._readiness = ReadinessBook(self._home.refusal, lambda: self._server.tell_now())
        self._conditions = ConditionWatch(self._config.conditions, lambda: self._server.tell_now())
        self._intake = ReportIntake(
            self._spool,
            self._reconciler,
            self._readiness,
            self._supervisor.replace,
            lambda fingerprint: self._apps.learn(fingerprint),
        )
        self._configs = TaskConfigsTeller(
            self._to.device, self._reconciler, lambda: self._readiness.refuses
        )
        self._desk = self._make_desk()
        self._apps = self._make_apps()

    def _make_server_parts(self) -> None:
        """What talks to the server."""
        self._server = ServerConnection(
            self._to.poll, self._to.news, self._reach, self._say, self._take, self._refused
        )
        self._renewal = CredentialRenewal(
            self._home,
            self._identity,
            self._to.renewal,
            self._reach,
            self._to.use_token,
            self._settings.credential_days * DAY_SECONDS,
        )
        self._sender = SpoolSender(self._to.device, self._spool, self._reach)
        serving, tell = self._config.serving, self._server.tell_now
        self._serving = ServingDesk(serving, self._home, self._to.blobs, self._reach, tell)
        allowed, env = self._config.deploy.upgrade, upgrade_env(self._url, self._settings.ca_file)
        self._release = OwnRelease(self._home, allowed, self._desk, tell, self._leave, env=env)

    def _make_local_parts(self) -> None:
        """What measures this machine, and answers who asks on it."""
        self._housekeeping = Monitoring(
            self._home.path,
            self._config,
            self._spool,
            self._supervisor,
            self._lines.logs,
            lambda: self._server.telemetry_seconds,
            self._conditions,
        )
        restart, decide = self._supervisor.restart, self._serving.decide
        actions = LocalActions(
            self.status, self._info, self._apps, decide, self.end, self._leave, restart
        )
        local = local_app(self._home.make_local_token(), actions)
        self._local = LocalServer(local, bind(self._settings.host, self._settings.port))

    def _make_supervisor(self) -> Supervisor:
        start, restart = self._settings.start_seconds, self._settings.restart_seconds
        return Supervisor(
            self._programs.none("it is not known yet which app to run"),
            self._lines.output,
            SupervisionPolicy(start_seconds=start, backoff_seconds=restart),
            self._process_changed,
            lambda message: self._intake.take(message),
        )

    def _make_desk(self) -> WorkDesk:
        models = ModelCache(self._home.models, self._settings.model_bytes)
        transfers = Transfers(
            self._to.work, self._to.blobs, models, self._reach, lambda: self._desk.stopped
        )
        outside = Outside(
            news=lambda: self._server.work_done(),
            refused=self._refused,
            event=self._intake.event,
            metric=self._intake.metric,
            ended=self._readiness.ended,
        )
        limit = self._config.limits.assignments
        return WorkDesk(
            self._home,
            self._to.work,
            transfers,
            self._reconciler,
            outside,
            limit,
            self._training,
        )

    def _make_apps(self) -> AppSources:
        around = Around(
            settings=self._settings,
            options=self._options,
            programs=self._programs,
            supervisor=self._supervisor,
            to=self._to,
            reach=self._reach,
            turn=self._desk,
            news=lambda: self._server.tell_now(),
            event=lambda name, text: self._intake.event(name, text, None, None),
        )
        return AppSources(around)

    # --- its life ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until told to end; raises what made it end, if that is an error."""
        self._lines.start()
        self._conditions.look()
        self._apps.begin()  # it may refuse: then nothing is running yet
        self._local.start()
        here = {"pid": os.getpid(), "url": self._local.url}
        write_secret(self._home.local_api, json.dumps(here) + "\n")
        logger.info("Client Manager of '%s' on %s", self._identity.name, self._local.url)
        self._supervisor.start()
        self._housekeeping.start()
        try:
            self._desk.start()
            with contextlib.suppress(Over):
                self._insist(self._renewal.settle)
                self._choose_tasks()
                self._serving.start(self._tasks)
            self._server.start()
            self._sender.start()
            if not self._options.provided:
                self._renewal.start()
            self._pin.follow(self._to.device)
            while not self._ended.wait(_LOOK_SECONDS):
                pass  # a signal that another thread took is handled when this one wakes
        finally:
            self._close()
        if self._error is not None:
            raise self._error

    def end(self, error: FedOpsError | None = None) -> None:
        """Make ``run`` return (raise the error). May be called from any thread."""
        if error is not None and self._error is None:
            self._error = error
        self._ended.set()
        self._reach.wake()

    def signals(self) -> Signals:
        """While this is entered, SIGTERM and SIGINT end the Client Manager in good order."""
        return Signals(self.end)

    def _choose_tasks(self) -> None:
        """Which tasks to take part in: checked against what the server has, however long it is away."""
        names = [task.name for task in self._insist(self._to.device.tasks)]
        self._tasks = choose_tasks(self._options.tasks, names, self._url)
        self._apps.choose(self._tasks)

    def _insist(self, call: Callable[[], T]) -> T:
        return self._reach.insist(call, self._ended.is_set, self._not_yet)

    def _not_yet(self, error: FedOpsError) -> None:
        if isinstance(error, NotApproved):
            self._server.start()  # so that an operator sees it, and it hears of their decision
        else:
            self._reach.failed(error)

    def _refused(self, error: FedOpsError) -> None:
        """The server wants nothing more of us, unless it means a credential that was just replaced."""
        if self._renewal.is_open:
            self._renewal.look_now()
        elif not (isinstance(error, Forbidden) and self._renewal.go_back()):
            self._standing.refused(error)

    def _close(self) -> None:
        self._apps.stop()
        self._desk.stop()
        self._serving.stop()
        self._release.stop()
        self._supervisor.stop()
        self._housekeeping.stop()
        if not isinstance(self._error, Forbidden | Invalid):
            said = in_thread(say_goodbye, self._server, self._sender, self._reach)
            said.join(GOODBYE_SECONDS)
        self._server.stop()
        self._renewal.stop()
        self._sender.stop()
        self._pin.stop()
        self._local.stop()
        self._home.local_api.unlink(missing_ok=True)
        self._lines.stop()
        self._spool.close()

    # --- the server --------------------------------------------------------------------------------

    def _say(self, after: int, wait: float) -> WorkPoll:
        poll = WorkPoll(
            life=self._life,
            tasks=self._tasks,
            info=self._machine if self._server.wanted is None else None,
            process=self._process(),
            held=self._desk.held(),
            spool_records=self._spool.count,
            spool_dropped=self._spool.dropped,
            deployments=self._apps.reports(),
            serving=self._serving.reports(),
            after=after,
            wait=wait,
        )
        return self._release.report(poll)

    def _take(self, work: Work) -> bool:
        """The server's wish, heard now."""
        if work.name not in ("", self._identity.name):
            self._identity = self._standing.rename(work.name, self._home)
            self._supervisor.replace(f"this device is called '{work.name}' now")
        self._standing.hear(work)
        self._configs.heed(work)
        self._apps.take(work)
        self._serving.take(work)
        self._release.take(work)
        return self._desk.take(work)

    def _working_for(self) -> tuple[int | None, int | None]:
        """The run and round that a line logged now belongs to, as far as that is clear."""
        return self._desk.working_for() or (self._server.only_run, None)

    # --- the training client -----------------------------------------------------------------------

    def _process(self) -> ProcessReport:
        """The training client, whether it is ready, and whether its owner lets it take work now."""
        return self._conditions.report(self._readiness.report(self._supervisor.report()))

    def _process_changed(self, report: ProcessReport) -> None:
        self._reconciler.changed(report)
        self._readiness.process(report.status)
        self._process_news.take(report)

    def _given_up(self, reason: str) -> None:
        self._intake.event("training_client_given_up", reason, None, None)
        if self._options.end_when_given_up:
            self.end(FedOpsError(f"the training client is given up: {reason}"))

    # --- the local API -----------------------------------------------------------------------------

    def status(self) -> ClientStatus:
        """Both directions: what the server wants, and how we are."""
        status = ClientStatus(
            device=self._identity.name,
            home=str(self._home.path),
            running=True,
            pid=os.getpid(),
            url=self._local.url,
            app=self._apps.folder,
            tasks=self._tasks,
            server=server_status(self._url, self._proxy, self._reach.reach, self._server.wanted),
            process=self._process(),
            deployment=self._apps.status(),
            training_url=self._reconciler.training_url,
            held=self._desk.status(),
            serving=self._serving.status(),
            spool_records=self._spool.count,
            spool_dropped=self._spool.dropped,
        )
        return status.model_copy(update={"why": why(status)})

    def _info(self) -> ClientInfo:
        app = self._apps.folder
        return client_info(self._identity.name, self._home, self._url, app, self._config)

    def _leave(self) -> None:
        """With an exit code, so that systemd and its like start what is installed now."""
        self.end(
            Unavailable("another release of FedOps is installed: this one ends to be started anew")
        )
