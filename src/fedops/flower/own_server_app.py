"""An app's own ServerApp on the devices of a FedOps server: that of an app of plain Flower, or of one with
``serverapp = "own"`` in ``[tool.fedops]``.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedops.core.contracts import AttemptSpec, EngineFinish
from fedops.core.errors import AttemptSuperseded, FedOpsError, Invalid, Unavailable
from fedops.core.states import FailureReason
from fedops.engine.link.disk_space import may_pass
from fedops.engine.link.exit_reasons import RunFailed, StopRequested
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import fresh_spool
from fedops.engine.scoring.scoring_plan import OFF
from fedops.flower.codec.compat import SERVER_NODE, has_main
from fedops.flower.components import load_server_app
from fedops.flower.flower_table import FlowerTable
from fedops.flower.grid.assignment_grid import AssignmentGrid
from fedops.flower.grid.shared_grid import SharedGrid
from fedops.flower.run_config import changes_of, record_of
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice

logger = logging.getLogger("fedops.engine")
_LOOK_SECONDS = 0.2


def run_own(project: Project, spec: AttemptSpec, link: ServerLink) -> EngineFinish:
    """Run the app's ServerApp to its end.

    Raises:
        RunFailed: it cannot be loaded, or raised.
        StopRequested, AttemptSuperseded: see ``engine.exit_reasons``.
        OSError: the server's disk is full.
    """
    policy = project.config.server.round
    _say_what_is_different(spec)
    if project.config.server.contribution.method != OFF:
        logger.warning("[server.contribution] is left aside: the app's own ServerApp plays the run")
    app = _load(project)
    spool = fresh_spool(Path(spec.spool_dir))
    settings, changes = _settings(project)
    grid = AssignmentGrid(link, spec, spool, policy.deadline_seconds, record_of(changes))
    context = Context(spec.run_id, SERVER_NODE, {}, RecordDict(), settings)
    try:
        play_app(app, grid, context)
    except (StopRequested, AttemptSuperseded, RunFailed, Unavailable):
        raise
    except (Exception, SystemExit) as error:
        if may_pass(error, spool):
            raise
        if not isinstance(error, SystemExit) or error.code:
            raise _failure(error, project) from None
    grid.require_going_on()
    _say_what_is_kept(Path.cwd())
    return EngineFinish(outcome="completed", own_rounds=True)


def _settings(project: Project) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run config, and what of it the run has changed. ``RunFailed``: the run may not."""
    own = FlowerTable.of(project.app_dir).config
    try:
        changes = changes_of(project.config, own)
    except Invalid as error:
        raise RunFailed(FailureReason.APP_ERROR, error.message) from None
    return server_settings(project, {**own, **changes}), changes


def server_settings(project: Project, values: dict[str, Any]) -> dict[str, Any]:
    """What a ServerApp finds in its run config. Those that FedOps made ask for the ``mode``."""
    return values if project.config.run_config is not None else {**values, "mode": "server"}


def play_app(app: ServerApp, grid: Grid, context: Context) -> None:
    """Call a ServerApp. One of Flower's former kind (``server_fn``, or a strategy and a config) asks its
    clients from many threads, and waits for more of them without asking the grid.

    Raises:
        Exception, SystemExit: whatever it raises, or what its grid says that ends the run.
    """
    if has_main(app):
        app(grid, context)
        return
    shared, raised = SharedGrid(grid), list[BaseException]()

    def call() -> None:
        try:
            app(shared, context)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, name="server-app", daemon=True)
    thread.start()
    while thread.is_alive() and not shared.ended.is_set():
        thread.join(_LOOK_SECONDS)
    if shared.reason is not None:
        raise shared.reason
    if raised:
        raise raised[0]


def _failure(error: BaseException, project: Project) -> RunFailed:
    logger.error("the app's own ServerApp failed", exc_info=error)
    what = (
        str(error)
        if isinstance(error, FedOpsError)
        else import_advice(error, project.manifest.folders)
    )
    return RunFailed(FailureReason.APP_ERROR, f"the app's own ServerApp: {what}")


def _say_what_is_different(spec: AttemptSpec) -> None:
    logger.info(
        "the app's own ServerApp plays this run (start %d): its rounds are not committed, models are what "
        "it saves itself, and after a pause or a crash its main starts from its beginning",
        spec.attempt,
    )


def _say_what_is_kept(work: Path) -> None:
    """Where its files stay: the server keeps them when the attempt's folder is removed."""
    names = sorted(file.name for file in work.iterdir() if file.name not in ("flwr", "tmp"))
    if names:
        shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        logger.info(
            "the app's own ServerApp wrote %s; the server keeps that in its folder engine/kept/%s",
            shown,
            work.name,
        )


def _load(project: Project) -> ServerApp:
    make_importable(project.manifest)
    try:
        return load_server_app(
            FlowerTable.of(project.app_dir).serverapp, tuple(project.manifest.folders)
        )
    except Invalid as error:
        raise RunFailed(FailureReason.APP_ERROR, error.message) from None
