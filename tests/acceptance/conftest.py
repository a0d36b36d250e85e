"""Whole federations, every part a process, started by the commands a user types."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from federating import WITH_LIGHT

from fedops.demo.federation import Federation


@pytest.fixture(scope="session", autouse=True)
def no_login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this user has logged in to must not matter."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FEDOPS_SERVER", "FEDOPS_TOKEN", "FEDOPS_SERVER_HOME", "FEDOPS_CLIENT_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("FEDOPS_LOGIN_FILE", str(tmp_path_factory.mktemp("login") / "cli.json"))
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so would all that is started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A Server Manager without devices, shared by the tests of a module."""
    with Federation(tmp_path_factory.mktemp("federation"), WITH_LIGHT) as federation:
        federation.start_server()
        yield federation
