"""What is sent: the JSON of a webhook with its signature, the text for Slack, the e-mail."""

from __future__ import annotations

import hmac
import json
from email.message import EmailMessage
from email.utils import formatdate

from fedops.core.contracts import MailServer
from fedops.core.printable import printable
from fedops.server.notifications.outbox import TEST, Claimed

VERSION = 1
_LONGEST_SUBJECT = 120


def webhook_body(message: Claimed, base: str) -> bytes:
    """The JSON document that a webhook gets. ``base``: the server's URL."""
    document = {
        "version": VERSION,
        "id": message.delivery,
        "rule": message.rule,
        "resolved": message.over,
        "test": message.rule == TEST,
        "subject": message.subject,
        "task": message.task,
        "run": message.run_id,
        "device": message.device,
        "sentence": message.sentence,
        "link": base + message.page,
        "command": message.command,
        "at": message.at,
    }
    return json.dumps(document, allow_nan=False).encode()


def webhook_headers(message: Claimed, body: bytes, secret: str, now: float) -> dict[str, str]:
    """What goes with it. With a secret, the moment and the body are signed."""
    stamp = str(int(now))
    headers = {"X-FedOps-Id": message.delivery, "X-FedOps-Timestamp": stamp}
    if secret:
        headers["X-FedOps-Signature"] = f"sha256={signature(secret, stamp, body)}"
    return headers


def signature(secret: str, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 of ``stamp.body``, in hex."""
    return hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()


def slack_body(message: Claimed, base: str) -> bytes:
    """What Slack, Mattermost and others take. Names of ours are no markup there."""
    sentence = _one_line(message.sentence)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        sentence = sentence.replace(char, entity)
    text = f"FedOps: {sentence}\n{base}{message.page}\n`{message.command}`"
    return json.dumps({"text": text}).encode()


def mail_of(message: Claimed, mail: MailServer, base: str) -> EmailMessage:
    """The e-mail: a short subject; the sentence, the link and the command in its text."""
    sentence = _one_line(message.sentence)
    subject = f"FedOps: {sentence}"
    if len(subject) > _LONGEST_SUBJECT:
        subject = subject[: _LONGEST_SUBJECT - 1] + "…"
    made = EmailMessage()
    made["Subject"] = subject
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    made["Date"] = formatdate(message.at)
    made["Message-ID"] = f"<{message.delivery}@fedops>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-FedOps-Id"] = message.delivery
    made.set_content(
        f"{sentence}.\n\nSee {base}{message.page}\nOr type: {message.command}\n\n"
        f"The channel {message.channel} of this FedOps server sent this.\n"
    )
    return made


def _one_line(text: str) -> str:
    """Whatever names hold, there is no line end in it, and so no further header."""
    return " ".join(printable(text).split())
