"""What an attempt does with its app on the server: FedOps' rounds with the strategy of the run's config."""

from __future__ import annotations

from pathlib import Path

from fedops.config import Config
from fedops.core.contracts import AttemptSpec
from fedops.core.errors import FedOpsError
from fedops.core.states import FailureReason
from fedops.engine.attempt import play_rounds
from fedops.engine.exit_reasons import RunFailed
from fedops.engine.run_setup import Setup, prepare
from fedops.engine.server_link import ServerLink
from fedops.flower.compat import take_task_identity
from fedops.flower.strategies import RunStrategy
from fedops.flower.strategy_config import make_strategy
from fedops.scalize.project import Project

#: The server's own node, in Flower's eyes.
SERVER_NODE = 1


def play_attempt(spec: AttemptSpec, app_dir: Path, link: ServerLink) -> None:
    """Play the rounds that the Server Manager asks for, and say how it ended."""
    take_task_identity(spec.run_id, SERVER_NODE)  # Flower's strategies build messages
    play_rounds(spec, link, lambda: _set_up(spec, app_dir, link))


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
