"""A proxy between a device and its server: used when the device's settings say so, and named in errors."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from fake_manager_server import fake_server
from proxy_servers import http_proxy, socks_proxy

from fedops.client.device.device_config import load_device_config
from fedops.client.device.enrolment import join
from fedops.client.manager.connections import Connections
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Unavailable


class Connected:
    """The connections of a device, all of them ended at once."""

    def __init__(self, to: Connections) -> None:
        self.poll, self.device = to.poll, to.device
        self._all = (to.poll, to.news, to.work, to.blobs, to.device)

    def close(self) -> None:
        for each in self._all:
            each.close()


def connected(url: str, proxy: str | None = None) -> Connected:
    return Connected(Connections.open(url, "fo_device_x", proxy=proxy))


PROXIES = {"http": http_proxy, "socks5": socks_proxy}


@pytest.fixture(autouse=True)
def office(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which everything is to go over a proxy, which does not answer."""
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_the_environment_alone_changes_nothing(tmp_path: Path) -> None:
    with fake_server() as (_, url):
        assert join(url, "good", "pi-1", tmp_path).new
        with closing(connected(url)) as to:
            assert [task.name for task in to.device.tasks()] == ["mnist"]


@pytest.mark.parametrize("kind", PROXIES)
def test_all_calls_go_over_the_proxy_of_the_settings(kind: str, tmp_path: Path) -> None:
    with fake_server() as (server, url), PROXIES[kind]() as (proxy, targets):
        assert join(url, "good", "pi-1", tmp_path, proxy=proxy).new
        assert len(server.joins) == 1
        before = len(targets)
        assert before == 2, "is it plain HTTP that the server wants, then the token"
        assert load_device_config(tmp_path / "device.toml").network.proxy == proxy
        with closing(connected(url, proxy)) as to:
            assert to.poll.work(c.WorkPoll(tasks=["mnist"])).tasks == ["mnist"]
            assert to.device.tasks()
        assert targets == [url.removeprefix("http://")] * len(targets)
        assert len(targets) == before + 2


def test_what_cannot_be_reached_names_the_proxy_without_its_password(tmp_path: Path) -> None:
    proxy = "http://me:secret@127.0.0.1:9"
    with pytest.raises(Unavailable, match=r"through the proxy http://127\.0\.0\.1:9: ") as error:
        join("http://192.0.2.1:8600", "good", "pi-1", tmp_path, patience=0.0, proxy=proxy)
    assert "secret" not in str(error.value)


def test_settings_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("[limits]\nthreads = 1\n")
    with (
        fake_server() as (_, url),
        pytest.raises(Conflict, match=r'write proxy = "http://p:1" into its section \[network\]'),
    ):
        join(url, "good", "pi-1", tmp_path, proxy="http://p:1")
    assert (tmp_path / "device.toml").read_text() == "[limits]\nthreads = 1\n"
