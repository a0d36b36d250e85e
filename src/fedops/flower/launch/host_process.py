"""What a ServerApp of ours sets up in the process that Flower gives it: its words, its errors, its end.

Flower keeps what is printed, logs every exception with its traceback, and ends a process hard five seconds
after asking it to; what Ray has started would then be left running.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Callable

import psutil
from flwr.app import Context

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.codec.compat import on_exit

#: From SIGTERM to SIGKILL.
GRACE_SECONDS = 1.0


def overrides_of(context: Context) -> list[str]:
    """The run config's ``set``: overrides of the app's config, parted by spaces, quoted as in a shell."""
    text = str(context.run_config.get("set", ""))
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Invalid(f"run config: set = '{text}' is not quoted right: {error}") from None


def log_to_flower() -> None:
    """Our lines go to standard output, which Flower keeps; nobody else's do."""
    ours = logging.getLogger("fedops")
    if not ours.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


def say_errors_plainly() -> None:
    """An error that its user can act on is one message in Flower's log, without a traceback."""
    logging.getLogger("flwr").addFilter(_plain)


def _plain(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, FedOpsError):
        record.msg, record.args = f"the run failed: {error.message}", ()
        record.exc_info = None
    return True


def on_leaving(first: Callable[[], None] | None = None) -> None:
    """When Flower ends this process: call ``first``, then end every process below it."""

    def leave() -> None:
        if first is not None:
            with contextlib.suppress(Exception):
                first()
        end_descendants()

    on_exit(leave)


def end_descendants() -> None:
    """End every process that this one has started, and what they started."""
    found = psutil.Process().children(recursive=True)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(found, timeout=GRACE_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
