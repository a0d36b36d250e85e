"""Log lines on a device: together by round, bounded, without secrets, never feeding on themselves."""

from __future__ import annotations

import logging
import threading

from fedops.client.spool.log_buffer import CHUNK_CHARACTERS, LineHandler, LogLines


def test_lines_are_put_together_by_run_and_round() -> None:
    now: list[tuple[int | None, int | None]] = [(None, None)]
    lines = LogLines(lambda: now[0])
    lines.add("starting")
    now[0] = (7, 1)
    lines.add("epoch 1")
    lines.add("epoch 2")
    now[0] = (7, 2)
    lines.add("epoch 1 again, token fo_device_abcdefghijklmnop")
    chunks = [(c.run_id, c.round, c.text) for c in lines.take()]
    assert chunks == [
        (None, None, "starting"),
        (7, 1, "epoch 1\nepoch 2"),
        (7, 2, "epoch 1 again, token fo_device_***"),
    ]
    assert lines.take() == []


def test_too_many_lines_lose_the_oldest_and_say_so() -> None:
    lines = LogLines(limit=10)
    for number in range(25):
        lines.add(f"line {number}")
    (chunk,) = lines.take()
    said = chunk.text.split("\n")
    assert said == [
        "(15 lines before this one are left out)",
        *(f"line {n}" for n in range(15, 25)),
    ]


def test_a_chunk_is_bounded() -> None:
    lines = LogLines()
    for _ in range(100):
        lines.add("x" * 1_000)
    lines.add("y" * 1_000_000)
    chunks = lines.take()
    assert max(len(c.text) for c in chunks) <= CHUNK_CHARACTERS
    assert sum(c.text.count("x") for c in chunks) == 100_000


def test_what_is_said_of_sending_logs_is_not_sent() -> None:
    lines, logger = LogLines(), logging.getLogger("fedops.client.test")
    handler = LineHandler(lines)
    ours = logging.getLogger("fedops")
    ours.addHandler(handler)
    try:
        logger.warning("the server is away: %s", "refused")
        logger.debug("too fine")
        logging.getLogger("fedops.client.spool").warning("cannot be written")
        logging.getLogger("httpx").warning("HTTP Request: POST")
        sender = threading.Thread(target=logger.warning, args=("refused 3 records",), name="spool")
        sender.start()
        sender.join()
    finally:
        ours.removeHandler(handler)
    texts = [c.text for c in lines.take()]
    assert texts == ["WARNING fedops.client.test: the server is away: refused"]
