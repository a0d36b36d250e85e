"""What an attempt does with its app on the server: FedOps' rounds, or the app's own ServerApp."""

from __future__ import annotations

from pathlib import Path

from fedops.config import Config
from fedops.core.contracts import AttemptSpec
from fedops.core.errors import FedOpsError
from fedops.core.states import FailureReason
from fedops.engine.attempt import play, play_rounds
from fedops.engine.exit_reasons import RunFailed
from fedops.engine.run_setup import Setup, prepare
from fedops.engine.server_link import ServerLink
from fedops.flower.compat import take_task_identity
from fedops.flower.grid.assignment_grid import SERVER_NODE
from fedops.flower.grid.own_server_app import run_own
from fedops.flower.strategies import RunStrategy
from fedops.flower.strategy_config import make_strategy
from fedops.scalize.manifest import read_manifest
from fedops.scalize.project import Project


def play_attempt(spec: AttemptSpec, app_dir: Path, link: ServerLink) -> None:
    """Play the run as its app says, and say how it ended."""
    take_task_identity(spec.run_id, SERVER_NODE)  # Flower's strategies build messages
    if _is_own(app_dir):
        play(spec, link, lambda: run_own(open_project(spec, app_dir), spec, link))
    else:
        play_rounds(spec, link, lambda: _set_up(spec, app_dir, link))


def _is_own(app_dir: Path) -> bool:
    try:
        return read_manifest(app_dir).own_server_app
    except FedOpsError:  # said when the project is opened
        return False


def _set_up(spec: AttemptSpec, app_dir: Path, link: ServerLink) -> Setup:
    def strategy(config: Config) -> RunStrategy:
        chosen = config.server.strategy
        return make_strategy(chosen.target, chosen.kwargs, [app_dir])

    return prepare(open_project(spec, app_dir), spec, link, strategy)


def open_project(spec: AttemptSpec, app_dir: Path) -> Project:
    """The app under the run's config. ``RunFailed`` when it cannot be used."""
    try:
        return Project.open(app_dir).with_config(spec.config)
    except FedOpsError as error:
        raise RunFailed(FailureReason.APP_ERROR, error.message) from None
