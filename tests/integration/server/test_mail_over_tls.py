"""Notifications by e-mail over real TLS: who is trusted, and what is said of the others."""

from __future__ import annotations

import datetime
import socket
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from receivers import mail_receiver

from fedops.core.contracts import MailServer
from fedops.server.notifications import mail_sender
from fedops.server.notifications.mail_sender import send_mail
from fedops.server.tls.authority import Authority


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """The certificate of an authority, and what a server has that it vouches for as ``localhost``."""
    folder, now = tmp_path_factory.mktemp("trust"), datetime.datetime.now(datetime.UTC)
    authority = Authority.make("tests", now)
    (folder / "server.pem").write_bytes(authority.issue(["localhost"], now))
    (folder / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def _send(port: int, **more: Any) -> mail_sender.Outcome:
    said = {"host": "localhost", "port": port, "user": "fl", "to": ["b@b.example"]}
    mail = MailServer(**said | {"sender": "a@b.example"} | more)
    message = EmailMessage()
    message.set_content("Run 7 failed.")
    return send_mail(mail, "the-password", message)


@pytest.mark.parametrize(("security", "at_once"), [("starttls", False), ("tls", True)])
def test_it_is_handed_in_to_a_server_that_is_trusted(
    trust: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    security: str,
    at_once: bool,
) -> None:
    authority, context = trust
    with mail_receiver(context, at_once) as receiver:
        refused = _send(receiver.port, security=security)
        assert not refused.sent
        assert "its certificate is not accepted" in refused.problem
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert not _send(receiver.port, security=security, host="127.0.0.1").sent
        assert receiver.signed_in == []
        assert _send(receiver.port, security=security).sent
        assert len(receiver.signed_in) == len(receiver.mails) == 1


def test_the_other_way_to_begin_is_named(
    trust: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_receiver(trust[1]) as receiver:
        outcome = _send(receiver.port, security="tls")
        assert "needs the security 'starttls'" in outcome.problem
    monkeypatch.setattr(mail_sender, "STEP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = _send(silent.getsockname()[1], host="127.0.0.1", security="starttls")
        assert "needs the security 'tls'" in outcome.problem
