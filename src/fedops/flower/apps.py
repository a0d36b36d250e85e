"""Where Flower's apps come in: the server side of a run, and the bundle that holds both sides."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from pathlib import Path

from flwr.app import Context
from flwr.common.config import get_project_dir
from flwr.serverapp import Grid
from pydantic import BaseModel, ValidationError

from fedops.core.contracts import AttemptSpec, EngineFinish, EngineHello, EngineProgress
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.states import FailureReason
from fedops.failpoints import reached
from fedops.flower.compat import build_fab
from fedops.flower.endings import Leave, Lost, RunFailed, Superseded
from fedops.flower.lines import EngineApi, Lines
from fedops.flower.log_shipping import LoggedEngineClient, LogShipping
from fedops.flower.patience import PATIENCE_SECONDS, Patience
from fedops.flower.rounds import RoundEngine
from fedops.flower.run_setup import prepare
from fedops.scalize.carry import carried_files
from fedops.scalize.project import Project
from fedops.scalize.secrecy import config_without_secret

logger = logging.getLogger("fedops.engine")

ATTEMPTS_VARIABLE = "FEDOPS_ATTEMPTS_DIR"
#: How long the file with the attempt's token is waited for. Seconds.
TICKET_SECONDS = 15.0


# --- the server side ---------------------------------------------------------------------------


class Ticket(BaseModel):
    """What an attempt needs to reach its Server Manager. Written by it, readable by this user alone."""

    server_url: str
    token: str
    run_id: int
    attempt: int


def run_server(grid: Grid, context: Context, app_dir: Path | None = None) -> None:
    """Execute an attempt: the ServerApp in mode "server". Returns when the run or its part in it is over."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    ticket = _read_ticket(context.run_id)
    folder = app_dir or _app_dir(grid)
    with LoggedEngineClient(ticket.server_url, token=ticket.token) as api:
        shipping = LogShipping(api)
        logging.getLogger().addHandler(shipping)
        try:
            with shipping.printed():
                execute(grid, api, folder, PATIENCE_SECONDS)
        finally:
            logging.getLogger().removeHandler(shipping)
            shipping.close()


def execute(
    grid: Grid, api: EngineApi, app_dir: Path, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Play the rounds that the Server Manager asks for, and say how it ended."""
    try:
        spec = Patience(patience_seconds).call(lambda: api.hello(EngineHello(pid=os.getpid())))
        reached("engine.hello")
        lines = Lines.open(grid, api, patience_seconds)
    except Superseded as error:
        logger.info("another attempt took over: %s", error)
        return
    try:
        finish = _played(spec, lines, app_dir)
        reached("engine.finish.before")
        lines.ask(lambda api: api.finish(finish))
        reached("engine.finish.after")
    except Superseded as error:
        logger.info("another attempt took over: %s", error)
    finally:
        lines.close()


def _played(spec: AttemptSpec, lines: Lines, app_dir: Path) -> EngineFinish:
    """The rounds, and what is to be said at the end.

    Raises:
        Superseded, Lost: nothing is to be said.
    """
    try:
        lines.tell(EngineProgress(phase="initialising", round=spec.next_round))
        setup = prepare(_project(spec, app_dir), spec, lines, [app_dir])
        gc.collect()
        gc.freeze()  # what is here stays: looking for garbage is cheap from now on
        return EngineFinish(outcome="completed", client_metrics=RoundEngine(setup, lines).run())
    except Leave as leave:
        return EngineFinish(outcome=leave.outcome)
    except RunFailed as failure:
        return _failed(failure.reason, failure.text)
    except (Superseded, Lost):
        raise
    except Unavailable:
        logger.exception("the Server Manager is away")
        raise
    except FedOpsError as error:
        return _failed(FailureReason.ENGINE_ERROR, error.message)
    except Exception as error:
        logger.exception("the round engine failed")
        return _failed(FailureReason.ENGINE_ERROR, f"{type(error).__name__}: {error}")


def _failed(reason: FailureReason, text: str) -> EngineFinish:
    logger.error("the run failed (%s): %s", reason, text)
    return EngineFinish(outcome="failed", reason=reason, text=text[:4_000])


def _project(spec: AttemptSpec, app_dir: Path) -> Project:
    try:
        return Project.open(app_dir).with_config(spec.config)
    except FedOpsError as error:
        raise RunFailed(FailureReason.APP_ERROR, error.message) from None


def _read_ticket(flower_run_id: int) -> Ticket:
    """The attempt's ticket; it is written right after Flower has taken the run."""
    folder = os.environ.get(ATTEMPTS_VARIABLE)
    if not folder:
        raise Invalid(
            f"{ATTEMPTS_VARIABLE} is not set: mode 'server' is for a FedOps Server Manager to start"
        )
    path = Path(folder) / f"{flower_run_id}.json"
    deadline = time.monotonic() + TICKET_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the Server Manager did not write {path} within {TICKET_SECONDS:.0f} s"
            )
        time.sleep(0.05)  # another process writes it: there is nothing to wait on
    try:
        return Ticket.model_validate(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise Invalid(f"{path} holds no ticket of an attempt: {error}") from None


def _app_dir(grid: Grid) -> Path:
    """Where Flower has unpacked the app of this run."""
    run = grid.run
    return Path(get_project_dir(run.fab_id, run.fab_version, run.fab_hash))


# --- the bundle --------------------------------------------------------------------------------


def build_bundle(app_dir: Path) -> bytes:
    """The app as one file that Flower can run: its code and config, no data.

    Raises:
        Invalid: it is no app folder, or Flower does not accept it.
    """
    project = Project.open(app_dir)  # says what is wrong with it in our words
    changed = {**carried_files(app_dir), **config_without_secret(project)}
    try:
        return build_fab(app_dir, changed)
    except (ValueError, OSError) as error:
        raise Invalid(f"{app_dir} cannot be bundled as a Flower app: {error}") from None
