"""The workflow files of ``deploy/ci`` are what the page shows, and their lines do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from server_process import ServerProcess, build_scripted_app, server_process

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.scalize.discovery.scaffold import init_project

pytest.importorskip("sklearn", reason="the example uses scikit-learn")

ROOT = Path(__file__).parents[3]
GITHUB, GITLAB = ROOT / "deploy/ci/github-actions.yml", ROOT / "deploy/ci/gitlab-ci.yml"
JOBS = ("check", "train")


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def github_lines(job: str) -> list[str]:
    return [step["run"] for step in read(GITHUB)["jobs"][job]["steps"] if "run" in step]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("ci-files")
    bundle = build_scripted_app(folder / "app")
    with server_process(folder / "server") as made, made.operator() as client:
        ref = client.upload_bundle(bundle)
        client.create_task(c.TaskCreate(name="cancer", bundle=ref.sha256))
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project as its author pushed it, after ``fedops init``."""
    folder = tmp_path / "cancer"
    shutil.copytree(ROOT / "examples" / "sklearn-cancer", folder)
    (folder / "requirements.txt").write_text("scikit-learn>=1.5\n")
    init_project(folder)
    return folder


def run(line: str, folder: Path, variables: dict[str, str]) -> str:
    """A line of a job, with what the CI system hands over, and nothing to download from."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FEDOPS_")}
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=folder,
        env={**env, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_the_lines_train_the_commit_that_was_pushed(
    server: ServerProcess, repository: Path
) -> None:
    token = (server.home / "admin-token").read_text().strip()
    variables = {
        "FEDOPS_APP": read(GITHUB)["env"]["FEDOPS_APP"],
        "FEDOPS_SERVER": server.url,
        "FEDOPS_TASK": "cancer",
        "FEDOPS_TOKEN": token,
    }
    with server.operator() as client:
        before = client.task("cancer").bundle
    lines = list(dict.fromkeys(line for job in JOBS for line in github_lines(job)))
    said = [run(line, repository, variables) for line in lines]
    assert (repository / "fedops-ci.xml").is_file()
    assert all(token not in text for text in said)
    with server.operator() as client:
        (trained,) = client.runs("cancer")
        assert (trained.status, trained.bundle) == (
            RunStatus.COMPLETED,
            client.task("cancer").bundle,
        )
        assert trained.bundle != before


def test_both_systems_run_the_same_lines() -> None:
    gitlab = read(GITLAB)
    for job in JOBS:
        assert gitlab[job]["script"] == github_lines(job)
    assert gitlab["variables"]["FEDOPS_APP"] == read(GITHUB)["env"]["FEDOPS_APP"]


def test_the_token_is_a_secret_of_the_job_that_trains() -> None:
    github = read(GITHUB)
    assert github["jobs"]["train"]["env"]["FEDOPS_TOKEN"] == "${{ secrets.FEDOPS_TOKEN }}"
    assert "secrets." not in str(github["jobs"]["check"])
    assert "push" in github["jobs"]["train"]["if"]
    assert github["permissions"] == {"contents": "read"}
    for file in (GITHUB, GITLAB):
        assert not re.search(r"FEDOPS_TOKEN: *[\"']?[A-Za-z0-9]", file.read_text())


def test_the_page_shows_the_files() -> None:
    page = (ROOT / "docs" / "howto" / "ci-for-your-app.md").read_text()
    assert re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) == [
        file.read_text() for file in (GITHUB, GITLAB)
    ]
