"""The owner's command: what it is given, what is said when it fails, and that it ends."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from fedops.client.serving.owner_command import OwnerCommand
from fedops.client.serving.served_model import ServedModel

V3 = ServedModel(task="mnist", version=3, sha256="0" * 64, size=1, promoted_at=0.0)


def run(folder: Path, code: str, seconds: float = 20.0, *, over: bool = False) -> str:
    command = OwnerCommand([sys.executable, "-c", code], seconds)
    return command.run(folder / "model.safetensors", V3, lambda: over)


def test_it_is_given_the_model_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDOPS_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MY_APP", "here")
    code = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    assert run(tmp_path, code) == ""
    env = json.loads((tmp_path / "env.json").read_text())
    assert env["FEDOPS_MODEL"] == str(tmp_path / "model.safetensors")
    assert (env["FEDOPS_MODEL_VERSION"], env["MY_APP"]) == ("3", "here")
    assert "secret" not in env.values()


def test_a_failure_is_named_and_its_words_stay_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problem = run(tmp_path, "print('port 80 is taken'); raise SystemExit(3)")
    assert "failed (exit status 3)" in problem
    assert "port 80" not in problem
    assert "port 80 is taken" in caplog.text
    nothing = OwnerCommand(["no-such-program"], 1.0)
    assert nothing.run(tmp_path / "m", V3, lambda: False).startswith(
        "cannot start 'no-such-program'"
    )
    assert OwnerCommand([], 1.0).run(tmp_path / "m", V3, lambda: False) == ""


def test_it_ends_in_time_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid)); time.sleep(60)"
    )
    began = time.monotonic()
    assert "took longer than 1 s" in run(tmp_path, code, 1.0)
    assert time.monotonic() - began < 8.0
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert "is ending" in run(tmp_path, "import time; time.sleep(60)", over=True)
