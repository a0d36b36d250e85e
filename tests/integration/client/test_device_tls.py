"""A device and TLS: what it pins, what it refuses and why, and how it goes on after plain HTTP."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_manager import FakeServer
from fake_manager_server import fake_server

from fedops.api_client import DeviceClient, Untrusted, trust_pem
from fedops.client.device.authority_pin import AuthorityPin
from fedops.client.device.data_dir import DataDir, load_identity
from fedops.client.device.enrolment import join
from fedops.client.device.tls_upgrade import settle_trust, upgrade_to_tls
from fedops.core.errors import Conflict
from fedops.core.server_authority import upgrade_proof
from fedops.server.tls.certificates import Certificates, now_utc

HERE = frozenset({"127.0.0.1"})


@dataclass
class Server:
    fake: FakeServer
    url: str
    certificates: Certificates

    @property
    def line(self) -> str:
        return f"{self.url}#{self.certificates.authority().fingerprint}"


@contextmanager
def server_with(certificates: Certificates) -> Iterator[Server]:
    certificates.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_file)
    with fake_server(tls=context) as (fake, url):
        fake.authorities = certificates.ca_file.read_text()
        yield Server(fake, url, certificates)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with server_with(Certificates(tmp_path / "tls", lambda: HERE)) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "home")


def enrol(server: Server, home: DataDir) -> None:
    join(server.line, "good", "pi-1", home.path, patience=0)


def test_joining_by_a_line_keeps_the_authority_and_nothing_else_is_trusted(
    server: Server, home: DataDir, tmp_path: Path
) -> None:
    enrol(server, home)
    assert home.authorities.read_text() == server.certificates.ca_file.read_text()
    assert load_identity(home).server == server.url
    context = AuthorityPin(home, None).context
    assert len(context.get_ca_certs()) == 1
    with DeviceClient(server.url, token="fo_device_x", verify=context) as device:
        assert device.tasks()


def test_another_fingerprint_gets_no_token(server: Server, home: DataDir) -> None:
    other = f"{server.url}#sha256:{'0' * 64}"
    with pytest.raises(Untrusted, match="is not the server that the fingerprint is of"):
        join(other, "good", "pi-1", home.path, patience=30)  # it does not try again
    assert not server.fake.calls
    assert not home.authorities.exists()


def test_a_foreign_authority_in_the_bundle_is_not_kept(
    server: Server, home: DataDir, tmp_path: Path
) -> None:
    """Somebody on the way may add an authority of its own to the file that it passes on."""
    foreign = Certificates(tmp_path / "foreign", lambda: HERE)
    foreign.ensure()
    server.fake.authorities = foreign.ca_file.read_text() + (server.fake.authorities or "")
    enrol(server, home)
    assert home.authorities.read_text() == server.certificates.ca_file.read_text()


def test_without_a_fingerprint_it_takes_an_authority_that_the_machine_knows(
    server: Server, home: DataDir
) -> None:
    with pytest.raises(Untrusted, match=r"FedOps authority of .*whom this machine does not trust"):
        join(server.url, "good", "pi-1", home.path, patience=30)
    assert not server.fake.calls


# --- what is wrong, in words ---------------------------------------------------------------------


def refused_by(server: Server, client: ssl.SSLContext) -> str:
    with (
        DeviceClient(server.url, token="fo_device_x", verify=client) as device,
        pytest.raises(Untrusted) as refused,
    ):
        device.me()
    assert not server.fake.calls
    return refused.value.message


def shifted(folder: Path, days: float) -> Certificates:
    now = now_utc() + datetime.timedelta(days=days)
    return Certificates(folder, lambda: HERE, lambda: now)


def trusting(server: Server) -> ssl.SSLContext:
    return trust_pem(server.certificates.ca_file.read_text())


def test_a_certificate_of_the_future_is_a_wrong_clock(tmp_path: Path) -> None:
    with server_with(shifted(tmp_path / "tls", 400)) as server:
        said = refused_by(server, trusting(server))
    year = f"{now_utc() + datetime.timedelta(days=398):%Y-%m-%d}"
    assert f"is not valid before {year}" in said
    assert f"this machine's clock says {now_utc():%Y-%m-%d}" in said
    assert said.endswith("set the clock")


def test_an_expired_certificate(tmp_path: Path) -> None:
    with server_with(shifted(tmp_path / "tls", -400)) as server:
        said = refused_by(server, trusting(server))
    assert f"expired on {now_utc() - datetime.timedelta(days=310):%Y-%m-%d}" in said
    assert "renewed on the server" in said


def test_a_certificate_for_other_names(tmp_path: Path) -> None:
    names = frozenset({"fl.example.org", "10.0.0.7"})
    with server_with(Certificates(tmp_path / "tls", lambda: names)) as server:
        said = refused_by(server, trusting(server))
    assert "is not for '127.0.0.1' but for fl.example.org, 10.0.0.7" in said


def test_a_changed_authority_or_a_proxy_that_inspects_is_named(
    server: Server, tmp_path: Path
) -> None:
    other = Certificates(tmp_path / "other", lambda: HERE)
    other.ensure()
    said = refused_by(server, trust_pem(other.ca_file.read_text()))
    assert "issued by 'FedOps authority of" in said
    assert "not by the authority that is kept here. Nothing secret was sent" in said


def test_who_ends_tls_and_answers_nothing_is_named_all_the_same(
    server: Server, tmp_path: Path
) -> None:
    other = Certificates(tmp_path / "other", lambda: HERE)
    other.ensure()
    server.fake.unreachable = True
    said = refused_by(server, trust_pem(other.ca_file.read_text()))
    assert "issued by 'FedOps authority of" in said


def test_a_server_without_tls_says_so(home: DataDir) -> None:
    with fake_server() as (_, url):
        line = url.replace("http://", "https://")
        with pytest.raises(Untrusted, match="speaks no TLS"):
            join(line, "good", "pi-1", home.path, patience=0)


# --- a new authority -----------------------------------------------------------------------------


def test_a_new_authority_is_learnt_from_who_is_of_the_old_one(
    server: Server, home: DataDir
) -> None:
    enrol(server, home)
    pin = AuthorityPin(home, None)
    with DeviceClient(server.url, token="fo_device_x", verify=pin.context) as device:
        assert not pin.learn(device)
        server.certificates.rotate()
        server.fake.authorities = server.certificates.ca_file.read_text()
        assert pin.learn(device)
        assert not pin.learn(device)
        server.fake.authorities = "no certificate at all"
        assert not pin.learn(device)
        foreign = Certificates(home.path / "foreign", lambda: frozenset({"localhost"}))
        foreign.ensure()  # by that its own certificate is not valid
        server.fake.authorities = foreign.ca_file.read_text()
        assert not pin.learn(device)
    assert home.authorities.read_text() == server.certificates.ca_file.read_text()
    assert len(pin.context.get_ca_certs()) == 2
    with (
        server_with(server.certificates) as again,  # its certificate is of the new one
        DeviceClient(again.url, token="fo_device_x", verify=pin.context) as device,
    ):
        device.tasks()


def test_the_line_of_another_authority_is_pinned_by_joining_again(
    server: Server, home: DataDir, tmp_path: Path
) -> None:
    enrol(server, home)
    with pytest.raises(Untrusted):
        join(f"{server.url}#sha256:{'0' * 64}", "", None, home.path)
    assert home.authorities.read_text() == server.certificates.ca_file.read_text()
    with pytest.raises(Conflict, match="belongs to 'pi-1'"):
        join(server.url.replace("https://", "http://"), "", None, home.path)
    home.authorities.write_text("lost")
    assert not join(server.line, "", None, home.path).new
    assert home.authorities.read_text() == server.certificates.ca_file.read_text()


# --- after plain HTTP ----------------------------------------------------------------------------


@pytest.fixture
def plain(home: DataDir) -> Iterator[tuple[FakeServer, str]]:
    """A device that joined without TLS."""
    with fake_server() as (fake, url):
        join(url, "good", "pi-1", home.path, patience=0)
        yield fake, url


def answer(server: Server, token: str) -> Any:
    def upgrade(body: dict[str, Any]) -> dict[str, Any]:
        known, pem = hashlib.sha256(token.encode()).hexdigest(), server.fake.authorities or ""
        proof = upgrade_proof(known, body["nonce"], server.url, pem)
        return {"url": server.url, "authorities": pem, "proof": proof}

    return upgrade


def test_it_goes_on_with_tls_when_its_server_has_it(
    server: Server, home: DataDir, plain: tuple[FakeServer, str]
) -> None:
    fake, _ = plain
    before = load_identity(home)
    assert upgrade_to_tls(home, before, None, None) == before  # the server has none yet
    fake.upgrade = answer(server, before.token)
    after = upgrade_to_tls(home, before, None, None)
    assert after == replace(before, server=server.url) == load_identity(home)
    assert home.authorities.read_text() == server.fake.authorities
    assert upgrade_to_tls(home, after, None, None) == after


def test_who_does_not_know_the_token_upgrades_nobody(
    server: Server, home: DataDir, plain: tuple[FakeServer, str]
) -> None:
    fake, _ = plain
    before = load_identity(home)
    fake.upgrade = answer(server, "fo_device_guessed")
    with pytest.raises(Untrusted, match="does not show that it is the server"):
        upgrade_to_tls(home, before, None, None)
    assert not home.authorities.exists()
    assert load_identity(home) == before
    assert not server.fake.calls


def test_an_upgrade_that_leads_nowhere_keeps_what_there_was(
    server: Server, home: DataDir, plain: tuple[FakeServer, str]
) -> None:
    fake, _ = plain
    before = load_identity(home)
    fake.upgrade = answer(server, before.token)
    server.fake.unreachable = True
    assert upgrade_to_tls(home, before, None, None) == before
    assert load_identity(home) == before


def test_the_address_that_an_app_names_is_upgraded_too(
    server: Server, home: DataDir, plain: tuple[FakeServer, str]
) -> None:
    """``FEDOPS_SERVER`` stays what it was when the device joined."""
    fake, url = plain
    before = load_identity(home)
    assert settle_trust(home, before, url, None, None) == (before, url)
    fake.upgrade = answer(server, before.token)
    after, found = settle_trust(home, before, url, None, None)
    assert (after.server, found) == (server.url, server.url)
    same = server.url.replace("https://", "http://")
    assert settle_trust(home, after, same, None, None) == (after, server.url)


def test_a_server_that_moved_is_pinned_by_its_line(
    server: Server, home: DataDir, plain: tuple[FakeServer, str]
) -> None:
    before = load_identity(home)
    assert settle_trust(home, before, server.line, None, None) == (before, server.url)
    assert home.authorities.read_text() == server.fake.authorities
    with pytest.raises(Untrusted):
        settle_trust(home, before, f"{server.url}#sha256:{'0' * 64}", None, None)
