"""What builds and starts the images names files, modules and settings that exist."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from fedops.settings import AppSettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FILES = sorted(DEPLOY.glob("Containerfile.*"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
each_image = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def steps(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, without comments, each on one line."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(word, rest) for word, rest in lines]


def of_kind(file: Path, word: str) -> list[str]:
    return [rest for kind, rest in steps(file) if kind == word]


def defaults(file: Path) -> dict[str, str]:
    return dict(rest.split("=", 1) for rest in of_kind(file, "ARG"))


def test_there_is_one_image_for_each_role() -> None:
    assert [file.suffix for file in FILES] == [".device", ".server"]


@each_image
def test_what_is_copied_is_there_and_not_ignored(file: Path) -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split("\n"))
    for rest in of_kind(file, "COPY"):
        *sources, _ = rest.split()
        if sources[0].startswith("--from="):
            assert sources[0] == "--from=build"
            continue
        for source in sources:
            path = re.sub(r"\$\{(\w+)\}", lambda name: defaults(file)[name[1]], source)
            assert (ROOT / path).exists(), path
            assert path.split("/")[0] not in ignored, path


@each_image
def test_the_base_is_named_once_and_without_a_registry(file: Path) -> None:
    assert defaults(file)["BASE"] == "python:3.11-slim"
    assert of_kind(file, "FROM") == ["${BASE} AS build", "${BASE}"]


@each_image
def test_nobody_is_root_and_what_is_kept_belongs_to_the_user(file: Path) -> None:
    (user,) = of_kind(file, "USER")
    uid = user.split(":")[0]
    assert uid.isdecimal()
    assert int(uid) > 0
    (volume,) = of_kind(file, "VOLUME")
    assert any(f"--uid {uid} " in run and f" {volume}" in run for run in of_kind(file, "RUN"))


@each_image
def test_signals_reach_the_program_and_its_health_is_checked(file: Path) -> None:
    words = {kind: yaml.safe_load(rest) for kind, rest in steps(file) if kind == "CMD"}
    command = words["CMD"]
    assert isinstance(command, list), "with a shell in between, the program hears no signal"
    if command[0] == "fedops":
        assert (
            "fedops" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        )
    else:
        assert command[:2] == ["python3", "-m"]
        assert find_spec(command[2]) is not None
    (health,) = of_kind(file, "HEALTHCHECK")
    checked = yaml.safe_load(health.split(" CMD ")[1])
    assert checked == ["python3", "/opt/fedops/health.py", file.suffix[1:]]
    assert f"def {file.suffix[1:]}_health(" in (DEPLOY / "health.py").read_text()


def test_the_modules_that_are_compiled_ahead_exist() -> None:
    named = re.findall(r'"(fedops\.[\w.]+)"', (DEPLOY / "install.sh").read_text())
    assert len(named) > 5
    assert [name for name in named if find_spec(name) is None] == []


def test_compose_builds_these_images_and_keeps_what_they_keep() -> None:
    services = COMPOSE["services"]
    assert sorted(services) == ["device", "server"]
    for role, service in services.items():
        file = DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
        assert file.resolve() == DEPLOY / f"Containerfile.{role}"
        ((name, place),) = (volume.split(":") for volume in service["volumes"])
        assert name in COMPOSE["volumes"]
        assert [place] == of_kind(file, "VOLUME")


def test_compose_sets_what_a_device_reads() -> None:
    known = {f"FEDOPS_{name.upper()}" for name in AppSettings.model_fields}
    environment = COMPOSE["services"]["device"]["environment"]
    assert set(environment) <= known
    port = COMPOSE["services"]["server"]["environment"]["FEDOPS_SERVER_PUBLIC_URL"].rsplit(":", 1)[
        1
    ]
    assert of_kind(DEPLOY / "Containerfile.server", "EXPOSE") == [port]


def test_the_page_names_what_a_build_can_be_given() -> None:
    page = (ROOT / "docs" / "howto" / "containers.md").read_text()
    found = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert dict(found) == {
        name: value.strip('"') for file in FILES for name, value in defaults(file).items()
    }
