"""A reader for one page: a home, a clone and terminals of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from page_session import DATABASE, Reader
from postgres import POSTGRES, fresh_database
from stand_ins import make_clone, make_environment, make_mnist, make_stand_ins, plain_env
from terminals import Desk

from fedops.demo.federation import free_port


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn", reason="its digits stand in for MNIST")
    return make_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture
def reader_of(mnist: Path) -> Iterator[Callable[[str], Reader]]:
    """Makes the reader of a page with a given text."""
    # A short path: Ray's sockets lie below it.
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    desks: list[Desk] = []

    def make(text: str) -> Reader:
        home = folder / "home"
        home.mkdir()
        port = free_port()
        programs = make_environment(folder / "environment")
        stand_ins = make_stand_ins(folder / "programs", folder / "environment")
        # A page that makes a venv begins without FedOps; all others suppose that it is installed.
        path = [stand_ins] if "-m venv" in text else [stand_ins, programs]
        env = _env(home, mnist, port, path)
        desks.append(Desk(home, make_clone(folder / "fedops"), env))
        url = (
            databases.enter_context(fresh_database(POSTGRES, folder.name)) if POSTGRES else DATABASE
        )
        return Reader(desks[0], {"8600": str(port), "8611": str(free_port()), DATABASE: url})

    with ExitStack() as databases:
        yield make
        for desk in desks:
            desk.close()
    shutil.rmtree(folder, ignore_errors=True)


def _env(home: Path, mnist: Path, port: int, path: list[Path]) -> dict[str, str]:
    return {
        **plain_env(),
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PATH": os.pathsep.join([*map(str, path), os.environ.get("PATH", os.defpath)]),
        "COLUMNS": "100",
        "FEDOPS_SERVER_PORT": str(port),
        "FEDOPS_MNIST_DIR": str(mnist),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_TMPDIR": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "UV_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
