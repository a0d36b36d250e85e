"""The server's authority and certificate: made, renewed, rotated, and what a client says to them."""

from __future__ import annotations

import datetime
import os
import pwd
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from handshakes import shake

from fedops.core.errors import Invalid
from fedops.server.tls.authority import Authority, names_of
from fedops.server.tls.certificates import OVERLAP_DAYS, Certificates, now_utc
from fedops.server.tls.endpoint import TlsEndpoint, ca_fingerprint, ca_pem, join_url
from fedops.server.tls.names import server_names
from fedops.settings import ServerSettings, server_settings

NAMES = frozenset({"localhost", "127.0.0.1", "fl.example.org"})


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    certificates = Certificates(tmp_path / "tls", lambda: NAMES)
    assert certificates.ensure()
    return certificates


def later(made: Certificates, days: float) -> Certificates:
    now = now_utc() + datetime.timedelta(days=days)
    return replace(made, now=lambda: now)


def serving(made: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_file)
    return context


def trusting(pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python does by itself from 3.13 on
    return context


@pytest.mark.parametrize("name", sorted(NAMES))
def test_who_pins_the_authority_accepts_the_server_by_each_name(
    made: Certificates, name: str
) -> None:
    shake(serving(made), trusting(made.ca_file.read_text()), name)


def test_another_name_or_another_authority_is_not_accepted(
    made: Certificates, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'elsewhere\.org'"):
        shake(serving(made), trusting(made.ca_file.read_text()), "elsewhere.org")
    other = Certificates(tmp_path / "other", lambda: NAMES)
    other.ensure()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(serving(other), trusting(made.ca_file.read_text()))


def test_nobody_else_reads_the_keys(made: Certificates) -> None:
    assert made.folder.stat().st_mode & 0o777 == 0o700
    for name in ("authority.pem", "server.pem"):
        assert (made.folder / name).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in made.ca_file.read_bytes()


def test_what_is_there_and_good_stays(made: Certificates) -> None:
    before = made.server_file.read_bytes()
    assert not made.ensure()
    assert not later(made, 50).ensure()
    assert made.server_file.read_bytes() == before


def test_it_is_renewed_before_it_ends(made: Certificates) -> None:
    before, authority = made.server_certificate(), made.ca_file.read_bytes()
    soon = later(made, 65)
    assert soon.ensure()
    assert soon.server_certificate().not_valid_after_utc > before.not_valid_after_utc
    assert made.ca_file.read_bytes() == authority


def test_a_new_name_makes_a_new_certificate_of_the_same_authority(made: Certificates) -> None:
    authority = made.ca_file.read_bytes()
    more = replace(made, names=lambda: NAMES | {"10.1.2.3"})
    assert more.ensure()
    assert names_of(more.server_certificate()) == NAMES | {"10.1.2.3"}
    assert made.ca_file.read_bytes() == authority


def test_after_a_rotation_the_old_and_the_new_authority_are_trusted(made: Certificates) -> None:
    old = made.ca_file.read_text()
    new = made.rotate()
    both = made.ca_file.read_text()
    newest = x509.load_pem_x509_certificates(both.encode())[0]
    assert newest == new.certificate
    for pem in (old, both, newest.public_bytes(Encoding.PEM).decode()):
        shake(serving(made), trusting(pem))
    assert made.ensure() is False


def test_after_the_overlap_the_old_authority_is_forgotten(made: Certificates) -> None:
    made.rotate()
    after = later(made, OVERLAP_DAYS + 1)
    assert after.ensure()
    assert len(x509.load_pem_x509_certificates(after.ca_file.read_bytes())) == 1


def test_who_rotates_may_know_fewer_names_than_the_server(made: Certificates) -> None:
    replace(made, names=lambda: frozenset({"localhost"})).rotate()
    assert names_of(made.server_certificate()) == NAMES
    assert not made.ensure()


def test_an_authority_that_ends_is_rotated_in_time(made: Certificates) -> None:
    before = made.authority().fingerprint
    late = later(made, 3_500)
    assert late.ensure()
    assert late.authority().fingerprint != before
    assert len(x509.load_pem_x509_certificates(late.ca_file.read_bytes())) == 2


def test_a_rotation_that_was_cut_off_heals(made: Certificates) -> None:
    """The new authority was written, and nothing was made of it."""
    (made.folder / "authority.pem").write_bytes(Authority.make("x", now_utc()).pem)
    assert made.ensure()
    shake(serving(made), trusting(made.ca_file.read_text()))


def test_an_authority_that_is_over_introduces_nobody(made: Certificates) -> None:
    after = later(made, 3_651.0)
    after.rotate()
    assert after.overlap_until is None
    assert len(x509.load_pem_x509_certificates(after.ca_file.read_bytes())) == 1


def test_until_when_devices_may_learn_is_known(made: Certificates) -> None:
    assert made.overlap_until is None
    made.rotate()
    assert made.overlap_until is not None
    assert later(made, OVERLAP_DAYS + 1.0).overlap_until is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes into the folders of others")
def test_what_root_rotates_stays_the_servers_own(made: Certificates) -> None:
    nobody = pwd.getpwnam("nobody")
    for path in (made.folder, *made.folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    made.rotate()
    assert {path.stat().st_uid for path in made.folder.iterdir()} == {nobody.pw_uid}


def test_a_certificate_without_its_key_changes_nothing(tmp_path: Path) -> None:
    one, other = (Certificates(tmp_path / name, lambda: NAMES) for name in ("one", "other"))
    for each in (one, other):
        each.ensure()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for file in (chain, key):
        file.write_bytes(one.server_file.read_bytes())
    settings = ServerSettings(home=tmp_path, tls_cert=chain, tls_key=key, tls="on")
    endpoint = TlsEndpoint(settings)
    chain.write_bytes(other.server_file.read_bytes())
    with pytest.raises(Invalid, match="cannot be used"):
        endpoint.refresh()
    shake(endpoint.context, trusting(one.ca_file.read_text()), "localhost")
    stamp = key.stat()
    key.write_bytes(other.server_file.read_bytes())
    os.utime(key, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as 'cp -p' would
    endpoint.refresh()
    shake(endpoint.context, trusting(other.ca_file.read_text()), "localhost")


def test_a_damaged_authority_is_named(made: Certificates) -> None:
    (made.folder / "authority.pem").write_text("nothing")
    with pytest.raises(Invalid, match=r"authority\.pem.*bring it back from a backup"):
        made.ensure()


# --- the endpoint ------------------------------------------------------------------------------


def settings_of(home: Path, **given: object) -> ServerSettings:
    return server_settings(home=home, tls="on", **given)


def test_a_running_server_shows_its_new_certificate(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    endpoint = TlsEndpoint(settings)
    client = trusting((ca_pem(settings) or b"").decode())
    first = shake(endpoint.context, client)
    endpoint.refresh()
    assert shake(endpoint.context, client) == first
    Certificates(tmp_path / "tls", lambda: NAMES).rotate()
    endpoint.refresh()
    assert shake(endpoint.context, client) != first


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    own = Certificates(tmp_path / "own", lambda: NAMES)
    own.ensure()
    pair = {"tls_cert": own.server_file, "tls_key": own.server_file}
    settings = settings_of(tmp_path / "home", **pair)
    endpoint = TlsEndpoint(settings)
    first = shake(endpoint.context, trusting(own.ca_file.read_text()))
    assert (ca_pem(settings), join_url(settings)) == (None, "https://127.0.0.1:8600")
    named = settings_of(tmp_path / "home", tls_ca=own.ca_file, **pair)
    assert join_url(named) == f"https://127.0.0.1:8600#{ca_fingerprint(named)}"
    assert ca_fingerprint(named) == own.authority().fingerprint
    own.server_file.unlink()
    own.ensure()  # somebody replaced the file
    endpoint.refresh()
    assert shake(endpoint.context, trusting(own.ca_file.read_text())) != first
    assert not (tmp_path / "home" / "tls").exists()
    own.server_file.write_text("half a file")
    with pytest.raises(Invalid, match="cannot be used"):
        endpoint.refresh()
    shake(endpoint.context, trusting(own.ca_file.read_text()))  # it goes on with what it has


def test_the_names_of_a_server() -> None:
    here = {"localhost", "127.0.0.1", "::1"}
    named = server_names(server_settings(host="192.0.2.9", tls_names="FL.example.org, 10.0.0.1"))
    assert named >= here | {"192.0.2.9", "fl.example.org", "10.0.0.1"}
    public = server_names(server_settings(public_url="https://fed.example:8443/x"))
    assert public >= here | {"fed.example"}
    assert "0.0.0.0" not in server_names(server_settings(host="0.0.0.0"))
