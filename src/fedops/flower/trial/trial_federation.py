"""A trial: the app's rounds with a few clients of its own data, in this process, and what became of them."""

from __future__ import annotations

import math
import re
import tempfile
import time
from pathlib import Path

from flwr.app import Context, RecordDict

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.states import ParticipationStatus
from fedops.engine.round_size import RoundRules
from fedops.flower.codec.compat import SERVER_NODE, take_task_identity
from fedops.flower.codec.run_config import changes_of
from fedops.flower.components import load_server_app
from fedops.flower.flower_table import FlowerTable
from fedops.flower.grid.node_server import NodeServer
from fedops.flower.own_server_app import play_app, server_settings
from fedops.flower.simulation import play_rounds
from fedops.flower.strategies.strategy_factory import strategy_of
from fedops.flower.trial.nodes_in_process import NodesInProcess, TooFewNodes
from fedops.flower.trial.trial_clients import PartOfProject, TrialNode
from fedops.flower.trial.trial_report import TrialClient, TrialQuestion, TrialReport, TrialRound
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice
from fedops.storage.folder_blobs import FolderBlobs
from fedops.storage.tensors import Tensors, load

#: What a trial is about is whether it learns: nothing is explained or sent anywhere.
_LEFT_OUT = ("xai.enabled=false", "wandb.use=false")
_LEAST_CLIENTS = 2
_NODE = re.compile(r"\bnode-\d{5,}")


class Trial:
    """One trial. ``report`` is what is known of it so far."""

    def __init__(self, question: TrialQuestion) -> None:
        self._asked = question
        self._app_dir = Path(question.app_dir)
        self.report = TrialReport()
        #: Set when the app's own ServerApp waits for more clients than there are.
        self.waited_for_more: TooFewNodes | None = None
        #: Of clients, to the app's own ServerApp.
        self.replies = 0

    def run(self) -> TrialReport:
        """Play it. What is wrong with the app is a problem in the report, and not raised."""
        begun = time.monotonic()
        try:
            self._run()
        except FedOpsError as error:
            self.report.problems.append(error.message)
        except (Exception, SystemExit) as error:  # an app may raise anything, or end the process
            words = import_advice(error, [self._app_dir, self._app_dir.parent])
            self.report.problems.append(f"the simulation failed: {words}")
        self.report.seconds = round(time.monotonic() - begun, 2)
        self.report.ok = not self.report.problems
        return self.report

    def _run(self) -> None:
        take_task_identity(1, SERVER_NODE)  # Flower's strategies build messages
        self.report.clients = clients = self._clients()
        overrides = self._overrides(clients)
        nodes = [self._node(index, clients, overrides) for index in range(clients)]
        project = Project.open(self._app_dir, overrides)
        grid = NodesInProcess(nodes)
        try:
            if project.manifest.own_server_app:
                self._play_own(grid, project)
            else:
                self._play(grid, project, nodes)
        finally:
            grid.close()

    def _node(self, index: int, clients: int, overrides: list[str]) -> TrialNode:
        most = self._asked.examples
        part = PartOfProject.of_client(self._app_dir, index, clients, overrides, most)
        return TrialNode(part, index, clients)

    # --- how many --------------------------------------------------------------------------------

    def _clients(self) -> int:
        """As many as were asked for, else two, or as many as the strategy needs.

        Raises:
            Invalid: the strategy needs more than were asked for.
        """
        project = Project.open(self._app_dir, self._asked.overrides)
        if project.manifest.own_server_app:
            return self._asked.clients or _LEAST_CLIENTS
        make_importable(project.manifest)
        strategy = strategy_of(self._app_dir)(project.config)
        self.report.strategy = strategy.name
        plain = RoundRules(None, strategy.numbers, project.config.server.round)
        needed = max(plain.needed, strategy.least_replies, _LEAST_CLIENTS)
        wanted = self._asked.clients or needed
        if wanted < needed:
            raise Invalid(
                f"[server.strategy] {strategy.name} needs {needed} clients, and the simulation has {wanted}:"
                f" take --clients {needed}"
            )
        if wanted > _LEAST_CLIENTS and self._asked.clients is None:
            self.report.notes.append(f"{wanted} clients, since {strategy.name} needs so many")
        return wanted

    def _overrides(self, clients: int) -> list[str]:
        return [
            *self._asked.overrides,
            f"num_rounds={self._asked.rounds}",
            f"clients_per_round={clients}",
            f"server.round.min_replies={clients}",
            f"server.round.deadline_seconds={self._asked.seconds}",
            "server.round.wait_seconds=1",
            "server.round.max_retries=0",
            *_LEFT_OUT,
        ]

    # --- FedOps' rounds --------------------------------------------------------------------------

    def _play(self, grid: NodesInProcess, project: Project, nodes: list[TrialNode]) -> None:
        with tempfile.TemporaryDirectory(prefix="fedops-ci-") as folder:
            server = play_rounds(grid, project, Path(folder))
            self.report.rounds = [_round(commit) for commit in server.commits]
            self._require_completed(server)
            last = server.commits[-1]
            self.report.metrics = _metrics(server)
            if server.initial is not None and last.model == server.initial.model:
                raise Invalid("the aggregated model is the initial one: no round changed a tensor")
            model = load(FolderBlobs(Path(folder) / "blobs").path(last.model))
            self._judge(model, nodes, project.config.random_seed)

    def _require_completed(self, server: NodeServer) -> None:
        end = server.finished
        if end is None or end.outcome != "completed" or not server.commits:
            why = end.text if end is not None and end.text else "it did not end"
            raise Invalid(_NODE.sub(lambda found: _name(found[0]), why))
        for round_ in self.report.rounds:
            for client in round_.clients:
                if client.lost:
                    raise Invalid(f"round {round_.round} lost {client.client}: {client.lost}")

    def _judge(self, model: Tensors, nodes: list[TrialNode], seed: int) -> None:
        """The final model on each client, and whether its numbers are any."""
        for node in nodes:
            examples, metrics = node.judge(model, seed)
            odd = [name for name, value in metrics.items() if not math.isfinite(value)]
            finite = {name: value for name, value in metrics.items() if name not in odd}
            found = TrialClient(client=node.name, examples=examples, metrics=finite)
            self.report.final.append(found)
            if odd:
                raise Invalid(
                    f"the aggregated model's {odd[0]} on {node.name} is {metrics[odd[0]]}: is the learning"
                    " rate too high?"
                )
            if not metrics:
                self.report.notes.append(f"the evaluate step gave no metric on {node.name}")

    # --- the app's own rounds --------------------------------------------------------------------

    def _play_own(self, grid: NodesInProcess, project: Project) -> None:
        """The app's own ServerApp, on the same clients."""
        make_importable(project.manifest)
        table = FlowerTable.of(self._app_dir)
        app = load_server_app(table.serverapp, tuple(project.manifest.folders))
        changes = changes_of(project.config, table.config)
        settings = server_settings(project, {**table.config, **changes})
        self.report.strategy = "the app's own ServerApp"
        try:
            play_app(app, grid, Context(1, SERVER_NODE, {}, RecordDict(), settings))
        except TooFewNodes as error:
            self.waited_for_more = error
            raise
        except Exception as error:  # the app runs here, and may raise anything
            if not grid.failures:
                raise
            raise Invalid(grid.failures[0]) from error  # what it made of that is of less use
        except SystemExit as end:
            if end.code:
                raise
        finally:
            self.replies = grid.answered
        if grid.failures:
            raise Invalid(grid.failures[0])
        if not grid.answered:
            raise Invalid("the app's own ServerApp ended without having asked a client anything")
        self.report.notes.append(
            f"the app's own ServerApp played its rounds ({grid.answered} replies); its models and numbers are"
            " its own, and --rounds says nothing to it"
        )


def _round(commit: c.RoundCommit) -> TrialRound:
    return TrialRound(
        round=commit.round,
        model=commit.model,
        seconds=round(commit.seconds, 2),
        clients=[_client(one) for one in commit.participations],
        metrics=commit.metrics,
    )


def _client(one: c.ParticipationReport) -> TrialClient:
    lost = "" if one.status is ParticipationStatus.REPLIED else one.reason or one.status.value
    return TrialClient(
        client=_name(one.device), examples=one.examples or 0, lost=lost, metrics=one.metrics
    )


def _name(node: str) -> str:
    """What is ``node-00000`` to the engine is ``client-0`` to the user."""
    return f"client-{int(node.rpartition('-')[2])}"


def _metrics(server: NodeServer) -> dict[str, float]:
    end = server.finished
    return server.commits[-1].metrics or (end.client_metrics if end else {})
