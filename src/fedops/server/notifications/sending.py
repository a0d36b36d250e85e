"""Sends one message, whatever its channel is. It takes no longer than a few seconds, and raises nothing."""

from __future__ import annotations

import logging

from fedops.core.errors import FedOpsError
from fedops.core.redaction import HIDDEN, redact
from fedops.core.states import ChannelKind
from fedops.server.notifications import bodies
from fedops.server.notifications.channel_secrets import ChannelSecrets
from fedops.server.notifications.mail_sender import send_mail
from fedops.server.notifications.outbox import Claimed
from fedops.server.notifications.retrying import Outcome
from fedops.server.notifications.web_sender import post

logger = logging.getLogger("fedops.server.notifications")


def deliver(message: Claimed, secrets: ChannelSecrets, base: str, now: float) -> Outcome:
    """Send it. ``base``: the server's URL. What the receiver says is kept without the secret."""
    secret = ""
    try:
        secret = secrets.read(message.secret)
        outcome = _send(message, secret, base, now)
    except FedOpsError as error:
        return Outcome(False, error.message, final=True)
    except Exception as error:  # a fault of ours must not be tried for ever
        logger.error("channel %s: %s while sending", message.channel, type(error).__name__)
        return Outcome(False, f"it could not be sent: {type(error).__name__}", final=True)
    problem = outcome.problem.replace(secret, HIDDEN) if secret else outcome.problem
    return Outcome(outcome.sent, redact(problem), outcome.final, outcome.retry_after)


def _send(message: Claimed, secret: str, base: str, now: float) -> Outcome:
    match message.kind:
        case ChannelKind.WEBHOOK:
            body = bodies.webhook_body(message, base)
            headers = bodies.webhook_headers(message, body, secret, now)
            return post(message.address, body, headers)
        case ChannelKind.SLACK:
            return post(secret, bodies.slack_body(message, base), {})
        case ChannelKind.EMAIL:
            assert message.mail is not None
            return send_mail(message.mail, secret, bodies.mail_of(message, message.mail, base))
