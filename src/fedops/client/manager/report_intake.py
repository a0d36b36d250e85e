"""What the training client reports: kept for the server, or handed to who waits for it."""

from __future__ import annotations

from collections.abc import Callable

from fedops.client.local.messages import Finished
from fedops.client.manager.readiness import ReadinessBook
from fedops.client.spool.spool import Spool
from fedops.client.supervision.process_run import Message
from fedops.client.work.reconciler import Reconciler
from fedops.client.work.result_metrics import Measured
from fedops.core.contracts import RecordKind
from fedops.failpoints import reached


class ReportIntake:
    """Called from the supervisor's thread, with one message after the other."""

    def __init__(
        self,
        spool: Spool,
        reconciler: Reconciler,
        book: ReadinessBook,
        renew: Callable[[str], None],
        learn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._spool = spool
        self._reconciler = reconciler
        self._book = book
        #: Start a fresh training client, for this reason.
        self._renew = renew
        #: The fingerprint of the app's parameter contract is this.
        self._learn = learn

    def take(self, message: Message) -> None:
        """Keep it, or pass it on."""
        kind, data = message.get("kind"), dict(message.get("data") or {})
        if kind == "ready":
            self._reconciler.ready(int(message["port"]))
        elif kind == "epoch":
            self._reconciler.epoch(str(message["id"]), int(message["done"]), int(message["total"]))
        elif kind == "finished":
            self._reconciler.finished(Finished.model_validate(message))
        elif kind == "readiness":
            self._book.take(message)
            if fingerprint := str(message.get("fingerprint", "")):
                self._learn(fingerprint[:64])
        elif kind == "renew":
            self._renew(str(message.get("text")))
        elif kind == "event":
            self._keep(RecordKind.EVENT, str(message.get("name")), message, data)
        elif kind == "metric":
            self._keep(RecordKind.METRIC, str(message.get("name")), message, data)
        elif kind == "ended":
            data = {"code": message.get("code"), "status": message.get("status")}
            self._keep(RecordKind.EVENT, "training_client_ended", message, data)

    def event(self, name: str, text: str, run_id: int | None, round_: int | None) -> None:
        """Something that the Client Manager itself found worth keeping."""
        self._spool.put(RecordKind.EVENT, name, text=text, run_id=run_id, round=round_)

    def metric(self, measured: Measured) -> None:
        """What the training client measured, and perhaps could not say."""
        run_id, round_ = measured.run_id, measured.round
        self._spool.put(
            RecordKind.METRIC, measured.name, value=measured.value, run_id=run_id, round=round_
        )

    def _keep(self, kind: RecordKind, name: str, message: Message, data: dict[str, object]) -> None:
        reached(f"manager.{kind}.heard")
        run_id = message.get("run_id", data.pop("run_id", None))
        round_ = message.get("round", data.pop("round", None))
        self._spool.put(
            kind,
            name,
            value=message.get("value"),
            text=str(message.get("text", "")),
            run_id=run_id if isinstance(run_id, int) else None,
            round=round_ if isinstance(round_, int) else None,
            data=data,
        )
