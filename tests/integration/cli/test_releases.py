"""Devices and servers of different releases: what is shown, and what is refused with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from managing import World, managing, node_key

from fedops import __version__
from fedops.api_client import JoinClient, OtherVersion, WorkClient
from fedops.cli.main import main
from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


def test_a_device_of_another_release_works_and_is_shown(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, old = world.join("old")
    _, same = world.join("same")
    assert old.poll(c.WorkPoll(info=c.DeviceInfo(fedops="1.9.9"))).fedops == __version__
    same.poll(c.WorkPoll(info=c.DeviceInfo(fedops=__version__)))
    other = {device.name: device.other_release for device in world.operator.devices()}
    assert other == {"old": f"1.9.9, the server has {__version__}", "same": ""}
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    monkeypatch.setenv("FEDOPS_TOKEN", token)
    for words in (["list"], ["show", "old"]):
        with pytest.raises(SystemExit):
            main(["device", *words, "--server", world.url])
        said = capsys.readouterr().out
        assert "1.9.9, the server has" in said  # a narrow column goes on in the next line
        assert __version__ in said


@pytest.mark.parametrize(
    ("protocol", "where"),
    [("0", "update FedOps on this machine"), ("9", "update FedOps on the server")],
)
def test_another_protocol_is_refused_at_joining_and_at_work(
    protocol: str, where: str, world: World
) -> None:
    _, device = world.join("a")
    with JoinClient(world.url) as joining, WorkClient(world.url, token=device.token) as work:
        for client in (joining, work):
            client._http.headers.update({c.PROTOCOL_HEADER: protocol, c.RELEASE_HEADER: "9.9.9"})
        body = join_request(world.join_token(), "b", node_key(), c.DeviceInfo())
        with pytest.raises(OtherVersion, match=where) as refused:
            joining.join(body)
        assert "(FedOps 9.9.9)" in refused.value.message
        with pytest.raises(OtherVersion, match=where):
            work.work(c.WorkPoll())
    assert [one.name for one in world.operator.devices()] == ["a"]


class Older(BaseHTTPRequestHandler):
    """A server from before there were these calls."""

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self._answer(404)

    def _answer(self, status: int) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


def test_a_server_that_does_not_know_our_calls_is_to_be_updated() -> None:
    server = HTTPServer(("127.0.0.1", 0), Older)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        body = join_request("fo_join_x", "b", node_key(), c.DeviceInfo())
        with (
            JoinClient(f"http://127.0.0.1:{server.server_port}") as client,
            pytest.raises(OtherVersion, match="update FedOps there"),
        ):
            client.join(body)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
