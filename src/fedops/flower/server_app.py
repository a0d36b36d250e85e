"""The FL server of an attempt, a child process of the Server Manager: ``python -m fedops.flower.server_app``.

Its first line of stdin says where the server is and who it is; after that stdin is the tie to its parent.
It says hello before it imports any framework, so that the Server Manager soon knows that it is there.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from fedops.api_client import EngineClient
from fedops.core.contracts import AttemptSpec, EngineHello, EngineTicket
from fedops.core.errors import AttemptSuperseded, FedOpsError, Invalid
from fedops.engine.link.log_shipping import LogShipping
from fedops.engine.link.server_link import RETRY_SECONDS, ServerLink
from fedops.failpoints import reached
from fedops.platforms.processes import lower_priority
from fedops.processes.confining import confine
from fedops.processes.environment import describe_environment
from fedops.processes.json_lines import read_first_line
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent

logger = logging.getLogger("fedops.engine")
#: How much lower its priority is than the Server Manager's.
NICE = 5


def main() -> int:
    """Execute an attempt. Returns when the run, or the attempt's part in it, is over."""
    log_to_stderr("%(name)s: %(message)s")
    try:
        ticket = read_ticket(read_first_line(0))
        confined = confine(ticket.confinement)  # first: it holds for this thread and those to come
        die_with_parent()
        _give_way()
        with EngineClient(ticket.server_url, token=ticket.token) as api:
            execute(ticket, api, confined=confined)
    except FedOpsError as error:
        logger.error("%s", error.message)
        return error.exit_code
    return 0


def _give_way() -> None:
    """Whoever calls the Server Manager is answered before this process aggregates, where cores are few."""
    lower_priority(NICE)


def execute(
    ticket: EngineTicket,
    api: EngineClient,
    retry_seconds: float = RETRY_SECONDS,
    confined: str = "",
) -> None:
    """Say hello, and then do what the run asks for, with its lines sent to the server."""
    with ServerLink(api, retry_seconds) as link:
        shipping = LogShipping(api.logs, lambda: link.round)
        logging.getLogger().addHandler(shipping)
        try:
            with shipping.printed():
                run_attempt(ticket.app_dir, link, confined)
        finally:
            logging.getLogger().removeHandler(shipping)
            shipping.close()


def run_attempt(app_dir: Path, link: ServerLink, confined: str = "") -> None:
    """The attempt from its hello to its last word."""
    hello = EngineHello(pid=os.getpid(), environment=describe_environment(), confined=confined)
    if confined:
        logger.info("%s", confined)
    try:
        spec = link.ask(lambda api: api.hello(hello))
    except AttemptSuperseded as error:
        logger.info("another attempt took over: %s", error)
        return
    reached("engine.hello")
    _work(spec, app_dir, link)


def _work(spec: AttemptSpec, app_dir: Path, link: ServerLink) -> None:
    from fedops.flower.server_side import play_attempt  # takes seconds: it imports frameworks

    play_attempt(spec, app_dir, link)


def read_ticket(line: bytes) -> EngineTicket:
    """The ticket that the Server Manager wrote. ``Invalid`` when it is none."""
    try:
        return EngineTicket.model_validate_json(line)
    except ValidationError:
        raise Invalid(
            "there is no attempt's ticket on standard input: a FedOps server starts this program itself"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
