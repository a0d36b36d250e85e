"""The training client: an app's ClientApp with its warm model and data, in a process of its own.

Started and watched by the Client Manager (``python -m fedops.client.training.main ARGS REPORT_FD``). All that
it is told after that comes by its local port; what it has to say goes down a pipe. It never talks to the
server, and knows no credential of it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastapi import FastAPI

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import DeviceConfig, load_device_config
from fedops.client.device.epoch_checkpoints import EpochFiles
from fedops.client.local.http import LocalServer, bind, make_app
from fedops.client.local.messages import (
    StopRequest,
    TaskConfigs,
    TrainingArgs,
    TrainingClientStatus,
    WorkOrder,
)
from fedops.client.local.protocol import why_not_understood
from fedops.client.local.report_pipe import ReportPipe
from fedops.client.training.bench_run import BenchRunner
from fedops.client.training.readiness_watch import ReadinessWatch, TriesOut
from fedops.client.training.round_memory import RoundStore
from fedops.client.training.wandb_reporter import WandbReporter, rounds_to_wandb
from fedops.client.training.watch_run import WatchRunner
from fedops.client.training.work_loop import App, WorkLoop
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.platforms.processes import inherited_descriptor, lower_priority
from fedops.processes.confining import confine
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.trainer.device_context import Device
from fedops.trainer.explanations import RoundExplanations

logger = logging.getLogger("fedops.training")

#: What the device's owner makes of a config.
Adjust = Callable[[dict[str, Any]], dict[str, Any]]
Build = Callable[[TrainingArgs, Device, Adjust], App]
#: How long the end of the training client may wait for the explanation of its last round.
_LAST_EXPLANATION_SECONDS = 1.0


class Terminated(BaseException):
    """SIGTERM came. Not an Exception: nothing that trains may take it for its own."""


class OwnerLimits:
    """Lowers what an order's config asks for to what ``device.toml`` allows, and says so once each."""

    def __init__(self, config: DeviceConfig, report: ReportPipe) -> None:
        self._config = config
        self._report = report
        self._said: set[str] = set()

    def __call__(self, wanted: dict[str, Any]) -> dict[str, Any]:
        config, lowered = self._config.bound(wanted)
        for sentence in lowered:
            if sentence not in self._said:
                self._said.add(sentence)
                self._report.event("value_lowered", sentence)
        return config


def build_app(args: TrainingArgs, device: Device, adjust: Adjust) -> App:
    """The app in ``args.app_dir``, warm. Imports its framework."""
    from fedops.flower.client_app import DeviceApp
    from fedops.scalize.flow.project import Project

    home = DataDir(args.home)
    owner = load_device_config(home.device_config)
    project = Project.open(args.app_dir, [*args.overrides, *owner.overrides()])
    if project.config.wandb.use:  # the device's own word, not a run's
        device.report = rounds_to_wandb(device, args.device_id, project.config, home)
    app = DeviceApp(
        project, device, states=home.states, adjust=adjust, node_config=owner.node_config
    )
    app.warm_up()
    return app


def serve(args: TrainingArgs, report: ReportPipe, build: Build) -> None:
    """Serve until SIGTERM."""
    home = DataDir(args.home)
    owner = load_device_config(home.device_config)
    lower_priority(owner.limits.nice)
    memory = RoundStore(home.rounds, event=report.event)
    explanations = RoundExplanations(home.path, report, owner.uploads.explanations)
    epochs = EpochFiles(home.epochs)
    device = Device(
        args.device, report=report, memory=memory, explanations=explanations, epochs=epochs
    )
    app = build(args, device, OwnerLimits(owner, report))
    watch = _watch(app, args, report)
    loop = WorkLoop(
        app, device, epochs, report, watch, BenchRunner(args), WatchRunner(args, _reload(watch))
    )
    listening = bind(args.host, args.port)
    local = LocalServer(local_app(loop, report, home.make_training_token(), watch), listening)
    local.start()
    if watch is not None:
        watch.begin()
    report.ready(local.port)
    report.idle()
    logger.info("training client of '%s' is ready on port %d", args.device, local.port)
    try:
        loop.run()
    finally:
        memory.flush(1.0)
        explanations.close(_LAST_EXPLANATION_SECONDS)
        if isinstance(device.report, WandbReporter):
            device.report.close()


def _reload(watch: ReadinessWatch | None) -> Callable[[], None]:
    """What is done when the data has changed."""
    return (lambda: None) if watch is None else watch.data_changed


def _watch(app: App, args: TrainingArgs, report: ReportPipe) -> ReadinessWatch | None:
    if not isinstance(app, TriesOut):
        return None
    return ReadinessWatch(app, args.home, args.app_dir, args.overrides, report)


def local_app(
    loop: WorkLoop, report: ReportPipe, token: str, watch: ReadinessWatch | None = None
) -> FastAPI:
    """The local port: is it there, what is it to be ready for and to do, stop."""
    app = make_app("FedOps training client", token)

    @app.get("/online")
    def online() -> TrainingClientStatus:
        return report.now

    @app.post("/configs", status_code=202)
    def configs(body: TaskConfigs) -> TrainingClientStatus:
        if watch is not None:
            watch.hear(body.configs)
        return report.now

    @app.post("/work", status_code=202)
    def work(body: WorkOrder) -> TrainingClientStatus:
        loop.give(body)
        return report.now

    @app.post("/stop")
    def stop(body: StopRequest | None = None) -> TrainingClientStatus:
        loop.stop_work(body or StopRequest())
        return report.now

    return app


def main(arguments: Sequence[str] | None = None, build: Build = build_app) -> NoReturn:
    """Run a training client. Ends the process without waiting for threads that an app has started."""
    raw, descriptor = sys.argv[1:] if arguments is None else arguments
    if why := why_not_understood(raw, "training client"):
        _refuse(why, int(descriptor))
    args = TrainingArgs.model_validate_json(raw)
    held = _confine(args)  # first: it holds for this thread and those to come
    die_with_parent()
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    report = ReportPipe(inherited_descriptor(int(descriptor)))
    if isinstance(held, FedOpsError):
        report.fatal(held.message)
        code = held.exit_code
    else:
        report.describe(confined=held)
        code = _run(args, report, build)
    report.close()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _refuse(why: str, descriptor: int) -> NoReturn:
    """Say why nothing can come of it, in a way that every Client Manager has always heard."""
    report = ReportPipe(inherited_descriptor(descriptor))
    report.fatal(why)
    report.close()
    os._exit(Invalid.exit_code)


def _confine(args: TrainingArgs) -> str | FedOpsError:
    """What is in force; or why the app is not run."""
    try:
        return confine(args.confinement)
    except FedOpsError as error:
        return error


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _run(args: TrainingArgs, report: ReportPipe, build: Build) -> int:
    """Serve; returns the exit code. A mistake of the user's is one message, and no reason to try again."""
    try:
        serve(args, report, build)
    except Terminated:
        logger.info("asked to end")
    except Unavailable as error:
        logger.error("%s", error.message)
        return error.exit_code
    except FedOpsError as error:
        logger.error("%s", error.message)
        report.fatal(error.message)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
