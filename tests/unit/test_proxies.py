"""Which proxy is asked on the way to a server: none by itself."""

import pytest

from fedops.api_client.proxies import proxy_for, without_credentials
from fedops.core.errors import Invalid

SERVER = "http://fedops.example.org:8600"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy:3128")
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.setenv("no_proxy", "lab.example.org,192.0.2.9")


@pytest.mark.parametrize("setting", [None, ""])
def test_nobody_asked_for_one(setting: str | None) -> None:
    assert proxy_for(SERVER, setting) is None


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        (SERVER, "http://me:secret@proxy:3128"),
        ("https://fedops.example.org", "socks5://proxy:1080"),
        ("http://lab.example.org:8600", None),
        ("http://192.0.2.9:8600", None),
        ("http://127.0.0.1:8600", None),
        ("http://localhost:8600", None),
        ("http://[::1]:8600", None),
    ],
)
def test_the_one_of_the_environment(url: str, proxy: str | None) -> None:
    assert proxy_for(url, "environment") == proxy


def test_an_environment_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy")
    monkeypatch.delenv("ALL_PROXY")
    assert proxy_for(SERVER, "environment") is None


@pytest.mark.parametrize(
    "setting", ["http://p:1", "https://p", "socks5://p:1", "socks5h://u:x@p:1"]
)
def test_one_that_is_named(setting: str) -> None:
    assert proxy_for("http://127.0.0.1:1", setting) == setting
    assert proxy_for(SERVER, "p:3128") == "http://p:3128"


@pytest.mark.parametrize("setting", ["ftp://p:1", "http://", "socks4://p:1"])
def test_what_is_no_proxy(setting: str) -> None:
    with pytest.raises(Invalid, match=r"is no proxy: give http://HOST:PORT, .*socks5://HOST:PORT"):
        proxy_for(SERVER, setting)


def test_credentials_are_not_shown() -> None:
    assert without_credentials("http://me:secret@proxy:3128") == "http://proxy:3128"
    assert without_credentials("") == ""
