"""The ServerApp in mode "simulation": the app's federation over Flower's own nodes, without a Server Manager.

On one machine through Ray (``flwr run . --run-config 'mode="simulation"'``), or over ``flower-supernode``
processes. Model, data, strategy and aggregation are those of a FedOps run; nothing outlives it but the
numbers it prints.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecordValues, Context, Message
from flwr.serverapp import Grid

from fedops.config.loading import to_plain
from fedops.core.contracts import AttemptSpec
from fedops.core.contracts.training import EVALUATE, TRAIN, TrainingOrder
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.seeds import draw_seed
from fedops.engine.global_model import GlobalModel, StoredUpdate
from fedops.engine.round_commit import client_metrics
from fedops.engine.run_setup import Setup
from fedops.engine.update_checks import CheckedUpdate, ClientRefused, ExpectedUpdate
from fedops.flower.codec.messages import (
    ClientFailed,
    accept_reply,
    decode_header,
    encode_order,
    in_pieces,
    packed_record,
    pieces_of_file,
)
from fedops.flower.launch.host_process import log_to_flower, on_leaving, overrides_of
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import pack, save
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.simulation")

#: How long a message may wait for its node. Seconds.
TTL_SECONDS = 3_600.0
_LOOK_SECONDS = 0.5


def run_simulation(grid: Grid, context: Context, app_dir: Path) -> dict[str, float]:
    """Play all rounds of the app's config; returns the final model's metrics.

    Raises:
        FedOpsError: the app cannot be used, or a round got too few replies.
    """
    log_to_flower()
    on_leaving()
    project = Project.open(app_dir, overrides_of(context))
    if project.config.xai.enabled:
        logger.info(
            "[xai] is left aside: devices explain their predictions, simulated nodes do not"
        )
    with tempfile.TemporaryDirectory(prefix="fedops-simulation-") as folder:
        simulation = Simulation(grid, prepare_simulation(project, Path(folder)))
        return simulation.run()


def prepare_simulation(project: Project, folder: Path) -> Setup:
    """The app's model, strategy and validation data."""
    config = project.config
    make_importable(project.manifest)  # the strategy may be the app's own
    strategy = make_strategy(
        config.server.strategy.target, config.server.strategy.kwargs, [project.app_dir]
    )
    adapter = project.make_adapter(config.random_seed)
    path = folder / "model-0.safetensors"
    model = GlobalModel(path, save(adapter.get_tensors(), path), adapter.contract)
    plain = to_plain(config)
    spec = AttemptSpec(
        run_id=1,
        attempt=1,
        task=config.task_id,
        seed=config.random_seed,
        config=plain,
        rounds=config.num_rounds,
        next_round=1,
        model=None,
        strategy_state=None,
        contract=None,
        dataset=None,
        refused={},
        spool_dir=str(folder),
    )
    validation = project.load_validation_data()
    return Setup(spec, config, strategy, model, adapter, folder, validation, plain)


@dataclass
class Replies:
    """What came back of the messages of one exchange."""

    taken: list[StoredUpdate]
    lost: dict[int, str]

    @property
    def checked(self) -> list[CheckedUpdate]:
        return [reply.checked for reply in self.taken]


class Simulation:
    """Rounds over the nodes that a grid has."""

    def __init__(self, grid: Grid, setup: Setup) -> None:
        self._grid = grid
        self._setup = setup
        self._rules = setup.rules
        self._model = setup.model
        self._dataset = setup.dataset
        self._said = ""

    def run(self) -> dict[str, float]:
        rounds = self._setup.spec.rounds
        for round_ in range(1, rounds + 1):
            begin = time.monotonic()
            replies = self._train(round_)
            path = self._setup.spool / f"model-{round_}.safetensors"
            self._model = self._model.next(path, round_, self._setup.strategy, replies.taken)
            metrics = self._setup.evaluate(self._model, round_)
            shown = metrics or client_metrics(replies.checked)
            seconds = time.monotonic() - begin
            self._say(round_, f"{len(replies.taken)} clients, {_shown(shown)}, {seconds:.1f} s")
        return self._finish(rounds)

    def _finish(self, rounds: int) -> dict[str, float]:
        """The final model's metrics: on the server's data if it has any, else on the clients'."""
        metrics = self._setup.evaluate(self._model, rounds)
        where = "the app's validation data"
        if not metrics:
            nodes = self._nodes()[: max(1, self._rules.wanted(len(self._nodes())))]
            order = self._order(rounds, True, {})
            replies = self._exchange(EVALUATE, {node: order for node in nodes})
            metrics, where = client_metrics(replies.checked), "the clients' data"
        logger.info("final model: %s on %s (%s)", _shown(metrics), where, self._dataset)
        return metrics

    # --- one round -------------------------------------------------------------------------------

    def _train(self, round_: int) -> Replies:
        lost: dict[int, str] = {}
        for retry in range(self._rules.policy.max_retries + 1):
            nodes = self._wait_for_nodes(round_)
            replies = self._try(round_, retry, nodes)
            self._agree_on_dataset(replies)
            lost = replies.lost
            for node, why in lost.items():
                self._say(round_, f"node {node} is lost: {why}")
            if len(replies.taken) >= self._rules.quorum(len(nodes)):
                return replies
        causes = "; ".join(f"node {node}: {why}" for node, why in lost.items())
        raise FedOpsError(f"round {round_} got too few replies: {causes or 'none came in time'}")

    def _try(self, round_: int, retry: int, nodes: Sequence[int]) -> Replies:
        rng = np.random.default_rng(draw_seed(self._setup.spec.seed, round_, retry))
        count = self._rules.invited(len(nodes))
        chosen = [nodes[i] for i in sorted(rng.choice(len(nodes), size=count, replace=False))]
        told = self._setup.strategy.configure(round_, self._model.averaged, chosen)
        evaluators = self._setup.strategy.numbers.evaluators(len(nodes), len(chosen))
        orders = {
            node: self._order(round_, index < evaluators, told[node])
            for index, node in enumerate(chosen)
            if node in told
        }
        return self._exchange(TRAIN, orders)

    def _wait_for_nodes(self, round_: int) -> list[int]:
        policy = self._rules.policy
        timeout = Timeout(policy.wait_seconds)
        while len(nodes := self._nodes()) < self._rules.needed:
            have = f"{len(nodes)} of the {self._rules.needed} nodes that a round needs"
            if timeout.is_over:
                raise Unavailable(
                    f"there are {have}, after {policy.wait_seconds:.0f} s: start more "
                    '(in a simulation: --federation-config "num-supernodes=N") or lower '
                    "clients_per_round"
                )
            self._say(round_, f"waiting: there are {have}")
            time.sleep(_LOOK_SECONDS)  # the grid can only be asked
        return nodes

    def _nodes(self) -> list[int]:
        """The nodes there are, in the order in which they came."""
        found = sorted((node.registered_at, node.node_id) for node in self._grid.get_nodes())
        return [node_id for _, node_id in found]

    def _order(
        self, round_: int, evaluate: bool, told: Mapping[str, ConfigRecordValues]
    ) -> TrainingOrder:
        spec = self._setup.spec
        return TrainingOrder(
            round=round_,
            run_id=spec.run_id,
            attempt=spec.attempt,
            task=spec.task,
            run_seed=spec.seed,
            config=self._setup.plain_config,
            contract=self._model.contract,
            dataset=self._dataset,
            evaluate=evaluate,
            strategy=told,
        )

    # --- messages --------------------------------------------------------------------------------

    def _exchange(self, kind: str, orders: Mapping[int, TrainingOrder]) -> Replies:
        arrays = _record_of(self._model)
        messages = [
            encode_order(order, arrays, kind, node, TTL_SECONDS) for node, order in orders.items()
        ]
        seconds = self._rules.policy.deadline_seconds
        replies = Replies([], dict.fromkeys(orders, f"no reply within {seconds:.0f} s"))
        for message in self._grid.send_and_receive(messages, timeout=seconds):
            self._take(message, kind == TRAIN, orders, replies)
        return replies

    def _take(
        self, message: Message, trains: bool, orders: Mapping[int, TrainingOrder], replies: Replies
    ) -> None:
        node = message.metadata.src_node_id
        path = self._setup.spool / f"{node}.safetensors"
        try:
            checked = accept_reply(message, self._expected(message, orders[node], trains), path)
        except (ClientRefused, ClientFailed, Invalid) as error:
            replies.lost[node] = str(error)
            return
        replies.taken.append(StoredUpdate(checked, node, path))
        replies.lost.pop(node, None)

    def _expected(self, message: Message, order: TrainingOrder, trains: bool) -> ExpectedUpdate:
        device = decode_header(message.content).device if message.has_content() else "?"
        return ExpectedUpdate(device, order.run_id, order.round, order.contract, trains)

    def _agree_on_dataset(self, replies: Replies) -> None:
        """All clients train on the same data set; the first replies say which."""
        named = [r.header.dataset for r in replies.checked if r.header.dataset]
        if named and not self._dataset:
            self._dataset = Counter(named).most_common(1)[0][0]
        odd = [r for r in replies.taken if r.checked.header.dataset not in ("", self._dataset)]
        for reply in odd:
            replies.taken.remove(reply)
            name = reply.checked.header.dataset
            replies.lost[reply.node_id] = f"its data set is '{name}', not '{self._dataset}'"

    def _say(self, round_: int, text: str) -> None:
        line = f"round {round_} of {self._setup.spec.rounds}: {text}"
        if line != self._said:
            logger.info("%s", line)
        self._said = line


def _record_of(model: GlobalModel) -> ArrayRecord:
    """The tensors that travel, as they do."""
    if model.is_exchanged_whole:
        return packed_record(pieces_of_file(model.path))
    return packed_record(in_pieces(pack(model.exchanged())))


def _shown(metrics: Mapping[str, float]) -> str:
    parts = [f"{name} {value:.4f}" for name, value in sorted(metrics.items())]
    return ", ".join(parts) or "no metrics"
