"""What an attempt does with its app on the server: FedOps' rounds, or the app's own ServerApp."""

from __future__ import annotations

from pathlib import Path

from fedops.core.contracts import AttemptSpec, EngineFinish
from fedops.core.errors import FedOpsError
from fedops.core.states import FailureReason
from fedops.engine.attempt import play, run_rounds
from fedops.engine.link.exit_reasons import RunFailed
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import prepare_run
from fedops.flower.codec.compat import SERVER_NODE, take_task_identity
from fedops.flower.own_server_app import run_own
from fedops.flower.scoring.child_scorer import scorer_of
from fedops.flower.scoring.client_evaluations import evaluator_of
from fedops.flower.strategies.root_training import with_root_update
from fedops.flower.strategies.strategy_factory import strategy_of
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project


def play_attempt(spec: AttemptSpec, app_dir: Path, link: ServerLink) -> None:
    """Play the run as its app says, and say how it ended."""
    take_task_identity(spec.run_id, SERVER_NODE)  # Flower's strategies build messages

    def work() -> EngineFinish:
        project = open_project(spec, app_dir)
        if project.manifest.own_server_app:
            return run_own(project, spec, link)
        make_importable(project.manifest)  # the strategy may be the app's own
        setup = with_root_update(prepare_run(project, spec, link, strategy_of(app_dir)))
        evaluator = evaluator_of(setup, link)
        return run_rounds(setup, link, scorer_of(setup, app_dir), evaluator)

    play(spec, link, work)


def open_project(spec: AttemptSpec, app_dir: Path) -> Project:
    """The app under the run's config. ``RunFailed`` when it cannot be used."""
    try:
        return Project.open(app_dir).with_config(spec.config)
    except FedOpsError as error:
        raise RunFailed(FailureReason.APP_ERROR, error.message) from None
