"""Lines of the log as JSON objects, our own and those of libraries in one shape."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer
from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name
from structlog.tracebacks import ExceptionDictTransformer

from fedops.core.redaction import HIDDEN, names_a_secret, redact
from fedops.processes import log_context

_Event = structlog.typing.EventDict


def as_json() -> logging.Handler:
    """A handler that writes one object a line to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    # Never the variables of a frame: they hold secrets.
    tracebacks = ExceptionDictTransformer(show_locals=False, max_frames=30)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[add_log_level, add_logger_name, _when, _about],
            processors=[
                ExceptionRenderer(tracebacks),
                ProcessorFormatter.remove_processors_meta,
                _in_order,
                _without_secrets,
                JSONRenderer(default=str),
            ],
        )
    )
    return handler


def hear_threads() -> None:
    """What ends a thread, and warnings, are lines of the log, too."""
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is None or isinstance(failed.exc_value, SystemExit):
        return
    name = failed.thread.name if failed.thread else "?"
    logging.getLogger("fedops").error("thread '%s' failed", name, exc_info=failed.exc_value)


def _when(_: Any, __: str, event: _Event) -> _Event:
    """When it was logged, which may be before it is written."""
    moment = datetime.fromtimestamp(event["_record"].created, UTC)
    return {**event, "at": moment.isoformat(timespec="milliseconds")}


def _about(_: Any, __: str, event: _Event) -> _Event:
    """The run, task and device, as the code around says or as the line itself does (``extra``)."""
    said = log_context.chosen(event["_record"].__dict__)
    return {**event, **log_context.known(), **said}


def _in_order(_: Any, __: str, event: _Event) -> _Event:
    """The same names of the same things in each line."""
    line = {name: event.pop(name) for name in ("at", "level", "logger") if name in event}
    return {**line, "message": event.pop("event", ""), **event}


def _without_secrets(_: Any, __: str, event: _Event) -> _Event:
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    """Whatever is within, too."""
    if isinstance(value, str):
        return HIDDEN if names_a_secret(name) else redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(name, one) for one in value]
    return value
