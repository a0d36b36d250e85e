"""Hands e-mail in at a mail server, within a time."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage

from fedops.core.contracts import MailServer
from fedops.core.printable import printable
from fedops.server.notifications.retrying import Outcome

#: For each step, and for all of a try: a server that sends a letter at a time is not waited for. Seconds.
STEP_SECONDS, SECONDS = 10.0, 20.0
_SHOWN = 200
#: Answers from here on are final.
_PERMANENT = 500


def send_mail(mail: MailServer, password: str, message: EmailMessage) -> Outcome:
    """Hand a message in. Certificates are checked."""
    try:
        refused = _send(mail, password, message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return Outcome(
            False, _refused(error.recipients), final=all(code >= _PERMANENT for code in codes)
        )
    except smtplib.SMTPResponseException as error:
        said = f"it answered {error.smtp_code}: {_text(error.smtp_error)}"
        return Outcome(False, said, final=error.smtp_code >= _PERMANENT)
    except smtplib.SMTPNotSupportedError as error:
        return Outcome(False, f"{_text(str(error))}", final=True)
    except (smtplib.SMTPException, OSError) as error:
        known = getattr(error, "strerror", None) or str(error)
        why = "it did not answer in time" if isinstance(error, TimeoutError) else _text(known)
        return Outcome(False, f"the mail server cannot be used: {why or type(error).__name__}")
    return Outcome(True, _refused(refused) if refused else "")


def _send(mail: MailServer, password: str, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    context = ssl.create_default_context()
    with _server(mail, context) as server:
        timer = threading.Timer(SECONDS, _cut, (server,))
        timer.daemon = True
        timer.start()
        try:
            server.connect(mail.host, mail.port)
            server.ehlo_or_helo_if_needed()
            if mail.security == "starttls":
                server.starttls(context=context)
                server.ehlo()
            if mail.user and password:
                server.login(mail.user, password)
            return server.send_message(message, mail.sender, list(mail.to))
        finally:
            timer.cancel()


def _server(mail: MailServer, context: ssl.SSLContext) -> smtplib.SMTP:
    """Not connected yet."""
    if mail.security == "tls":
        made: smtplib.SMTP = smtplib.SMTP_SSL(timeout=STEP_SECONDS, context=context)
    else:
        made = smtplib.SMTP(timeout=STEP_SECONDS)
    made._host = mail.host  # type: ignore[attr-defined]  # what the certificate must be of
    return made


def _cut(server: smtplib.SMTP) -> None:
    """End a conversation that takes too long."""
    if server.sock is not None:
        try:
            server.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _refused(recipients: dict[str, tuple[int, bytes]]) -> str:
    shown = [f"{who} ({code}: {_text(said)})" for who, (code, said) in recipients.items()]
    return f"it refused {'; '.join(shown[:3])}"


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(printable(text).split())[:_SHOWN]
