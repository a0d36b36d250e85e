"""A device's credential is replaced while server or device dies at any point of it: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from server_process import ServerProcess, eventually, server_process

from fedops.api_client import DeviceClient
from fedops.client.device.data_dir import DataDir, Identity, load_identity
from fedops.client.device.enrolment import join
from fedops.client.manager.credential_renewal import CredentialRenewal
from fedops.client.work.reachability import Reachability
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Forbidden
from fedops.failpoints import VARIABLE

#: What a Client Manager does at its start, and when it is time.
LIFE = """
import sys
from pathlib import Path
from fedops.api_client import DeviceClient
from fedops.client.device.data_dir import DataDir, load_identity
from fedops.client.manager.credential_renewal import CredentialRenewal
from fedops.client.work.reachability import Reachability
home = DataDir(Path(sys.argv[1]))
me = load_identity(home)
client = DeviceClient(me.server, token=me.token)
renewal = CredentialRenewal(home, me, client, Reachability(me.server), print, 1.0)
renewal.settle()
if sys.argv[2] == "renew":
    renewal.renew()
print(client.me().name)
"""
DEVICE_POINTS = ("made", "kept", "confirmed")
SERVER_POINTS = ("made", "confirmed")


@pytest.fixture
def failpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of failpoints for whatever is started from now on; this process has none."""
    folder = tmp_path / "failpoints"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


@pytest.fixture
def server(failpoints: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path / "server") as made:
        yield made


@pytest.fixture
def home(server: ServerProcess, tmp_path: Path) -> DataDir:
    with server.operator() as operator:
        token = operator.create_token(c.TokenCreate()).token
    assert token
    join(server.url, token, "pi", tmp_path / "pi")
    return DataDir(tmp_path / "pi")


def live(home: DataDir, what: str = "settle") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIFE, str(home.path), what]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def is_good(identity: Identity, token: str) -> bool:
    with DeviceClient(identity.server, token=token) as client:
        try:
            return client.me().name == "pi"
        except Forbidden:
            return False


@contextmanager
def renewal_of(home: DataDir, used: list[str]) -> Iterator[CredentialRenewal]:
    me = load_identity(home)
    with DeviceClient(me.server, token=me.token) as client:
        yield CredentialRenewal(home, me, client, Reachability(me.server), used.append, 1.0)


def test_whoever_dies_the_device_goes_on_with_one_good_credential(
    server: ServerProcess, home: DataDir, failpoints: Path
) -> None:
    for point in DEVICE_POINTS:
        passes = failpoints / f"manager.credential.{point}"
        number = passes.stat().st_size + 1 if passes.exists() else 1
        (failpoints / f"manager.credential.{point}.armed").write_text(f"kill@{number}")
        before = load_identity(home)
        assert live(home, "renew").returncode < 0  # killed
        assert is_good(before, load_identity(home).token)
        again = live(home, "settle")
        assert (again.returncode, again.stdout.splitlines()[-1:]) == (0, ["pi"])
        after = load_identity(home)
        assert after.next_token is None
        assert (after.token != before.token) == (point != "made")
        assert is_good(after, after.token)


@pytest.mark.parametrize("point", SERVER_POINTS)
def test_a_server_that_dies_has_forgotten_nothing(
    server: ServerProcess, home: DataDir, failpoints: Path, point: str
) -> None:
    (failpoints / f"server.credential.{point}.armed").write_text("kill@1")
    before = load_identity(home)
    used: list[str] = []
    with renewal_of(home, used) as renewal:
        with pytest.raises(FedOpsError):
            renewal.renew()
        assert renewal.is_open == (point == "confirmed")
        assert used == []
        eventually(lambda: (failpoints / f"server.credential.{point}.fired").exists())
        server.end()
        server.start()
        assert is_good(before, before.token)
        if renewal.is_open:
            renewal.settle()
        else:
            renewal.renew()
    after = load_identity(home)
    assert used == [after.token] != [before.token]
    assert is_good(after, after.token)


def test_a_server_of_before_the_renewal_gets_the_credential_that_it_knows(
    server: ServerProcess, home: DataDir
) -> None:
    before = load_identity(home)
    used: list[str] = []
    with renewal_of(home, used) as renewal:
        renewal.renew()
        after = load_identity(home)
        assert after.former_token == before.token
        assert not renewal.go_back()  # the server has given that up
        assert load_identity(home) == after
    # A server that was restored knows the former one, and not the last.
    replace(after, token="fo_device_unknown_here", former_token=after.token).save(home)
    with renewal_of(home, used) as renewal:
        assert renewal.go_back()
        found = load_identity(home)
        assert (found.token, found.former_token, found.token_since) == (after.token, None, None)
        assert used[-1] == after.token
        renewal.renew()
    assert is_good(after, load_identity(home).token)


def test_what_others_change_in_the_file_stays(server: ServerProcess, home: DataDir) -> None:
    with renewal_of(home, []) as renewal:
        moved = replace(load_identity(home), name="moved")
        moved.save(home)
        renewal.renew()
    assert load_identity(home).name == "moved"
    assert load_identity(home).token != moved.token


def test_one_that_was_never_confirmed_is_given_up(server: ServerProcess, home: DataDir) -> None:
    before = load_identity(home)
    replace(before, next_token="fo_device_it_has_ended").save(home)
    with renewal_of(home, []) as renewal:
        renewal.settle()
        assert load_identity(home) == before
        renewal.renew()
    assert load_identity(home).token != before.token
    assert json.loads(home.identity.read_text())["next_token"] is None
    assert home.identity.stat().st_mode & 0o077 == 0
