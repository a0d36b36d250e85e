"""The ServerApp in mode "simulation": the app's federation over Flower's own nodes, without a Server Manager.

On one machine through Ray (``flwr run . --run-config 'mode="simulation"'``), or over ``flower-supernode``
processes. The round engine is the one of a FedOps run, over Flower's grid in place of HTTP; nothing outlives
it but the numbers it prints.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid

from fedops.config.loading import to_plain
from fedops.core.contracts import AttemptSpec, EngineFinish
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.states import FailureReason
from fedops.engine.attempt import play, run_rounds
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import prepare_run
from fedops.flower.grid.node_server import NodeServer, shown
from fedops.flower.launch.host_process import log_to_flower, on_leaving, overrides_of
from fedops.flower.scoring.child_scorer import scorer_of
from fedops.flower.scoring.client_evaluations import evaluator_of
from fedops.flower.strategies.root_training import with_root_update
from fedops.flower.strategies.strategy_factory import strategy_of
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project

logger = logging.getLogger("fedops.simulation")


def run_simulation(grid: Grid, context: Context, app_dir: Path) -> dict[str, float]:
    """Play all rounds of the app's config; returns the final model's metrics.

    Raises:
        FedOpsError: the app cannot be used, or a round got too few replies.
    """
    log_to_flower()
    logging.getLogger("fedops.engine").setLevel(logging.WARNING)  # the rounds are said here
    on_leaving()
    project = Project.open(app_dir, overrides_of(context))
    if project.config.xai.enabled:
        logger.info(
            "[xai] is left aside: devices explain their predictions, simulated nodes do not"
        )
    with tempfile.TemporaryDirectory(prefix="fedops-simulation-") as folder:
        return simulate(grid, project, Path(folder))


def simulate(grid: Grid, project: Project, folder: Path) -> dict[str, float]:
    """The app's rounds over the nodes that a grid has. Raises as ``run_simulation`` does."""
    return _result(play_rounds(grid, project, folder))


def play_rounds(grid: Grid, project: Project, folder: Path) -> NodeServer:
    """The same; returns what the engine told: the rounds, and how it ended."""
    make_importable(project.manifest)  # the strategy may be the app's own
    spec = spec_of(project, folder)
    server = NodeServer(grid, spec)
    with ServerLink(server) as link:
        strategy = strategy_of(project.app_dir)

        def work() -> EngineFinish:
            setup = with_root_update(prepare_run(project, spec, link, strategy))
            scorer = scorer_of(setup, project.app_dir)
            return run_rounds(setup, link, scorer, evaluator_of(setup, link))

        play(spec, link, work)
    return server


def spec_of(project: Project, folder: Path) -> AttemptSpec:
    """The one attempt of a run that begins with the model that the seed makes."""
    config = project.config
    return AttemptSpec(
        run_id=1,
        attempt=1,
        task=config.task_id,
        seed=config.random_seed,
        config=to_plain(config),
        rounds=config.num_rounds,
        next_round=1,
        model=None,
        strategy_state=None,
        contract=None,
        dataset=None,
        refused={},
        spool_dir=str(folder / "spool"),
        blobs_dir=str(folder / "blobs"),
    )


def _result(server: NodeServer) -> dict[str, float]:
    """The final model's metrics: on the server's data if it has any, else on the clients'."""
    end, last = server.finished, server.commits[-1] if server.commits else None
    if end is None or last is None or end.outcome != "completed":
        raise _failure(end.reason if end else None, end.text if end else "it did not end")
    metrics = last.metrics or end.client_metrics
    where = "the app's validation data" if last.metrics else "the clients' data"
    logger.info("final model: %s on %s (%s)", shown(metrics), where, last.dataset)
    return metrics


def _failure(reason: FailureReason | None, text: str) -> FedOpsError:
    if reason is FailureReason.TOO_FEW_CLIENTS:
        text += (
            '; start more nodes (in a simulation: --federation-config "num-supernodes=N") or lower'
            " clients_per_round"
        )
    return Invalid(text) if reason is FailureReason.APP_ERROR else FedOpsError(text)
