"""The pages in a real browser: they work under the policy that they are sent with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess, server_process

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("pages") / "server") as made:
        yield made


def visit(url: str, profile: Path) -> tuple[str, str]:
    """The document of a page once its scripts have run, and what the browser said of it."""
    command = [
        CHROMIUM or "",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--virtual-time-budget=8000",
        "--dump-dom",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return done.stdout, done.stderr


def test_the_page_for_signing_in_breaks_no_policy(server: ServerProcess, tmp_path: Path) -> None:
    document, said = visit(server.url, tmp_path / "profile")
    assert 'type="password"' in document
    assert "Content Security Policy" not in said
    assert "WebSocket connection" not in said


def test_the_reference_page_breaks_no_policy(server: ServerProcess, tmp_path: Path) -> None:
    document, said = visit(f"{server.url}/api/docs", tmp_path / "profile")
    assert "/api/v1/join" in document
    assert "Content Security Policy" not in said


def test_a_page_elsewhere_cannot_frame_it(server: ServerProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<iframe src="{server.url}/api/docs"></iframe>')
    _, said = visit(page.as_uri(), tmp_path / "profile")
    assert "frame-ancestors" in said or "Refused to display" in said or "X-Frame-Options" in said
