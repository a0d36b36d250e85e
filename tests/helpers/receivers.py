"""Receivers of notifications on loopback: an HTTP server and a mail server that do as they are told."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Call:
    """A POST that came in."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebReceiver:
    """Answers with the statuses of ``answers``, one after the other; then with 200."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    #: While it is not set, nobody is answered.
    awake: threading.Event = field(default_factory=threading.Event)

    def answer(self, status: int, text: str = "", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, named, text))


@contextmanager
def web_receiver() -> Iterator[WebReceiver]:
    """An HTTP server on a free port."""
    receiver = WebReceiver()
    receiver.awake.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            lower = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls.append(Call(self.path, lower, body))
            receiver.awake.wait(30)
            status, headers, text = receiver.answers.pop(0) if receiver.answers else (200, {}, "ok")
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        with _in_a_thread(server.serve_forever):
            try:
                yield receiver
            finally:
                receiver.awake.set()
                server.shutdown()


@dataclass
class MailReceiver:
    """What was handed in: from whom, to whom, the text. ``refuses``: answers to commands, by their verb."""

    port: int = 0
    mails: list[tuple[str, list[str], str]] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    #: What AUTH was given.
    signed_in: list[str] = field(default_factory=list)


@contextmanager
def mail_receiver(
    tls: ssl.SSLContext | None = None, at_once: bool = False
) -> Iterator[MailReceiver]:
    """A mail server on a free port. With ``tls`` it offers STARTTLS, or speaks TLS ``at_once``."""
    receiver = MailReceiver()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                self._converse()
            except OSError:  # who does not trust us hangs up
                return
            finally:
                if self._is_private():
                    self.request.close()

        def _encrypt(self) -> None:
            assert tls is not None
            self.request = tls.wrap_socket(self.request, server_side=True)
            self.setup()

        def _converse(self) -> None:
            if at_once:
                self._encrypt()
            self._say("220 here")
            sender, to = "", []
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                verb = line.split(" ")[0].upper()
                if verb in receiver.refuses:
                    self._say(receiver.refuses[verb])
                elif verb == "EHLO":
                    offers = "STARTTLS" if tls and not self._is_private() else "AUTH PLAIN"
                    self._say(f"250-here\r\n250 {offers}")
                elif verb == "STARTTLS":
                    self._say("220 go on")
                    self._encrypt()
                elif verb == "AUTH":
                    receiver.signed_in.append(line)
                    self._say("235 come in")
                elif verb == "MAIL":
                    sender = line.partition("<")[2].partition(">")[0]
                    self._say("250 ok")
                elif verb == "RCPT":
                    to.append(line.partition("<")[2].partition(">")[0])
                    self._say("250 ok")
                elif verb == "DATA":
                    self._say("354 go on")
                    receiver.mails.append((sender, to, self._text()))
                    self._say("250 taken")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _is_private(self) -> bool:
            return isinstance(self.request, ssl.SSLSocket)

        def _text(self) -> str:
            lines = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            return "\n".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        with _in_a_thread(server.serve_forever):
            try:
                yield receiver
            finally:
                server.shutdown()


@contextmanager
def _in_a_thread(work: Callable[..., None]) -> Iterator[None]:
    thread = threading.Thread(target=work, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield
    thread.join(5)
