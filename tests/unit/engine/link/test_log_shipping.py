"""What the FL server logs is delivered in batches, once, without its own noise, and bounded."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from fedops.core.contracts import EngineLogs
from fedops.core.errors import Forbidden, Unavailable
from fedops.engine.link import log_shipping
from fedops.engine.link.log_shipping import LogShipping

logger = logging.getLogger("fedops.engine.test")


class Api:
    """Keeps what it is given; answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[EngineLogs] = []
        self.error: Exception | None = None
        self.called = threading.Event()
        self.round: int | None = None

    def logs(self, body: EngineLogs) -> None:
        self.bodies.append(body)
        self.called.set()
        if self.error:
            raise self.error

    @property
    def texts(self) -> list[str]:
        return [entry.text for body in self.bodies for entry in body.entries]


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def shipping(api: Api) -> Iterator[LogShipping]:
    made = LogShipping(api.logs, lambda: api.round, interval=0.02)
    root = logging.getLogger()
    root.addHandler(made)
    before = root.level
    root.setLevel(logging.INFO)
    yield made
    root.setLevel(before)
    root.removeHandler(made)
    made.close()


def test_lines_come_with_their_round_and_without_noise(api: Api, shipping: LogShipping) -> None:
    logger.info("before")
    api.round = 3
    logger.warning("slow, token %s", "fo_attempt_abcdefghijklmnop")
    logging.getLogger("httpx").info("HTTP Request: POST /engine/logs")
    logging.getLogger("httpx._client").warning("more of it")
    logging.getLogger("app.strategy").info("of the user's own code")
    shipping.close()
    assert api.texts == [
        "INFO fedops.engine.test: before",
        "WARNING fedops.engine.test: slow, token fo_attempt_***",
        "INFO app.strategy: of the user's own code",
    ]
    assert [e.round for b in api.bodies for e in b.entries] == [None, 3, 3]


def test_what_is_printed_comes_too_and_is_printed_still(
    api: Api, shipping: LogShipping, capsys: pytest.CaptureFixture[str]
) -> None:
    with shipping.printed():
        print("of the", end=" ")
        print("app's own\n\nkey fo_attempt_abcdefghijklmnop")
        print("\r 50 %\r100 %", file=sys.stderr)
        assert sys.stdout.isatty() is False
        print("no end", end="")
    print("not ours any more")
    shipping.close()
    assert api.texts == ["of the app's own", "key fo_attempt_***", "100 %"]
    said = capsys.readouterr()
    assert said.out.startswith("of the app's own\n\nkey fo_attempt_abc")
    assert said.out.endswith("no endnot ours any more\n")
    assert said.err == "\r 50 %\r100 %\n"


def test_a_server_that_was_away_gets_the_same_ids_again(api: Api, shipping: LogShipping) -> None:
    api.error = Unavailable("away")
    logger.info("one")
    assert api.called.wait(10)
    logger.info("two")
    api.error = None
    shipping.close()
    ids = [entry.id for body in api.bodies for entry in body.entries]
    assert api.texts[0] == "INFO fedops.engine.test: one"
    assert api.texts[-1] == "INFO fedops.engine.test: two"
    assert len(set(ids)) == 2


def test_what_the_server_will_never_take_is_let_go(api: Api, shipping: LogShipping) -> None:
    api.error = Forbidden("no")
    logger.info("one")
    shipping.close()
    assert len(api.bodies) == 1


def test_what_waits_is_bounded(
    api: Api, shipping: LogShipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shipping, "WAITING", 5)
    api.error = Unavailable("away")
    logger.info("first")
    assert api.called.wait(10)
    for number in range(9):
        logger.info("line %d", number)
    api.error = None
    shipping.close()
    assert "(4 lines before this one are left out)" in api.texts
    assert api.texts[-5:] == [f"INFO fedops.engine.test: line {n}" for n in range(4, 9)]
