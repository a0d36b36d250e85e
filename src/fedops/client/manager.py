"""The Client Manager: one process per device that keeps it in touch with the server and training.

It puts the parts together: the link to the server, the supervisor of the training client, what steers it,
the spool, the local API. ``run_client`` is what ``fedops client run`` calls.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from fedops.api_client import DeviceClient
from fedops.client.device_config import DeviceConfig, load_device_config
from fedops.client.housekeeping import Housekeeping
from fedops.client.identity import Home, Identity, load_identity, write_secret
from fedops.client.link import Link
from fedops.client.local_api import LocalServer, bind, make_app
from fedops.client.loglines import LineHandler, LogLines
from fedops.client.orders import ClientInfo, ClientStatus, ServerStatus, TrainingArgs
from fedops.client.output import Echo, Output
from fedops.client.spool import Spool
from fedops.client.steering import Steering
from fedops.client.supervisor import Message, Program, Supervisor
from fedops.client.taskchoice import choose_tasks
from fedops.client.words import why
from fedops.core.contracts import Desired, Heartbeat, LogSource, ProcessReport, RecordKind
from fedops.core.errors import FedOpsError, Forbidden, Unavailable
from fedops.core.policies import SupervisionPolicy
from fedops.core.states import Enrolment, ProcessStatus
from fedops.failpoints import reached
from fedops.processes import hold_lock
from fedops.scalize.project import Project
from fedops.settings import ClientSettings

logger = logging.getLogger("fedops.client")

#: How the training client is started: two more arguments follow.
TRAINING_COMMAND = (sys.executable, "-m", "fedops.client.training")
#: Whose lines go to the server: neither those of libraries nor (again) the training client's.
_OURS = logging.getLogger("fedops")
_SOURCES = (LogSource.CLIENT_MANAGER, LogSource.TRAINING_CLIENT)
_GOODBYE_SECONDS = 1.5
_RETRY_SECONDS = 2.0


@dataclass
class Options:
    """What is not a setting of the device: how this Client Manager is run."""

    app_dir: Path
    tasks: Sequence[str] = ()
    overrides: Sequence[str] = ()
    echo: Echo | None = None
    #: End with an error when the training client is given up, rather than stay for a later try.
    end_when_given_up: bool = False
    #: None: the usual one, as far as the settings say nothing else.
    policy: SupervisionPolicy | None = None
    training_command: Sequence[str] = TRAINING_COMMAND


def run_client(
    settings: ClientSettings,
    app_dir: Path,
    tasks: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    echo: Echo | None = None,
    end_when_given_up: bool = False,
) -> None:
    """Run a Client Manager until SIGTERM, SIGINT or ``POST /stop``.

    Raises:
        NotFound: the device has not joined, or there is no such task.
        Conflict: another Client Manager runs on this data dir.
        Invalid: the app's folder, its config or ``device.toml`` is wrong.
        Forbidden: the server does not want this device (any more).
    """
    project = Project.open(app_dir, overrides)
    if not tasks and project.config.task_id not in ("", "task_id"):
        tasks = [project.config.task_id]
    options = Options(
        app_dir.resolve(), tasks, overrides, echo=echo, end_when_given_up=end_when_given_up
    )
    manage(settings, options)


def manage(settings: ClientSettings, options: Options) -> None:
    """Run a Client Manager whose app is known to be sound."""
    home = Home(settings.home)
    identity = load_identity(home)
    config = load_device_config(home.device_config)
    lock = hold_lock(home.lock, "a Client Manager")
    try:
        manager = ClientManager(settings, options, home, identity, config)
        with manager.signals():
            manager.run()
    finally:
        lock.close()


class ClientManager:
    """The parts, put together."""

    def __init__(
        self,
        settings: ClientSettings,
        options: Options,
        home: Home,
        identity: Identity,
        config: DeviceConfig,
    ) -> None:
        self._settings = settings
        self._options = options
        self._home = home
        self._identity = identity
        self._config = config
        self._url = (settings.server or identity.server).rstrip("/")
        self._tasks: list[str] = list(options.tasks)
        self._ended = threading.Event()
        self._error: FedOpsError | None = None
        self._life = uuid.uuid4().hex
        self._enrolment: Enrolment | None = None
        self._problems: list[str] = []
        self._runs: set[int] = set()
        self._client = DeviceClient(self._url, token=identity.token)
        self._spool = Spool(home.spool, settings.spool_bytes)
        self._logs = {source: LogLines(self._working_for) for source in _SOURCES}
        self._handler = LineHandler(self._logs[LogSource.CLIENT_MANAGER])
        training = self._logs[LogSource.TRAINING_CLIENT]
        self._output = Output(home.logs / "training-client.log", options.echo, training)
        token = home.make_local_token()
        policy = options.policy or SupervisionPolicy(start_seconds=settings.start_seconds)
        self._supervisor = Supervisor(
            self._program(), self._output, policy, self._process_changed, self._process_said
        )
        self._link = Link(
            self._client, self._spool, self._heartbeat, self._take_desired, self._refused
        )
        self._steering = Steering(self._supervisor, token, lambda: self._link.clock_offset)
        self._housekeeping = Housekeeping(
            home.path, config, self._spool, self._supervisor, self._logs, self._telemetry_seconds
        )
        self._local = LocalServer(self._local_app(token), bind(settings.host, settings.port))

    def _program(self) -> Program:
        args = TrainingArgs(
            home=self._home.path.resolve(),
            server=self._url,
            device=self._identity.name,
            app_dir=self._options.app_dir,
            overrides=list(self._options.overrides),
            host=self._settings.host,
            port=self._settings.training_port,
        ).model_dump_json()
        tree = hashlib.sha256(str(self._home.path.resolve()).encode()).hexdigest()[:16]
        return Program(
            command=lambda pipe: [*self._options.training_command, args, str(pipe)],
            env=_child_env(self._config),
            cwd=self._options.app_dir,
            pid_file=self._home.child_pid,
            tree=f"client-{tree}",
        )

    # --- its life ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until told to end; raises what made it end, if that is an error."""
        _OURS.addHandler(self._handler)
        self._local.start()
        here = {"pid": os.getpid(), "url": self._local.url}
        write_secret(self._home.local_api, json.dumps(here) + "\n")
        logger.info("Client Manager of '%s' on %s", self._identity.name, self._local.url)
        self._steering.start()
        self._supervisor.start()
        self._housekeeping.start()
        try:
            self._choose_tasks()
            self._link.start()
            self._ended.wait()
        finally:
            self._close()
        if self._error is not None:
            raise self._error

    def end(self, error: FedOpsError | None = None) -> None:
        """Make ``run`` return (raise the error). May be called from any thread."""
        if error is not None and self._error is None:
            self._error = error
        self._ended.set()

    def signals(self) -> _Signals:
        """While this is entered, SIGTERM and SIGINT end the Client Manager in good order."""
        return _Signals(self.end)

    def _choose_tasks(self) -> None:
        """Which tasks to take part in: checked against what the server has, however long it is away."""
        said = False
        while not self._ended.is_set():
            try:
                ready = [task.name for task in self._client.tasks()]
                self._tasks = choose_tasks(self._options.tasks, ready, self._url)
                return
            except Unavailable as error:
                if not said:
                    logger.warning("%s; trying again", error.message)
                    said = True
                self._ended.wait(_RETRY_SECONDS)

    def _close(self) -> None:
        self._supervisor.stop()
        self._steering.stop()
        self._housekeeping.stop()
        goodbye = threading.Thread(target=self._say_goodbye, daemon=True)
        goodbye.start()
        goodbye.join(_GOODBYE_SECONDS)
        self._link.stop()
        self._local.stop()
        self._home.local_api.unlink(missing_ok=True)
        _OURS.removeHandler(self._handler)
        self._output.close()
        self._spool.close()

    def _say_goodbye(self) -> None:
        if not isinstance(self._error, Forbidden) and self._link.reach.reachable:
            try:
                self._client.heartbeat(self._heartbeat())
                self._link.flush(_GOODBYE_SECONDS)
            except FedOpsError as error:
                logger.debug("the server did not hear our goodbye: %s", error.message)

    # --- the server --------------------------------------------------------------------------------

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            life=self._life,
            tasks=self._tasks,
            process=self._supervisor.report(),
            quiet_runs=self._steering.quiet_runs(),
            spool_records=self._spool.count,
            spool_dropped=self._spool.dropped,
        )

    def _take_desired(self, desired: Desired) -> None:
        """The server's wish, heard now."""
        if desired.enrolment is not self._enrolment:
            self._enrolment = desired.enrolment
            self._take_enrolment(desired.enrolment)
        for problem in desired.problems:
            if problem not in self._problems:
                logger.warning("the server says: %s", problem)
        self._problems = desired.problems
        self._supervisor.work_seconds = desired.work_seconds
        self._steering.want(desired)
        over, self._runs = self._runs - set(desired.runs), set(desired.runs)
        if over:  # somebody waits for our word that we are quiet
            self._link.beat_now()

    def _take_enrolment(self, enrolment: Enrolment) -> None:
        name = self._identity.name
        if enrolment is Enrolment.PENDING:
            logger.info("waiting for an operator: 'fedops device approve %s'", name)
        elif enrolment in (Enrolment.REJECTED, Enrolment.REVOKED):
            self._refused(Forbidden(f"device '{name}' was {enrolment} by the operator"))

    def _refused(self, error: FedOpsError) -> None:
        """The server wants nothing more of us: training stops, and so do we."""
        self.end(
            Forbidden(
                f"training stopped, the server at {self._url} refuses this device: {error.message}; "
                "to join anew, give 'fedops join' another data dir with --home"
            )
        )

    def _working_for(self) -> tuple[int | None, int | None]:
        """The run and round that a line logged now belongs to, as far as that is clear."""
        report, desired = self._supervisor.report(), self._link.desired
        if report.run_id is not None:
            return report.run_id, report.round
        wanted = desired.runs if desired else []
        return (wanted[0] if len(wanted) == 1 else None), None

    def _telemetry_seconds(self) -> float:
        desired = self._link.desired
        return desired.telemetry_seconds if desired else 10.0

    # --- the training client -----------------------------------------------------------------------

    def _process_changed(self, report: ProcessReport) -> None:
        self._steering.changed(report)
        self._link.beat_now()
        if report.status is ProcessStatus.FATAL:
            reason = report.reason or "it ended again and again"
            self._spool.put(RecordKind.EVENT, "training_client_given_up", text=reason)
            if self._options.end_when_given_up:
                self.end(FedOpsError(f"the training client is given up: {reason}"))

    def _process_said(self, message: Message) -> None:
        """Keep what the training client reports."""
        kind, data = message.get("kind"), dict(message.get("data") or {})
        if kind == "ready":
            self._steering.ready(int(message["port"]))
        elif kind == "event":
            self._keep(RecordKind.EVENT, str(message.get("name")), message, data)
        elif kind == "metric":
            self._keep(RecordKind.METRIC, str(message.get("name")), message, data)
        elif kind == "ended":
            data = {"code": message.get("code"), "status": message.get("status")}
            self._keep(RecordKind.EVENT, "training_client_ended", message, data)

    def _keep(self, kind: RecordKind, name: str, message: Message, data: dict[str, object]) -> None:
        reached(f"manager.{kind}.heard")
        run_id = message.get("run_id", data.pop("run_id", None))
        round_ = message.get("round", data.pop("round", None))
        self._spool.put(
            kind,
            name,
            value=message.get("value"),
            text=str(message.get("text", "")),
            run_id=run_id if isinstance(run_id, int) else None,
            round=round_ if isinstance(round_, int) else None,
            data=data,
        )

    # --- the local API -----------------------------------------------------------------------------

    def status(self) -> ClientStatus:
        """Both directions: what the server wants, and how we are."""
        reach, desired = self._link.reach, self._link.desired
        server = ServerStatus(
            url=self._url,
            reachable=reach.reachable,
            seconds=round(time.time() - reach.since, 1) if reach.since else 0.0,
            problem=reach.problem,
            enrolment=desired.enrolment if desired else None,
            node_id=desired.node_id if desired else None,
            runs=desired.runs if desired else [],
            tasks=desired.tasks if desired else [],
            problems=desired.problems if desired else [],
        )
        status = ClientStatus(
            device=self._identity.name,
            home=str(self._home.path),
            running=True,
            pid=os.getpid(),
            url=self._local.url,
            app=str(self._options.app_dir),
            tasks=self._tasks,
            server=server,
            process=self._supervisor.report(),
            training_url=self._steering.training_url,
            spool_records=self._spool.count,
            spool_dropped=self._spool.dropped,
        )
        return status.model_copy(update={"why": why(status)})

    def _info(self) -> ClientInfo:
        return ClientInfo(
            device=self._identity.name,
            fedops=version("fedops"),
            home=str(self._home.path),
            server=self._url,
            app=str(self._options.app_dir),
            limits=self._config.limits.model_dump(),
            uploads=self._config.uploads.model_dump(),
        )

    def _local_app(self, token: str) -> FastAPI:
        app = make_app("FedOps Client Manager", token)
        app.get("/status", response_model=ClientStatus)(self.status)
        app.get("/info", response_model=ClientInfo)(self._info)
        app.post("/stop", status_code=202)(self._asked_to_stop)
        app.post("/restart", status_code=202)(self._asked_to_restart)
        return app

    def _asked_to_stop(self) -> None:
        self.end()

    def _asked_to_restart(self) -> None:
        self._supervisor.restart()


class _Signals:
    """Turns SIGTERM and SIGINT into a call, where this thread may do so."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, lambda *_: self._end())

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _child_env(config: DeviceConfig) -> dict[str, str]:
    env = {"FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    if threads := config.limits.threads:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env |= dict.fromkeys(names, str(threads))
    return env
