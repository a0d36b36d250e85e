"""The numbers of one process, and how they are written down for Prometheus.

Labels are route templates, methods, codes and states, and nothing else: whatever names a device, a run or a
path has no end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

disable_created_metrics()  # type: ignore[no-untyped-call]

#: Upper bounds of what is counted together. Seconds.
_REQUEST_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
_ROUND_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)
_WAIT_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 15.0)


@dataclass(frozen=True)
class Level:
    """A number that is read when it is asked for. ``by_state``: one for each state; else one."""

    name: str
    about: str
    by_state: dict[str, float] | None = None
    value: float = 0.0
    #: It only ever grows.
    counts: bool = False

    def family(self) -> Metric:
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        if self.by_state is None:
            return kind(self.name, self.about, value=self.value)
        made = kind(self.name, self.about, labels=["state"])
        for state, value in self.by_state.items():
            made.add_metric([state], value)
        return made


class _Levels:
    """A collector of what is read at the moment of asking."""

    def __init__(self) -> None:
        self.levels: Sequence[Level] = ()

    def collect(self) -> Iterator[Metric]:
        for level in self.levels:
            yield level.family()


class Measures:
    """Thread-safe. One set a process, with a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._seconds = Histogram(
            "fedops_request_seconds",
            "How long requests took, waiting for news included.",
            ("route", "method"),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "fedops_requests",
            "Requests, by the code of their answer.",
            ("route", "method", "code"),
            registry=registry,
        )
        self._received = Counter(
            "fedops_received_bytes", "Bytes of bodies that came in.", registry=registry
        )
        self._sent = Counter(
            "fedops_sent_bytes", "Bytes of bodies that went out.", registry=registry
        )
        self._rounds = Counter("fedops_rounds_committed", "Rounds committed.", registry=registry)
        self._round_seconds = Histogram(
            "fedops_round_seconds",
            "How long committed rounds took.",
            buckets=_ROUND_SECONDS,
            registry=registry,
        )
        self._write_wait = Histogram(
            "fedops_database_write_wait_seconds",
            "How long transactions waited for their turn to write.",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self._levels = _Levels()
        registry.register(self._levels)
        self._readers: list[Callable[[], Iterable[Level]]] = []
        self._one = threading.Lock()

    def request(
        self, route: str, method: str, code: str, seconds: float, received: int, sent: int
    ) -> None:
        """A request is over. ``route``: a template; ``received``, ``sent``: bytes of bodies."""
        self._seconds.labels(route, method).observe(seconds)
        self._answers.labels(route, method, code).inc()
        self._received.inc(received)
        self._sent.inc(sent)

    def round_committed(self, seconds: float) -> None:
        self._rounds.inc()
        self._round_seconds.observe(seconds)

    def waited_to_write(self, seconds: float) -> None:
        self._write_wait.observe(seconds)

    def also(self, read: Callable[[], Iterable[Level]]) -> None:
        """Ask this one, too, whenever the numbers are asked for."""
        self._readers.append(read)

    def page(self, accept: str) -> tuple[bytes, str]:
        """All numbers as text, and its content type, in the form that ``accept`` prefers.

        ``Unavailable`` when the database is. It reads the database: not for the event loop.
        """
        encode, content_type = choose_encoder(accept)
        with self._one:
            self._levels.levels = [level for read in self._readers for level in read()]
            return encode(self._registry), content_type
