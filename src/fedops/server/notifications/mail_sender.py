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
_SILENT = "it said nothing; one that expects TLS from the beginning, as at port 465, needs the security 'tls'"
_LATER = " from the beginning; one that begins with it later, as at port 587, needs the security 'starttls'"


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
        return Outcome(False, f"the mail server cannot be used: {_why(error, mail)}")
    return Outcome(True, _refused(refused) if refused else "")


def _send(mail: MailServer, password: str, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    context = ssl.create_default_context()
    with _server(mail, context) as server:
        timer = threading.Timer(SECONDS, _cut, (server,))
        timer.daemon = True
        timer.start()
        try:
            _connect(server, mail)
            server.ehlo_or_helo_if_needed()
            if mail.security == "starttls":
                server.starttls(context=context)
                server.ehlo()
            if mail.user and password:
                server.login(mail.user, password)
            return server.send_message(message, mail.sender, list(mail.to))
        finally:
            timer.cancel()


def _connect(server: smtplib.SMTP, mail: MailServer) -> None:
    try:
        server.connect(mail.host, mail.port)
    except smtplib.SMTPServerDisconnected as error:
        if mail.security == "tls":
            raise
        raise OSError(_SILENT) from error


def _why(error: Exception, mail: MailServer) -> str:
    """What is wrong, and what to do where that can be told."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {_text(error.verify_message)}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return f"it does not speak TLS{_LATER if mail.security == 'tls' else ''}"
    known = getattr(error, "strerror", None) or str(error)
    return _text(known) or type(error).__name__


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
