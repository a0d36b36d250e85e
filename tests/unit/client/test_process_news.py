"""Who hears of the training client's states."""

from __future__ import annotations

from fedops.client.supervision.process_news import ProcessNews
from fedops.core.contracts import ProcessReport
from fedops.core.states import ProcessStatus

S = ProcessStatus


def test_the_server_hears_when_it_became_ready_or_is_down() -> None:
    now: list[ProcessStatus] = []
    told: list[ProcessStatus] = []
    reasons: list[str] = []
    news = ProcessNews(lambda: told.append(now[-1]), reasons.append)
    for status in (S.STARTING, S.IDLE, S.TRAINING, S.IDLE, S.BACKOFF, S.STARTING, S.FATAL):
        now.append(status)
        news.take(ProcessReport(status=status, reason="no memory" if status is S.FATAL else None))
    assert told == [S.IDLE, S.BACKOFF, S.FATAL]
    assert reasons == ["no memory"]
