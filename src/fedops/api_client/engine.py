"""What the round engine of an attempt asks and reports."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client.transport import FILE_SECONDS, WRITE_SECONDS, Client
from fedops.core import contracts as c


class EngineClient(Client):
    """What the round engine does, with the token of its attempt. All of it may be repeated.

    A stale attempt gets ``AttemptSuperseded``.
    """

    def hello(self, body: c.EngineHello) -> c.AttemptSpec:
        return self._call(c.AttemptSpec, "POST", "/engine/hello", body)

    def initial_model(self, body: c.ModelInit) -> None:
        self._tell("/engine/initial-model", body)

    def candidates(self) -> c.Candidates:
        return self._call(c.Candidates, "GET", "/engine/candidates")

    def progress(self, body: c.EngineProgress) -> None:
        self._tell("/engine/progress", body)

    def begin_round(self, round_: int, body: c.RoundBegin) -> c.Offered:
        """Announce who takes part, and make the assignments that the round begins with."""
        path = f"/engine/rounds/{round_}/begin"
        return self._call(c.Offered, "POST", path, body, timeout=WRITE_SECONDS)

    def offer(self, body: c.OfferBatch) -> c.Offered:
        """Make assignments beside the rounds, or more of a round that was begun."""
        return self._call(c.Offered, "POST", "/engine/offers", body, timeout=WRITE_SECONDS)

    def collect(self, body: c.CollectRequest) -> c.Collected:
        """Hand in verdicts; answered as soon as something came in."""
        return self._long_poll(c.Collected, "/engine/collect", body, wait=body.wait, spare=30.0)

    def cancel(self, body: c.CancelRequest) -> None:
        self._tell("/engine/cancel", body)

    def hand_over(self, body: c.BlobHandover) -> c.BlobRef:
        """Make a file of the attempt's spool folder a blob."""
        return self._call(c.BlobRef, "POST", "/engine/blobs", body, timeout=FILE_SECONDS)

    def fetch_blob(self, ref: c.BlobRef, target: Path) -> Path:
        """A blob of the store as a file here."""
        return self._download(f"/blobs/{ref.sha256}", target)

    def commit(self, body: c.RoundCommit) -> c.CommitReply:
        return self._call(
            c.CommitReply,
            "POST",
            f"/engine/rounds/{body.round}/commit",
            body,
            timeout=WRITE_SECONDS,
        )

    def scores(self, body: c.RoundScores) -> None:
        """What the updates of a committed round were worth."""
        self._tell(f"/engine/rounds/{body.round}/scores", body, timeout=WRITE_SECONDS)

    def logs(self, body: c.EngineLogs) -> None:
        """Deliver what was logged. It may be repeated."""
        self._tell("/engine/logs", body, timeout=10.0)

    def finish(self, body: c.EngineFinish) -> None:
        self._tell("/engine/finish", body, timeout=WRITE_SECONDS)
