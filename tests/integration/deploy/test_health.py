"""The health check of the images, against what answers in a container."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedops.client.device.data_dir import DataDir, write_secret
from fedops.client.local.messages import ClientStatus, ServerStatus
from fedops.core.contracts import ProcessReport
from fedops.core.states import ProcessStatus
from fedops.server.tls.certificates import Certificates

HEALTH = Path(__file__).parents[3] / "deploy" / "health.py"


@contextmanager
def answering(
    path: str, document: Any, token: str = "", chain: Path | None = None
) -> Iterator[int]:
    """A port at which one path answers, if the token is right. ``chain``: by TLS, with this certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = not token or self.headers["Authorization"] == f"Bearer {token}"
            self.send_response(200 if self.path == path and known else 404)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if chain is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def check(role: str, **env: str) -> tuple[int, str]:
    proxies = {"http_proxy": "http://127.0.0.1:9", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(HEALTH), role], env=proxies | env, capture_output=True, text=True
    )
    assert not done.stderr
    return done.returncode, done.stdout


def server_check(home: Path, port: int, scheme: str = "http") -> tuple[int, str]:
    """Of a server that said at its start where it is."""
    (home / "local-url").write_text(f"{scheme}://127.0.0.1:{port}\n")
    return check("server", FEDOPS_SERVER_HOME=str(home))


def test_a_server_that_answers_is_well(tmp_path: Path) -> None:
    with answering("/health", {"status": "ok"}) as port:
        assert server_check(tmp_path, port) == (0, "answers: {'status': 'ok'}\n")


def test_a_server_with_tls_is_asked_by_tls(tmp_path: Path) -> None:
    made = Certificates(tmp_path / "tls", lambda: frozenset({"fl.example.org"}))
    made.ensure()
    with answering("/health", {"status": "ok"}, chain=made.server_file) as port:
        assert server_check(tmp_path, port, "https") == (0, "answers: {'status': 'ok'}\n")


def test_a_server_that_does_not_answer_is_not_well(tmp_path: Path) -> None:
    with answering("/other", {}) as port:
        code, line = server_check(tmp_path, port)
    assert code == 1
    assert "404" in line


def test_a_server_that_has_not_begun_is_not_well(tmp_path: Path) -> None:
    code, line = check("server", FEDOPS_SERVER_HOME=str(tmp_path))
    assert code == 1
    assert "local-url" in line


@pytest.mark.parametrize(
    ("state", "reachable", "code"),
    [
        (ProcessStatus.IDLE, True, 0),
        (ProcessStatus.TRAINING, False, 0),
        (ProcessStatus.FATAL, True, 1),
    ],
)
def test_a_device_is_well_unless_its_training_client_was_given_up(
    tmp_path: Path, state: ProcessStatus, reachable: bool, code: int
) -> None:
    home = DataDir(tmp_path)
    status = ClientStatus(
        device="pi-1",
        home=str(tmp_path),
        running=True,
        server=ServerStatus(url="http://127.0.0.1:9", reachable=reachable, seconds=1.0),
        process=ProcessReport(status=state),
        why="as it is",
    )
    with answering("/status", status.model_dump(mode="json"), home.make_local_token()) as port:
        write_secret(home.local_api, json.dumps({"pid": 1, "url": f"http://127.0.0.1:{port}"}))
        found, line = check("device", FEDOPS_CLIENT_HOME=str(tmp_path))
    assert found == code
    assert "as it is" in line


def test_a_device_that_has_not_begun_is_not_well(tmp_path: Path) -> None:
    code, line = check("device", FEDOPS_CLIENT_HOME=str(tmp_path))
    assert code == 1
    assert "local-api.json" in line
