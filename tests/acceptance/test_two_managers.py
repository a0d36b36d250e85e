"""Two Server Managers on one PostgreSQL, and devices that call both: the one that leads is killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from balancer import Balancer
from federating import LIGHT, WITH_LIGHT, until
from postgres import fresh_database

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import AttemptStatus, RunStatus
from fedops.demo.federation import FEDOPS, Federation, free_port

POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
pytestmark = pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server")
#: Each with how much longer its work takes than the run's config says.
DEVICES = {"ada": "0.1", "bob": "1"}
TASK = "digits"


class Two(Federation):
    """Two Server Managers behind a proxy, whose port is the federation's."""

    ports: dict[str, int]
    database_url: str
    #: Which of them operators ask.
    asked = "server"

    def start(self) -> None:
        """Both at once: they make the tables and agree on who leads."""
        (self.server_home / "artifacts").mkdir(parents=True)
        for name in self.ports:
            self.start_manager(name)
        self.until("both to answer", lambda: all(map(self.answers, self.ports)))

    def start_manager(self, name: str) -> None:
        home = self.home / name
        home.mkdir(exist_ok=True)
        if name != "server" and not (home / "artifacts").exists():
            (home / "artifacts").symlink_to(self.server_home / "artifacts")
        command = ["server", "--home", str(home), "--port", str(self.ports[name])]
        self._start(name, [*FEDOPS, *command])

    def answers(self, name: str) -> bool:
        return bool(self.engine(name))

    def engine(self, name: str) -> str:
        """What one of them says of the FL servers; nothing, when it does not answer."""
        try:
            with self.operator_of(name) as operator:
                return operator.info().engine
        except (FedOpsError, OSError):
            return ""

    def operator_of(self, name: str) -> OperatorClient:
        token = (self.home / name / "admin-token").read_text().strip()
        return OperatorClient(f"http://127.0.0.1:{self.ports[name]}", token=token)

    def operator(self) -> OperatorClient:
        return self.operator_of(self.asked)

    def leader(self) -> str:
        """The one that starts FL servers."""

        def look() -> str | None:
            said = {name: self.engine(name) for name in self.ports}
            return next((n for n, why in said.items() if why and "another" not in why), None)

        return self.until("one to lead", look)

    def kill(self, name: str) -> None:
        process = self.parts[name].root()
        assert process is not None
        process.kill()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = sa.create_engine(self.database_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    assert POSTGRES
    ports = {"server": free_port(), "second": free_port()}
    name = f"acceptance_{uuid.uuid4().hex}"
    with fresh_database(POSTGRES, name) as url, Balancer(list(ports.values())) as balancer:
        env = {**WITH_LIGHT, "FEDOPS_DATABASE_URL": url}
        with Two(tmp_path, env, balancer.port) as made:
            made.ports, made.database_url = ports, url
            made.start()
            made.create_task(TASK, LIGHT)
            for index, (device, slower) in enumerate(DEVICES.items()):
                made.join(device)
                where = [f"dataset.partition.index={index}", "dataset.partition.of=2"]
                made.start_client(device, LIGHT, TASK, overrides=where, TINY_SLOWER=slower)
            made.until_ready(list(DEVICES), seconds=90.0)
            yield made
            assert all(balancer.given.values()), "devices called both"


def trained(two: Two, run_id: int) -> dict[str, int]:
    """How often each device has trained in each round of a run."""
    found: dict[str, int] = {}
    with two.operator() as operator:
        for entry in operator.run_logs(run_id, source="training_client", limit=1_000).entries:
            for number in (1, 2):
                count = entry.text.count(f"round {number} of run {run_id}: trained on")
                if count:
                    key = f"{entry.device} {number}"
                    found[key] = found.get(key, 0) + count
    return found


def test_the_leader_is_killed_in_mid_round_and_the_model_is_the_same(two: Two) -> None:
    def start(seconds: float) -> c.RunRead:
        given = ["num_rounds=2", "clients_per_round=2", f"train.seconds={seconds}"]
        with two.operator() as operator:
            return operator.start_run(TASK, c.RunStart(overrides=given, from_version=origin))

    origin = None
    first = until(two, start(0.0).id, RunStatus.COMPLETED)
    origin = 0
    run = start(2.0)
    delivered = f"""SELECT d.name FROM assignments a JOIN devices d ON d.id = a.device_id
        WHERE a.run_id = {run.id} AND a.round = 2 AND a.delivered_at IS NOT NULL"""
    two.until("one to have delivered in round 2", lambda: two.rows(delivered))
    assert two.rows(delivered) == [("ada",)]
    leader = two.leader()
    two.asked = next(name for name in two.ports if name != leader)
    two.kill(leader)
    ended = until(two, run.id, RunStatus.COMPLETED)
    assert two.leader() != leader

    with two.operator() as operator:
        models = [operator.model(TASK, f"V{r.version}") for r in (first, ended)]
        assert models[0].sha256 == models[1].sha256
        assert [a.status for a in ended.attempts] == [AttemptStatus.LOST, AttemptStatus.ENDED]
        rounds = operator.rounds(run.id)
        assert all(len(r.participations) == 2 for r in rounds)
        offline = [e for e in operator.events() if e.name == "device.offline"]
    assert offline == []
    tries = f"SELECT round, count(*), max(retry) FROM assignments WHERE run_id = {run.id} AND kind = 'train'"
    assert two.rows(f"{tries} GROUP BY round ORDER BY round") == [(1, 2, 0), (2, 2, 0)]
    once = {f"{device} {number}": 1 for device in DEVICES for number in (1, 2)}
    two.until("the lines of the devices", lambda: trained(two, run.id) == once, 20.0)
