"""Making a round count: the model and the strategy's state stored, then one commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedops.algorithms.aggregation import mean_metrics
from fedops.core.contracts import ParticipationReport, RoundCommit, ScoringPlan
from fedops.engine.aggregation_port import AggregationPort
from fedops.engine.collecting import Collection
from fedops.engine.global_model import GlobalModel
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.server_link import ServerLink
from fedops.engine.update_checks import CheckedUpdate
from fedops.failpoints import reached
from fedops.storage.tensors import save

#: How many metrics a commit holds of all its clients together, at most; of each of them, at least.
MOST_METRICS, OF_EACH = 50_000, 20
#: How many mean metrics a round has, at most: those that most clients report.
MOST_MEANS = 1_000


@dataclass
class Timing:
    """Where the time of a round goes."""

    began: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.spent[part] = self.spent.get(part, 0.0) + time.monotonic() - begin

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def split(self, slowest: CheckedUpdate | None) -> dict[str, float]:
        """The parts by name, given the client that took longest."""
        trained = slowest.header.train_seconds if slowest else 0.0
        evaluated = slowest.header.evaluate_seconds if slowest else 0.0
        spent = {
            part: self.spent.get(part, 0.0) for part in ("waiting", "collection", "aggregation")
        }
        return {
            "waiting": spent["waiting"],
            "transfer": max(0.0, spent["collection"] - trained - evaluated),
            "training": trained,
            "aggregation": spent["aggregation"],
            "evaluation": evaluated + self.spent.get("evaluation", 0.0),
        }


@dataclass(frozen=True)
class FinishedRound:
    """A round that is to be committed."""

    round: int
    model: GlobalModel
    collection: Collection
    timing: Timing
    metrics: Mapping[str, float]
    dataset: str
    refused: Mapping[str, str]
    scoring: ScoringPlan | None = None


class RoundCommitter:
    """Stores what a round made."""

    def __init__(
        self, link: ServerLink, files: BlobFiles, strategy: AggregationPort, spool: Path
    ) -> None:
        self._link = link
        self._files = files
        self._strategy = strategy
        self._spool = spool

    def commit(self, finished: FinishedRound) -> str:
        """Commit a round. Returns the Server Manager's command.

        Raises:
            OSError: the disk is full.
        """
        self._files.hand_over(finished.model.path, finished.model.sha256)
        reached("engine.model.stored")
        body = self._body(finished, self._store_state())
        reached("engine.commit.before")
        command = self._link.ask(lambda api: api.commit(body)).command
        reached("engine.commit.after")
        return command

    def _store_state(self) -> str | None:
        state = self._strategy.export_state()
        if not state:
            return None
        path = self._spool / "strategy.safetensors"
        return self._files.hand_over(path, save(state, path, durable=False)).sha256

    def _body(self, finished: FinishedRound, state: str | None) -> RoundCommit:
        replies = finished.collection.answers.checked
        slowest = max(replies, key=lambda reply: reply.seconds, default=None)
        seconds = finished.timing.seconds
        return RoundCommit(
            round=finished.round,
            model=finished.model.sha256,
            strategy_state=state,
            metrics=dict(finished.metrics),
            client_metrics=client_metrics(replies),
            train_metrics=_means([(r.examples, r.trained.metrics) for r in replies if r.trained]),
            participations=_bounded(finished.collection.reports()),
            seconds=seconds,
            overhead_seconds=max(0.0, seconds - (slowest.seconds if slowest else 0.0)),
            timing=finished.timing.split(slowest),
            dataset=finished.dataset or None,
            refused=dict(finished.refused),
            scoring=finished.scoring,
        )


def client_metrics(replies: list[CheckedUpdate]) -> dict[str, float]:
    """The received model's metrics on the clients that evaluated it."""
    return _means([(r.evaluated.examples, r.evaluated.metrics) for r in replies if r.evaluated])


def _means(rows: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """The mean of each metric, of those that most clients report."""
    reported = Counter(name for _, metrics in rows for name in metrics)
    kept = {name for name, _ in reported.most_common(MOST_MEANS)}
    return mean_metrics([(w, {k: v for k, v in m.items() if k in kept}) for w, m in rows])


def _bounded(reports: list[ParticipationReport]) -> list[ParticipationReport]:
    """With no more metrics of each client than a commit has room for."""
    most = max(OF_EACH, MOST_METRICS // max(len(reports), 1))
    return [
        report.model_copy(update={"metrics": dict(list(report.metrics.items())[:most])})
        if len(report.metrics) > most
        else report
        for report in reports
    ]
