"""A whole run whose devices know the server by nginx alone, with TLS and a certificate of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from federating import LIGHT, WITH_LIGHT, complete
from nginx import ACCEL_PREFIX, MISSING, PROGRAM, nginx

from fedops.client.device.enrolment import join
from fedops.core import contracts as c
from fedops.demo.federation import Federation

NAMES = ["ada", "bob"]


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_a_run_through_nginx_completes_and_nginx_sends_the_models(tmp_path: Path) -> None:
    env = {**WITH_LIGHT, "FEDOPS_SERVER_ACCEL_PREFIX": ACCEL_PREFIX}
    with Federation(tmp_path, env) as federation:
        federation.start_server()
        federation.create_task("tiny", LIGHT)
        files = federation.server_home / "artifacts"
        with nginx(tmp_path / "nginx", federation.port, files) as proxy:
            for index, name in enumerate(NAMES):
                with federation.operator() as operator:
                    token = operator.create_token(c.TokenCreate()).token
                home = federation.device_home(name)
                join(proxy.url, str(token), name, home, ca_file=proxy.ca_file)
                place = [f"dataset.partition.index={index}", f"dataset.partition.of={len(NAMES)}"]
                ca_file = str(proxy.ca_file)
                federation.start_client(
                    name, LIGHT, "tiny", overrides=place, FEDOPS_CLIENT_CA_FILE=ca_file
                )
            federation.until_ready(NAMES, seconds=90.0)
            run = complete(federation, "tiny", "num_rounds=2")
            assert run.committed_rounds == 2
        log = (proxy.folder / "access.log").read_text()
        sent = re.findall(r'"GET /api/v1/blobs/[0-9a-f]{64} HTTP/1.1" 200 (\d+)', log)
        assert sent
        assert min(map(int, sent)) > 100, "nginx sent the files"
