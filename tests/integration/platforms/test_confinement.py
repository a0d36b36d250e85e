"""What a process gives up stays given up, for it and for all that it starts; what it keeps, it can use."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedops.core.contracts.confinement import Confinement
from fedops.core.errors import Unavailable
from fedops.platforms import landlock, seccomp
from fedops.platforms.confinement import InForce
from fedops.platforms.files import open_others
from fedops.processes.confining import confine, sentence
from fedops.processes.spawn import without_credentials

LINUX = pytest.mark.skipif(landlock.version() < landlock.PORTS, reason="Landlock with ports")

CHILD = """
import json, os, socket, subprocess, sys
from pathlib import Path
from fedops.core.contracts.confinement import Confinement
from fedops.processes.confining import confine
told = json.loads(sys.argv[1])
said = confine(Confinement.model_validate(told["confinement"]))

def tried(act):
    try:
        act()
        return True
    except OSError:
        return False

def connect(port):
    socket.create_connection(("127.0.0.1", port), 2).close()

home, run = Path(told["home"]), Path(told["run"])
print(json.dumps({
    "said": said,
    "secret": tried((home / "secret").read_text),
    "names": tried(lambda: os.listdir(home)),
    "by link": tried(lambda: (run / "link").symlink_to(home / "secret") or (run / "link").read_text()),
    "by hard link": tried(lambda: os.link(home / "secret", run / "hard")),
    "by child": subprocess.call(["cat", str(home / "secret")], stderr=subprocess.DEVNULL) == 0,
    "run folder": tried(lambda: (run / "mine").write_text("x")),
    "to rename": tried(lambda: (run / "mine").rename(run / "yours")),
    "by name": tried((home / "shelf" / "known").read_text),
    "shelf": tried(lambda: os.listdir(home / "shelf")),
    "elsewhere": tried(lambda: Path(told["elsewhere"]).write_text("x")),
    "port": tried(lambda: connect(told["port"])),
    "other port": tried(lambda: connect(told["other"])),
    "datagram": tried(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)),
    "raw": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "multipath": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)),
    "fast open": tried(lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", told["other"]))),
    "to listen": tried(lambda: socket.create_server(("127.0.0.1", 0))),
    "pair": tried(socket.socketpair),
    "signal": tried(lambda: os.kill(os.getppid(), 0)),
    "parent": tried(lambda: open(f"/proc/{os.getppid()}/mem", "rb")),
}))
"""
KEPT = {"run folder", "to rename", "by name", "port", "pair"}


def asked(place: Path, **more: object) -> dict[str, object]:
    home, run = place / "home", place / "home" / "run"
    run.mkdir(parents=True)
    (home / "shelf").mkdir()
    (home / "shelf" / "known").write_text("x")
    (home / "secret").write_text("x")
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        port = one.getsockname()[1]
        wanted = Confinement(
            hidden=[home], nameless=[home / "shelf"], writable=[run], port=port
        ).model_copy(update=more)
        told = {
            "confinement": wanted.model_dump(mode="json"),
            "home": str(home),
            "run": str(run),
            "elsewhere": str(place / "elsewhere"),
            "port": port,
            "other": two.getsockname()[1],
        }
        command = [sys.executable, "-c", CHILD, json.dumps(told)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@LINUX
def test_what_is_given_up_is_gone_and_the_rest_is_there(tmp_path: Path) -> None:
    found = asked(tmp_path)
    said = str(found.pop("said"))
    assert {name for name, got in found.items() if got} == KEPT
    assert "not in force" not in said
    assert "without network but TCP port" in said


@LINUX
def test_what_is_not_hidden_may_be_written_where_that_is_wished(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    found = asked(tmp_path, writes_rest=True, port=None)
    more = {"elsewhere", "other port", "datagram", "raw", "multipath", "fast open", "to listen"}
    assert {name for name, got in found.items() if got and name != "said"} <= KEPT | more
    assert found["elsewhere"]
    assert not found["secret"]


def test_where_a_part_cannot_be_done_it_is_named_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fedops.platforms.confinement._threads", lambda: 1)
    monkeypatch.setattr("fedops.platforms.confinement.drop_capabilities", lambda: None)
    monkeypatch.setattr("fedops.processes.confining.platform.write_no_core", lambda: None)
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "is_known", lambda: False)
    said = confine(Confinement(port=0))
    assert said.startswith("the app's code is unconfined: it runs as user ")
    assert "not in force: files: this system has no Landlock, network: " in said
    with pytest.raises(Unavailable, match="it cannot be confined here"):
        confine(Confinement(port=0, required=True))


def test_a_user_that_nobody_may_become_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedops.platforms.confinement._threads", lambda: 1)
    monkeypatch.setattr("fedops.processes.confining.platform.write_no_core", lambda: None)
    with pytest.raises(
        Unavailable, match="cannot be run as user no-such-user: this machine has no"
    ):
        confine(Confinement(files=False, user="no-such-user"))


def test_beside_what_is_hidden_all_is_named(tmp_path: Path) -> None:
    for name in ("a/b/secret", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = set(landlock.beside(tmp_path, frozenset({tmp_path / "a" / "b"})))
    assert found == {tmp_path / "a" / "c", tmp_path / "d"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (InForce(), "the app's code is unconfined: it runs as user me"),
        (InForce(True, 8600), "runs as user me, without network but TCP port 8600, without sight"),
        (InForce(True, 0), "as user me, without network, without sight of FedOps' own files"),
        (InForce(user="me"), "the app's code runs as user me"),
        (InForce(True, None, None, ("network: no",)), "own files; not in force: network: no"),
    ],
)
def test_what_is_in_force_is_one_sentence(found: InForce, words: str) -> None:
    assert words in sentence(found, "me")


def test_a_file_of_another_user_is_read_only_if_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_others(tmp_path / "file") as file:
        assert file.read() == b"x"
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "none"):
        with pytest.raises(OSError, match=r"no file|symbolic|No such"):
            open_others(tmp_path / name)


def test_no_account_of_another_program_is_handed_on() -> None:
    env = {
        "PATH": "/bin",
        "HF_TOKEN": "x",
        "AWS_PROFILE": "x",
        "PGPASSWORD": "x",
        "OPENAI_API_KEY": "x",
        "HTTPS_PROXY": "http://me:word@proxy:3128",
        "NO_PROXY": "localhost",
        "HF_HOME": "/cache",
    }
    assert sorted(without_credentials(env)) == ["HF_HOME", "NO_PROXY", "PATH"]
