"""The training client: a warm Flower node with the app's model and data, in a process of its own.

Started and watched by the Client Manager (``python -m fedops.client.training ARGS REPORT_FD``). Everything
it is told after that comes by its local port; what it has to say goes down a pipe.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastapi import FastAPI

from fedops.api_client import NodeClient
from fedops.client.checkpoints import RoundFiles
from fedops.client.device_config import DeviceConfig, load_device_config
from fedops.client.identity import Home, NodeSigner, load_key
from fedops.client.local_api import LocalServer, bind, make_app
from fedops.client.orders import Assignment, Online, StopOrder, TrainingArgs
from fedops.client.reporting import ReportPipe
from fedops.client.wandb_log import WandbReporter, rounds_to_wandb
from fedops.core.errors import FedOpsError, Unavailable
from fedops.flower.device import Device
from fedops.flower.explaining import RoundExplanations
from fedops.flower.fleet import Fleet
from fedops.flower.node import Handler, WarmNode
from fedops.processes import die_with_parent

logger = logging.getLogger("fedops.training")


Build = Callable[[TrainingArgs, Device], Handler]
#: How long the end of the training client may wait for the explanation of its last round.
_LAST_EXPLANATION_SECONDS = 1.0


class Terminated(BaseException):
    """SIGTERM came. Not an Exception: nothing that trains may take it for its own."""


class ServerClock:
    """The server's time, as far as this device knows it."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class OwnerLimits:
    """Lowers what a message's config asks for to what ``device.toml`` allows, and says so once each."""

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


def build_handler(args: TrainingArgs, device: Device) -> Handler:
    """The handler of the app in ``args.app_dir``. Imports the app's framework."""
    from fedops.flower.apps import make_handler
    from fedops.scalize.project import Project

    project = Project.open(args.app_dir, args.overrides)
    if project.config.wandb.use:  # the device's own word, not a run's
        device.report = rounds_to_wandb(device, project.config, Home(args.home))
    return make_handler(project, device)


def serve(args: TrainingArgs, report: ReportPipe, build: Build) -> None:
    """Serve until SIGTERM."""
    home, clock = Home(args.home), ServerClock()
    owner = load_device_config(home.device_config)
    os.nice(owner.limits.nice)
    memory = RoundFiles(home.rounds, event=report.event)
    explanations = RoundExplanations(home.path, report, owner.uploads.explanations)
    device = Device(args.device, report=report, memory=memory, explanations=explanations)
    signer = NodeSigner(load_key(home.node_key), clock)
    node = WarmNode(
        Fleet(args.server, signer),
        NodeClient(args.server, signer=signer),
        build(args, device),
        device,
        server_time=clock,
        adjust=OwnerLimits(owner, report),
    )
    listening = bind(args.host, args.port)
    local = LocalServer(local_app(node, report, clock, home.make_local_token()), listening)
    local.start()
    report.ready(local.port)
    report.idle()
    logger.info("training client of '%s' is ready on port %d", args.device, local.port)
    try:
        node.run()
    finally:
        memory.flush(1.0)
        explanations.close(_LAST_EXPLANATION_SECONDS)
        if isinstance(device.report, WandbReporter):
            device.report.close()


def local_app(node: WarmNode, report: ReportPipe, clock: ServerClock, token: str) -> FastAPI:
    """The local port: is it there, what may it do, stop."""
    app = make_app("FedOps training client", token)

    @app.get("/online")
    def online() -> Online:
        return report.now

    @app.post("/start")
    def start(body: Assignment) -> Online:
        clock.offset = body.clock_offset
        node.assign(body.node_id, body.runs)
        return report.now

    @app.post("/stop")
    def stop(body: StopOrder | None = None) -> Online:
        node.abandon(body.run_id if body else None)
        return report.now

    return app


def main(arguments: Sequence[str] | None = None, build: Build = build_handler) -> NoReturn:
    """Run a training client. Ends the process without waiting for threads that an app has started."""
    raw, descriptor = sys.argv[1:] if arguments is None else arguments
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    report = ReportPipe(int(descriptor))
    code = _run(TrainingArgs.model_validate_json(raw), report, build)
    report.close()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


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
