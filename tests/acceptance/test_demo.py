"""``fedops demo``, from the outside: one command, a good model, and nothing left behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from federating import processes_of, until_gone

from fedops.demo.federation import FEDOPS
from fedops.demo.run import find_app
from fedops.processes.spawn import clean_env
from fedops.settings import cli_settings


def start_demo(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FEDOPS, "demo", "--home", str(home), "--json", "--no-download", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the demo prints at its defaults."""
    home = tmp_path_factory.mktemp("demo") / "home"
    process = start_demo(home)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert until_gone(home) == []
    lines = out.splitlines()
    assert len(lines) == 1, lines
    return {**json.loads(lines[0]), "stderr": err}


def test_the_report_has_exactly_the_promised_keys(report: dict) -> None:
    assert set(report) - {"stderr"} == {
        "dataset",
        "devices",
        "rounds",
        "final_accuracy",
        "model_version",
        "model_path",
        "model_sha256",
        "total_seconds",
        "processes",
    }
    assert [r["round"] for r in report["rounds"]] == [1, 2, 3, 4, 5]
    for record in report["rounds"]:
        assert set(record) == {
            "round",
            "accuracy",
            "loss",
            "seconds",
            "overhead_seconds",
            "participants",
        }
        assert record["participants"] == ["device-1", "device-2", "device-3"]
        assert 0 <= record["overhead_seconds"] < record["seconds"]


def test_the_model_is_good(report: dict) -> None:
    assert report["model_version"] == "V1"
    assert report["rounds"][-1]["accuracy"] == report["final_accuracy"]
    if cli_settings().mnist_dir is not None:
        assert report["final_accuracy"] >= 0.88


def test_every_part_is_a_process_of_its_own(report: dict) -> None:
    names = [process["name"] for process in report["processes"]]
    assert len({process["pid"] for process in report["processes"]}) == len(names)
    for part in ("Server Manager", "FL server"):
        assert names.count(part) == 1
    for device in ("device-1", "device-2", "device-3"):
        assert names.count(f"Client Manager {device}") == 1
        assert names.count(f"training client {device}") == 1


def test_the_model_file_loads_into_ones_own_class(report: dict) -> None:
    path = Path(report["model_path"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == report["model_sha256"]
    snippet = report["stderr"].split("Use it in your own code:\n")[1].split("\n\nLook again")[0]
    check = "\nimport torch\nprint(model(torch.zeros(1, 1, 28, 28)).shape)"
    done = subprocess.run(
        [sys.executable, "-c", snippet + check],
        cwd=find_app(),  # where the class is importable, installed or not
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "torch.Size([1, 10])", done.stderr


def test_it_says_what_it_overrides_and_how_to_look_again(report: dict) -> None:
    text = report["stderr"]
    assert "batch_size=32, clients_per_round=3, num_rounds=5, random_seed=42" in text
    assert "fedops server --home" in text


def is_training(home: Path) -> bool:
    """Whether a training client is there that has begun to load what it needs."""
    return any("fedops.client.training" in words for words in processes_of(home))


def has_committed(home: Path) -> bool:
    """Whether a round is over."""
    try:
        with closing(sqlite3.connect(f"file:{home}/server/fedops.db?mode=ro", uri=True)) as db:
            query = "SELECT count(*) FROM rounds WHERE committed_at IS NOT NULL"
            return bool(db.execute(query).fetchone()[0])
    except sqlite3.Error:  # not yet there, or not yet with all of its tables
        return False


def until(condition: Callable[[Path], bool], home: Path) -> None:
    deadline = time.monotonic() + 180.0
    while not condition(home):
        assert time.monotonic() < deadline, f"{condition.__name__}: not within three minutes"
        time.sleep(0.05)


# What one that is killed while it ``is_training`` leaves behind, the next test sees.
@pytest.mark.parametrize(
    "after", [1.0, 3.0, pytest.param(is_training, marks=pytest.mark.long), has_committed]
)
def test_ctrl_c_leaves_no_process_behind(
    after: float | Callable[[Path], bool], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start_demo(home, "--devices", "2", "--rounds", "1000")
    if isinstance(after, float):
        time.sleep(after)
    else:
        until(after, home)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    # While the command is still loaded, the signal itself ends it. A shell shows both as 130.
    assert process.returncode in (130, -signal.SIGINT), err
    assert "Traceback" not in err
    assert out == ""
    assert until_gone(home) == []


def test_killing_the_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = start_demo(home, "--devices", "1", "--rounds", "1000")
    until(is_training, home)
    process.kill()
    process.communicate()
    assert until_gone(home) == []


def test_keep_leaves_the_server_up_with_the_model(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = start_demo(home, "--devices", "1", "--rounds", "1", "--keep")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    pid = int((home / ".fedops-demo").read_text())
    try:
        url = err.split("The server stays up:\n")[1].split()[0]
        token = (home / "server" / "admin-token").read_text().strip()
        words = ["model", "list", "mnist-demo", "--server", url, "--json"]
        done = subprocess.run(
            [*FEDOPS, *words],
            env={**clean_env(), "FEDOPS_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
        )
        assert [m["version"] for m in json.loads(done.stdout)] == [0, 1], done.stderr
        again = start_demo(home)
        _, said = again.communicate(timeout=60)
        assert again.returncode == 5
        assert f"kill {pid}" in said
    finally:
        os.kill(pid, signal.SIGTERM)
    assert until_gone(home) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mnist", "/nowhere"], "/nowhere does not hold MNIST: it lacks 'train-images-idx3"),
        (["--app", "/nowhere"], "no app folder /nowhere"),
        (["--devices", "0"], "--devices"),
    ],
)
def test_a_mistake_is_said_before_anything_starts(
    options: list[str], says: str, tmp_path: Path
) -> None:
    process = start_demo(tmp_path / "home", *options)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert says in err
    assert json.loads(out)["kind"] == "invalid"
    assert not (tmp_path / "home").exists()


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    process = start_demo(tmp_path)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "not of an earlier demo" in err
    assert (tmp_path / "precious.txt").read_text() == "mine"
