"""A reader for one page: a home, a clone and terminals of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_session import Reader
from stand_ins import PROGRAMS, installed_notes, make_clone, make_mnist, make_stand_ins, plain_env
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
        env = _env(home, mnist, port, make_stand_ins(folder / "programs"), text)
        desks.append(Desk(home, make_clone(folder / "fedops"), env))
        return Reader(desks[0], port)

    yield make
    for desk in desks:
        desk.close()
    shutil.rmtree(folder, ignore_errors=True)


def _env(home: Path, mnist: Path, port: int, stand_ins: Path, text: str) -> dict[str, str]:
    # A page that makes a venv begins without FedOps; all others suppose that it is installed.
    programs = [] if "-m venv" in text else [str(PROGRAMS)]
    return {
        **plain_env(),
        "HOME": str(home),
        "PATH": os.pathsep.join([str(stand_ins), *programs, os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(installed_notes(stand_ins)),
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
