"""What a real federation leaves behind and shows, searched for its secrets."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from federating import LIGHT, WITH_LIGHT, complete, enrol, processes_of

from fedops.api_client.transport import PREFIX
from fedops.core.errors import FedOpsError
from fedops.demo.federation import Federation

PLANTED = {
    "FEDOPS_SERVER_S3_SECRET_ACCESS_KEY": "planted-s3-5b1c",
    "FEDOPS_TOKEN": "planted-token-77aa",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-9d2e",
    "PGPASSWORD": "planted-postgres-c01d",
}
#: Files that are there to hold secrets: readable by their owner alone, and no copy of them is handed on.
KEPT = {"admin-token", "device.json", "local-token", "training-token", "node-key.pem"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation that trained once."""
    with Federation(tmp_path_factory.mktemp("federation"), {**WITH_LIGHT, **PLANTED}) as made:
        made.start_server()
        made.create_task("tiny", LIGHT)
        enrol(made, ["a", "b"], "tiny", app=LIGHT)
        complete(made, "tiny", "num_rounds=1")
        yield made


@pytest.fixture(scope="module")
def secrets(world: Federation) -> dict[str, str]:
    """By what they are."""
    found = {name: value for name, value in PLANTED.items()}
    found["the admin token"] = world.admin_token
    for name in ("a", "b"):
        home = world.device_home(name)
        found[f"the token of {name}"] = json.loads((home / "device.json").read_text())["token"]
        found[f"the local token of {name}"] = (home / "local-token").read_text().strip()
        found[f"the key of {name}"] = (home / "node-key.pem").read_text().splitlines()[1]
    return found


def in_bytes(data: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Which secrets are in there, also in what is packed in it."""
    found = {what for what, secret in secrets.items() if secret.encode() in data}
    for piece in unpacked(data):
        found |= set(in_bytes(piece, secrets))
    return sorted(found)


def unpacked(data: bytes) -> Iterator[bytes]:
    stream = io.BytesIO(data)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(stream) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=stream) as archive:
            files = (archive.extractfile(member) for member in archive if member.isfile())
            yield from (file.read() for file in files if file is not None)


def test_the_search_finds_what_is_packed() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", "planted " * 9)
    assert in_bytes(packed.getvalue(), {"it": "planted planted"}) == ["it"]


def test_no_process_has_one_among_its_arguments(
    world: Federation, secrets: Mapping[str, str]
) -> None:
    lines = processes_of(world.home)
    assert len(lines) >= 4
    assert in_bytes("\n".join(lines).encode(), secrets) == []


def test_no_process_of_an_app_has_one_in_its_environment(
    world: Federation, secrets: Mapping[str, str]
) -> None:
    clients = [
        process
        for process in psutil.process_iter()
        if any("fedops.client.training.main" in word for word in words_of(process, world.home))
    ]
    assert len(clients) == 2
    ours = {what: secret for what, secret in secrets.items() if not what.startswith(("AWS", "PG"))}
    for client in clients:
        assert in_bytes(repr(client.environ()).encode(), ours) == []


def words_of(process: psutil.Process, home: Path) -> list[str]:
    try:
        words = process.cmdline()
    except psutil.Error:
        return []
    return words if str(home) in " ".join(words) else []


def test_no_file_but_its_own_has_one(world: Federation, secrets: Mapping[str, str]) -> None:
    found = {
        str(path.relative_to(world.home)): held
        for path in world.home.rglob("*")
        if path.is_file()
        and path.name not in KEPT
        and (held := in_bytes(path.read_bytes(), secrets))
    }
    assert found == {}
    kept = [path for path in world.home.rglob("*") if path.name in KEPT]
    assert len(kept) >= 9
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


def test_a_backup_has_the_admin_token_in_its_file_alone(
    world: Federation, secrets: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "backup.tar"
    world.command("server", "backup", str(file), "--home", str(world.server_home))
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and Path(member.name).name != "admin-token":
                assert in_bytes(content.read(), secrets) == [], member.name


def test_what_is_exported_or_answered_has_none(
    world: Federation, secrets: Mapping[str, str], tmp_path: Path
) -> None:
    with world.operator() as operator:
        run = operator.runs()[-1].id
    world.admin("run", "export", str(run), "--out", str(tmp_path / "export"))
    files = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert in_bytes(path.read_bytes(), secrets) == [], path.name
    for words in (["status"], ["events"], ["run", "show", str(run)], ["run", "logs", str(run)]):
        assert in_bytes(json.dumps(world.admin(*words)).encode(), secrets) == [], words


def test_no_error_has_one(world: Federation, secrets: Mapping[str, str]) -> None:
    for headers in (
        {"authorization": f"Bearer {world.admin_token}"},
        {"authorization": "Bearer no"},
    ):
        for path in ("/runs/0", "/runs/x", "/devices/nobody", "/no-such", "/models/tiny/V99"):
            for body in (None, {"token": world.admin_token, "name": [1]}):
                method = "GET" if body is None else "POST"
                reply = httpx.request(method, world.url + PREFIX + path, headers=headers, json=body)
                assert reply.status_code >= 400, path
                assert in_bytes(reply.content, secrets) == [], reply.text
    with pytest.raises(FedOpsError) as caught:
        world.command("status", "--server", world.url, FEDOPS_TOKEN=f"{world.admin_token}x")
    assert in_bytes(caught.value.message.encode(), secrets) == []
