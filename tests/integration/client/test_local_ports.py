"""Local ports and the report pipe: the next free port, and a trainer that never waits."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from fedops.client.local.http import LocalClient, LocalServer, bind, make_app
from fedops.client.local.messages import ClientInfo, TrainingClientStatus
from fedops.client.local.report_pipe import ReportPipe
from fedops.core.errors import Conflict, Forbidden, Invalid, Unavailable
from fedops.core.states import ProcessStatus


def test_the_next_free_port_is_taken() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port) as second:
            assert port < second.getsockname()[1] < port + 100


def test_when_no_port_is_left_the_message_says_which_were_tried() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 65_535))
        other.listen()
        with pytest.raises(Unavailable, match=r"between 65535 and 65535 on 127\.0\.0\.1"):
            bind("127.0.0.1", 65_535)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(Invalid, match="loopback"):
        bind(host, 0)


def test_errors_travel_with_their_kind() -> None:
    app = make_app("test", "secret")

    @app.post("/busy")
    def busy() -> None:
        raise Conflict("it is busy")

    @app.get("/online")
    def online() -> TrainingClientStatus:
        return TrainingClientStatus(status="idle", pid=1)

    server = LocalServer(app, bind("127.0.0.1", 0))
    server.start()
    good, bad = LocalClient(server.url, "secret"), LocalClient(server.url, "wrong")
    assert good.get("/online", TrainingClientStatus).pid == 1
    with pytest.raises(Conflict, match="it is busy"):
        good.post("/busy")
    with pytest.raises(Forbidden, match="token"):
        bad.get("/online", TrainingClientStatus)
    with pytest.raises(Unavailable, match="another program"):
        good.get("/online", ClientInfo)
    server.stop()
    with pytest.raises(Unavailable, match="nothing answers"):
        good.get("/online", TrainingClientStatus)
    good.close()
    bad.close()


def test_who_reports_never_waits_even_when_nobody_reads() -> None:
    read_end, write_end = os.pipe()
    report = ReportPipe(write_end)
    begin = time.monotonic()
    for number in range(30_000):
        report.event("e", "x" * 100, number=number)
    assert time.monotonic() - begin < 5
    report.working(ProcessStatus.TRAINING, "t", 7, 2)
    assert report.now.run_id == 7
    os.close(read_end)
    report.close()
    os.close(write_end)


def test_reports_arrive_whole_and_in_order() -> None:
    read_end, write_end = os.pipe()
    report = ReportPipe(write_end)
    report.ready(8003)
    report.idle()
    report.metric("loss", 0.5, 7, 2)
    report.event("odd", "text", value=object())
    report.fatal("no")
    report.close()
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        kinds = [json.loads(line)["kind"] for line in stream]
    assert kinds == ["ready", "state", "metric", "event", "fatal"]


def test_a_taken_port_elsewhere_does_not_confuse() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with bind("127.0.0.1", other.getsockname()[1]) as found:
            assert found.getsockname()[1] != other.getsockname()[1]
