"""The log as JSON: one shape for all lines, what they are about, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from fedops.core.errors import Invalid
from fedops.settings import client_settings, server_settings

PROGRAM = """
import logging, threading, warnings
from fedops.processes.log_output import log_to_stderr
from fedops.processes.log_context import about, always_about

log_to_stderr(form="json")
ours, foreign = logging.getLogger("fedops.server"), logging.getLogger("uvicorn.error")

def fail(password):
    hidden_local = "a-local-that-nobody-may-see"
    raise ValueError("it went wrong with token=abcdefgh12345")

always_about(device="pi-1")
ours.info("a line of ours\\nwith another, and %s", "fo_admin_abcdefghijkl")
with about(run_id=7, task="mnist", what="no name that a line may say"):
    foreign.warning("a foreign one", extra={"color_message": "x", "websocket": object()})
    ours.info("said by itself", extra={"run_id": 8})
logging.getLogger("httpx").info("nobody wants to read this")
try:
    fail("a-password-as-an-argument")
except ValueError:
    ours.exception("failed")
ours.info("%d is no number", "this")
ours.info("the last of the main thread")
thread = threading.Thread(target=fail, args=("a-password-as-an-argument",), name="worker")
thread.start(); thread.join()
warnings.warn("old")
"""


@pytest.fixture(scope="module")
def said() -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr


@pytest.fixture(scope="module")
def lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_each_line_has_one_shape(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 7
    for line in lines:
        assert list(line)[:4] == ["at", "level", "logger", "message"]
        assert line["at"].endswith("+00:00")
    assert [line["level"] for line in lines][:3] == ["info", "warning", "info"]
    assert "\n" in lines[0]["message"]


def test_a_line_says_what_it_is_about(lines: list[dict[str, Any]]) -> None:
    ours, foreign, itself = lines[:3]
    assert ours["device"] == "pi-1"
    assert "run_id" not in ours
    assert (foreign["logger"], foreign["run_id"], foreign["task"]) == ("uvicorn.error", 7, "mnist")
    assert foreign.keys() == {"at", "level", "logger", "message", "run_id", "task", "device"}
    assert itself["run_id"] == 8


def test_a_traceback_has_no_variables_and_no_line_a_secret(
    said: str, lines: list[dict[str, Any]]
) -> None:
    failed = next(line for line in lines if line["message"] == "failed")
    assert failed["exception"][0]["exc_type"] == "ValueError"
    assert [frame["name"] for frame in failed["exception"][0]["frames"]][-1] == "fail"
    assert "thread 'worker' failed" in [line["message"] for line in lines]
    objects = json.dumps(lines)
    for secret in ("a-local-that", "a-password-as", "abcdefgh12345", "fo_admin_abcdefghijkl"):
        assert secret not in objects, secret


def test_programs_take_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (server_settings().log_format, client_settings().log_format) == ("text", "text")
    monkeypatch.setitem(os.environ, "FEDOPS_LOG_FORMAT", "json")
    assert (server_settings().log_format, client_settings().log_format) == ("json", "json")
    monkeypatch.setitem(os.environ, "FEDOPS_LOG_FORMAT", "xml")
    with pytest.raises(Invalid, match="log_format"):
        server_settings()
