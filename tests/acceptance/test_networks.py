"""Ways to a server: IPv6, behind a reverse proxy that strips a path, behind TLS of a private authority."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from doorway import Doorway, opened, private_authority
from federating import QUIET, part_of, until

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import ParticipationStatus, RunStatus
from fedops.demo.federation import Federation

STEADY = Path(__file__).parent / "apps" / "steady"
#: A device for each way.
NAMES = ("six", "path", "tls")


class OnIPv6(Federation):
    """Its server listens on ::1 and nowhere else."""

    @property
    def url(self) -> str:
        return f"http://[::1]:{self.port}"


@dataclass
class Ways:
    federation: Federation
    path: Doorway
    tls: Doorway
    ca_file: Path

    def url(self, name: str) -> str:
        return {
            "six": self.federation.url,
            "path": f"http://127.0.0.1:{self.path.port}/fed",
            "tls": f"https://127.0.0.1:{self.tls.port}",
        }[name]

    def start(self, name: str, **env: str) -> None:
        with self.federation.operator() as operator:
            token = str(operator.create_token(c.TokenCreate(uses=1, note=name)).token)
        home = str(self.federation.device_home(name))
        self.federation.command(
            "join",
            self.url(name),
            "--name",
            name,
            "--home",
            home,
            "--wait",
            "3",
            FEDOPS_JOIN_TOKEN=token,
        )
        overrides = part_of(NAMES, name)
        self.federation.start_client(name, STEADY, "steady", overrides=overrides, **env)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    folder = tmp_path_factory.mktemp("ways")
    ca_file, tls = private_authority(folder)
    with OnIPv6(folder, QUIET) as federation:
        federation.start_server("--host", "::1")
        federation.create_task("steady", STEADY)
        path = Doorway("::1", federation.port, "/fed")
        secure = Doorway("::1", federation.port, tls=tls)
        with opened(path, secure):
            yield Ways(federation, path, secure, ca_file)


def test_an_authority_that_is_not_known_is_not_trusted(ways: Ways) -> None:
    with pytest.raises(
        FedOpsError, match="was issued by 'A hospital', whom this machine does not trust"
    ):
        ways.start("tls")


def test_a_run_completes_over_all_of_them(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = ways.federation
    for name in NAMES:
        if name == "tls":
            monkeypatch.setenv("FEDOPS_CLIENT_CA_FILE", str(ways.ca_file))
        ways.start(name)
    federation.until_ready(NAMES, seconds=120.0)
    with federation.operator() as operator:
        start = c.RunStart(
            overrides=["num_rounds=2", "clients_per_round=3", "server.round.min_replies=3"]
        )
        run = until(federation, operator.start_run("steady", start).id, RunStatus.COMPLETED)
        for round_ in operator.rounds(run.id):
            parts = {p.device: p.status for p in round_.participations}
            assert parts == dict.fromkeys(NAMES, ParticipationStatus.REPLIED)
            assert all((p.bytes_up or 0) > 140_000 for p in round_.participations)
    assert min(ways.path.requests, ways.tls.requests) > 10
