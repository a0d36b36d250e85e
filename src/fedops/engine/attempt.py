"""One attempt from its first word to its last: the rounds are played, and how it ended is said."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path

from fedops.core.contracts import AttemptSpec, EngineFinish, EngineProgress
from fedops.core.errors import AttemptSuperseded, FedOpsError, Unavailable
from fedops.core.states import FailureReason
from fedops.engine.link.disk_space import await_room, may_pass
from fedops.engine.link.exit_reasons import RunFailed, StopRequested
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_engine import RoundEngine
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.scorer import ClientEvaluator, Scorer
from fedops.failpoints import reached
from fedops.storage.shortages import shortage_of

logger = logging.getLogger("fedops.engine")


def run_rounds(
    setup: Setup,
    link: ServerLink,
    scorer: Scorer | None = None,
    evaluator: ClientEvaluator | None = None,
) -> EngineFinish:
    """Play the rounds that the Server Manager asks for.

    ``scorer``: who scores them, if they are to be; ``evaluator``: who has clients evaluate for that.
    """
    gc.collect()
    gc.freeze()  # what is here stays: looking for garbage is cheap from now on
    engine = RoundEngine(setup, link, scorer=scorer, evaluator=evaluator)
    metrics = engine.run()
    return EngineFinish(outcome="completed", client_metrics=metrics, evaluated=engine.evaluated)


def play(spec: AttemptSpec, link: ServerLink, work: Callable[[], EngineFinish]) -> None:
    """Do ``work``, which gives what is to be said of it, and say how it ended.

    Raises:
        Unavailable: the Server Manager stayed away, or its disk was full; another attempt may go on.
    """
    try:
        link.tell(EngineProgress(phase="initialising", round=spec.next_round))
        finish = _outcome(lambda: _with_room(spec, link, work))
        reached("engine.finish.before")
        link.ask(lambda api: api.finish(finish))
        reached("engine.finish.after")
    except AttemptSuperseded as error:
        logger.info("another attempt took over: %s", error)


def _with_room(
    spec: AttemptSpec, link: ServerLink, work: Callable[[], EngineFinish]
) -> EngineFinish:
    """Do ``work``; when the disk does not take it, leave it to the next attempt, once it does."""
    try:
        return work()
    except OSError as error:
        folder = Path(spec.spool_dir)
        if not may_pass(error, folder):
            raise
        met = await_room(error, folder, link)
        raise Unavailable(f"until now {met.named()}: another attempt goes on") from error


def _outcome(work: Callable[[], EngineFinish]) -> EngineFinish:
    """What is to be said at the end."""
    try:
        return work()
    except StopRequested as stop:
        return EngineFinish(outcome=stop.outcome)
    except RunFailed as failure:
        return _failed(failure.reason, failure.text)
    except AttemptSuperseded:
        raise
    except Unavailable:
        logger.exception("this attempt cannot go on, another one may")
        raise
    except FedOpsError as error:
        return _failed(FailureReason.ENGINE_ERROR, error.message)
    except Exception as error:
        logger.exception("the round engine failed")
        return _failed(FailureReason.ENGINE_ERROR, _what_failed(error))


def _what_failed(error: Exception) -> str:
    shortage = shortage_of(error, getattr(error, "filename", None) or "")
    said = f"{type(error).__name__}: {error}"
    return f"{shortage.short()} ({said}); {shortage.remedy}" if shortage else said


def _failed(reason: FailureReason, text: str) -> EngineFinish:
    logger.error("the run failed (%s): %s", reason, text)
    return EngineFinish(outcome="failed", reason=reason, text=text[:4_000])
