"""The first start of a server shows a link that signs a browser in, once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from server_process import eventually

from fedops.demo.federation import FEDOPS

LINK = re.compile(r"^Sign in, once, within 15 minutes: (http://\S+)/sign-in#(fo_code_\S+)$", re.M)


@contextmanager
def started(home: Path) -> Iterator[str]:
    """What ``fedops server`` prints until it serves."""
    out = home.with_suffix(".out")
    command = [*FEDOPS, "server", "--home", str(home), "--port", "0"]
    with out.open("w") as opened, home.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=opened, stderr=log)
    try:
        eventually(lambda: _is_up(out))
        yield out.read_text()
    finally:
        process.terminate()
        process.wait(30)


def _is_up(out: Path) -> bool:
    url = re.search(r"^Server Manager on (\S+)$", out.read_text(), re.M)
    try:
        return url is not None and httpx.get(f"{url[1]}/health").status_code == 200
    except httpx.TransportError:
        return False


def sign_in(url: str, code: str) -> httpx.Response:
    return httpx.post(f"{url}/sign-in", data={"secret": code}, timeout=30.0)


def test_the_first_start_shows_a_link_that_signs_in_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home) as said:
        found = LINK.search(said)
        assert found is not None, said
        url, code = found.groups()
        answer = sign_in(url, code)
        assert answer.status_code == 303
        page = httpx.get(f"{url}/", headers={"cookie": answer.headers["set-cookie"].split(";")[0]})
        assert "Sign out" in page.text
        assert sign_in(url, code).status_code == 401  # a second time it is worth nothing
    assert code not in home.with_suffix(".log").read_text()
    assert "fo_" not in home.with_suffix(".log").read_text()
    with started(home) as said:
        assert LINK.search(said) is None
        assert "/sign-in" not in said
