"""Settings: given values, environment, defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fedops.core.errors import Invalid
from fedops.server_urls import is_loopback
from fedops.settings import client_settings, server_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER_HOME", "SERVER_PORT", "SERVER_HOST", "DATABASE_URL", "CLIENT_HOME"):
        monkeypatch.delenv(f"FEDOPS_{name}", raising=False)


def test_defaults() -> None:
    settings = server_settings()
    assert (settings.host, settings.port, settings.approval) == ("127.0.0.1", 8600, "auto")
    assert settings.url == "http://127.0.0.1:8600"
    assert settings.home == Path("~/.fedops/server").expanduser()
    assert settings.database == f"sqlite:///{settings.home}/fedops.db"
    assert (client_settings().port, client_settings().training_port) == (8004, 8003)


def test_a_server_that_moved_is_given_as_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_settings(server="192.0.2.7:8600/").server == "http://192.0.2.7:8600"
    monkeypatch.setenv("FEDOPS_CLIENT_SERVER", "http://there:port")
    with pytest.raises(Invalid, match="no URL of a Server Manager"):
        client_settings()


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_SERVER_PORT", "9000")
    monkeypatch.setenv("FEDOPS_DATABASE_URL", "postgresql+psycopg://me@here/db")
    assert server_settings().port == 9000
    assert server_settings(port=None).port == 9000
    assert server_settings(port=9001).port == 9001
    assert server_settings().database == "postgresql+psycopg://me@here/db"
    assert server_settings(database_url="sqlite://").database == "sqlite://"


def test_mistakes_name_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_SERVER_PORT", "many")
    with pytest.raises(Invalid, match=r"port \(environment: FEDOPS_SERVER_PORT\)"):
        server_settings()
    with pytest.raises(Invalid, match="approval"):
        server_settings(port=1, approval="perhaps")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_only_loopback_is_served_without_tls(host: str, local: bool) -> None:
    assert is_loopback(host) is local
    settings = server_settings(host=host)
    settings.require_safe_binding()
    assert settings.uses_tls is not local
    plain = server_settings(host=host, tls="off")
    if local:
        plain.require_safe_binding()
    else:
        with pytest.raises(Invalid, match=f"refusing to listen on {host} without TLS"):
            plain.require_safe_binding()
    allowed = server_settings(host=host, insecure=True)
    allowed.require_safe_binding()
    assert (allowed.uses_tls, allowed.is_insecure) == (False, not local)


def test_who_speaks_tls() -> None:
    assert server_settings(tls="on").url == "https://127.0.0.1:8600"
    own = server_settings(tls_cert=Path("a"), tls_key=Path("b"))
    assert own.uses_tls
    with pytest.raises(Invalid, match="belong together"):
        server_settings(tls_cert=Path("a")).require_safe_binding()
    behind = server_settings(host="0.0.0.0", tls="proxy", public_url="https://fed.example")
    behind.require_safe_binding()
    assert (behind.uses_tls, behind.is_insecure) == (False, False)


def test_urls() -> None:
    assert server_settings(host="::1", port=1).url == "http://[::1]:1"
    public = server_settings(host="0.0.0.0", port=1, public_url="https://fed.example/")
    assert public.url == "https://fed.example"
    assert public.local_url == "https://127.0.0.1:1"
    # FL servers have a port of their own, of loopback: no certificate is needed there.
    assert public.model_copy(update={"engine_port": 7}).engine_url == "http://127.0.0.1:7"
    assert server_settings(port=1).engine_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("make", [server_settings, client_settings])
def test_a_home_is_the_same_whatever_the_working_directory_becomes(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert make(home=Path("here")).home == tmp_path / "here"
    monkeypatch.setenv("FEDOPS_SERVER_HOME", "there")
    monkeypatch.setenv("FEDOPS_CLIENT_HOME", "there")
    assert make().home == tmp_path / "there"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make(home=Path("~/x")).home == tmp_path / "x"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("public_url", "fl.example.org", "is no URL: it looks like https://"),
        ("public_url", "ftp://fl.example.org", "is no URL of a Server Manager"),
        ("public_url", "https://[::1", "is no URL of a Server Manager"),
        ("tls_names", "https://fl.example.org:8600", "no name of a host and no address"),
        ("names", "fl.example.org,[::1]", "no name of a host and no address"),
    ],
)
def test_what_is_no_address_is_refused_at_once(name: str, value: str, said: str) -> None:
    with pytest.raises(Invalid, match=re.escape(said)):
        server_settings(**{name: value})


def test_proxies_are_networks_also_on_a_socket_for_both_kinds() -> None:
    found = server_settings(trusted_proxies="10.0.0.1/24, 2001:db8::1").listed_proxies
    assert found == ["10.0.0.0/24", "2001:db8::1/128", "::ffff:10.0.0.0/120"]
