"""A run whose models and updates go by two file servers behind nginx. One of them is killed in mid-run."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from federating import QUIET, until

from fedops.client.device.enrolment import join
from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import FEDOPS, Federation, free_port
from fedops.failpoints import VARIABLE

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from nginx import ACCEL_PREFIX, MISSING, PROGRAM, Nginx, nginx
from postgres import fresh_database

POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
pytestmark = [
    pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server"),
    pytest.mark.skipif(PROGRAM is None, reason=MISSING),
]
STEADY = Path(__file__).parent / "apps" / "steady"
NAMES = ["ada", "bob"]
ROUNDS, EXAMPLES = 3, 16
#: A line of nginx's log: method, digest or rest of the path, status, bytes, and who was asked.
_FILES = re.compile(r'"(\S+) /api/v1/blobs\S* HTTP/1.1" (\d+) (\d+) to (.*)')


class FileServers(Federation):
    """A Server Manager, and beside it, in its home folder, two file servers."""

    ports: dict[str, int]
    proxy: Nginx
    database_url: str

    def start_file_servers(self) -> None:
        for name, port in self.ports.items():
            command = ["server", "files", "--home", str(self.server_home), "--port", str(port)]
            self._start(name, [*FEDOPS, *command])
        self.until("file servers to answer", lambda: all(map(self._answers, self.ports.values())))

    def _answers(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start_device(self, name: str) -> None:
        with self.operator() as operator:
            token = operator.create_token(c.TokenCreate()).token
        join(self.proxy.url, str(token), name, self.device_home(name), ca_file=self.proxy.ca_file)
        index = NAMES.index(name)
        place = [f"dataset.partition.index={index}", f"dataset.partition.of={len(NAMES)}"]
        trace = {"STEADY_TRACE": str(self.home / "trace")}
        ca_file = {"FEDOPS_CLIENT_CA_FILE": str(self.proxy.ca_file)}
        self.start_client(name, STEADY, "steady", overrides=place, **trace, **ca_file)

    def files(self) -> list[tuple[str, int, int, list[int]]]:
        """What was asked of files: method, status, bytes, and the ports that were asked."""
        log = (self.proxy.folder / "access.log").read_text()
        return [
            (method, int(status), int(size), [int(p.rpartition(":")[2]) for p in to.split(", ")])
            for method, status, size, to in _FILES.findall(log)
        ]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = sa.create_engine(self.database_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[FileServers]:
    assert POSTGRES
    with ExitStack() as stack:
        name = f"acceptance_{uuid.uuid4().hex}"
        url = stack.enter_context(fresh_database(POSTGRES, name))
        armed = tmp_path / "failpoints" / "server.delivery.before.armed"
        armed.parent.mkdir()
        armed.write_text("kill@3")  # an update of the second round is there, and nobody knows
        env = {
            **QUIET,
            "FEDOPS_SERVER_ACCEL_PREFIX": ACCEL_PREFIX,
            "FEDOPS_DATABASE_URL": url,
            VARIABLE: str(armed.parent),
        }
        made = stack.enter_context(FileServers(tmp_path, env))
        made.database_url, made.ports = url, {"files-1": free_port(), "files-2": free_port()}
        made.start_server()
        made.start_file_servers()
        stored, ports = made.server_home / "artifacts", list(made.ports.values())
        made.proxy = stack.enter_context(nginx(tmp_path / "nginx", made.port, stored, ports))
        made.create_task("steady", STEADY)
        (tmp_path / "trace").mkdir()
        for device in NAMES:
            made.start_device(device)
        made.until_ready(NAMES, seconds=90.0)
        yield made


def test_a_file_server_is_killed_in_mid_run_and_the_other_serves_its_devices(
    federation: FileServers,
) -> None:
    start = c.RunStart(overrides=[f"num_rounds={ROUNDS}", "data.pace=0.05"])
    with federation.operator() as operator:
        run = operator.start_run("steady", start)
    ended = until(federation, run.id, RunStatus.COMPLETED)
    assert ended.committed_rounds == ROUNDS

    (killed,) = [name for name in federation.ports if not federation.parts[name].running]
    (left,) = [name for name in federation.ports if name != killed]
    files = federation.files()
    asked = [to for *_, to in files]
    assert {port for to in asked for port in to} == set(federation.ports.values())
    died = max(i for i, to in enumerate(asked) if federation.ports[killed] in to)
    after = {method: to[-1] for method, status, _, to in files[died:] if status in (200, 201)}
    assert after == dict.fromkeys(("GET", "POST"), federation.ports[left])
    models = [size for method, status, size, _ in files if (method, status) == ("GET", 200)]
    assert min(models) > 100_000, "nginx sent them"

    traces = {name: federation.home / "trace" / str(index) for index, name in enumerate(NAMES)}
    trained = {name: trace.stat().st_size for name, trace in traces.items()}
    assert trained == dict.fromkeys(NAMES, ROUNDS * EXAMPLES), "nobody trained twice"
    tries = f"SELECT round, count(*), max(retry) FROM assignments WHERE run_id = {run.id} AND kind = 'train'"
    rounds = federation.rows(f"{tries} GROUP BY round ORDER BY round")
    assert rounds == [(number, 2, 0) for number in range(1, ROUNDS + 1)]
    ends_in_order(federation, left)


def ends_in_order(federation: FileServers, name: str) -> None:
    part, url = federation.parts[name], f"http://127.0.0.1:{federation.ports[name]}"
    part.stop()
    assert part.process.wait(10.0) == 0
    log = part.log.read_text()
    assert f"File server on {url}: it serves {url}/api/v1/blobs and {url}/health" in log
    assert "ending on SIGTERM" in log
    assert "Traceback" not in log
