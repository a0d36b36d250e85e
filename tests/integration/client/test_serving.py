"""The served model on a device: cuts, kills, full disks, commands that fail, and the way back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from device_processes import Device
from fake_manager import FakeServer, eventually
from fake_manager_server import fake_server
from small_disk import small_disk

from fedops.api_client import BlobClient
from fedops.client.device.device_config import Serving
from fedops.client.local.messages import ServingOrder
from fedops.client.local.status import client_status, decide_serving
from fedops.client.serving.model_serving import ModelServing, Pace
from fedops.client.serving.model_source import ModelSource
from fedops.client.serving.serving_folder import ServingFolder
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Reachability
from fedops.core.contracts import DesiredModel, ServingReport, Work
from fedops.core.errors import Conflict
from fedops.core.states import Enrolment

PROGRAM = Path(__file__).with_name("serving_child.py")
#: Notes which version it was given and what was in the file; fails while a file ``broken`` is there.
CODE = (
    "import hashlib, os; model = open(os.environ['FEDOPS_MODEL'], 'rb').read();"
    "print(os.environ['FEDOPS_MODEL_VERSION'], hashlib.sha256(model).hexdigest(),"
    " file=open('{here}/taken', 'a')); raise SystemExit(os.path.exists('{here}/broken'))"
)
PACE = Pace(first=0.05, longest=0.2, look=0.1)


def command_in(here: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", CODE.format(here=here)]


def taken(here: Path, server: FakeServer) -> list[int]:
    """What the command was given, in turn; each time the file was whole."""
    lines = (here / "taken").read_text().splitlines()
    found = [(int(version), digest) for version, digest in map(str.split, lines)]
    assert all(server.blobs[digest][:1] == bytes([version]) for version, digest in found)
    return [version for version, _ in found]


def wish(server: FakeServer, version: int, size: int = 100_000, hold: str = "") -> DesiredModel:
    """A version that the server has."""
    data = bytes([version]) * size
    digest = hashlib.sha256(data).hexdigest()
    server.blobs[digest] = data
    return DesiredModel(
        task="mnist",
        alias="serving",
        version=version,
        sha256=digest,
        size=size,
        metrics={"accuracy": 0.5},
        promoted_at=5.0,
        hold=hold,
    )


class Served:
    """The serving of a model, within this process."""

    def __init__(self, server: FakeServer, url: str, here: Path, folder: Path) -> None:
        self.server, self.here, self.folder = server, here, folder
        self._blobs = BlobClient(url, token="fo_device_x")
        config = Serving(folder=str(folder), command=command_in(here))
        place = ServingFolder(folder)
        self.reach = Reachability(url)
        models = ModelCache(here / "models", 0)
        source = ModelSource(place, here / "serving", models, self._blobs, self.reach)
        state = here / "serving" / "state.json"
        self.serving = ModelServing(config, state, source, place, lambda: None, PACE)
        self.serving.start(["mnist"])

    def want(self, version: int, size: int = 100_000, hold: str = "") -> bytes:
        """The alias names this version now. Returns its bytes."""
        model = wish(self.server, version, size, hold)
        self.serving.take(Work(revision=1, enrolment=Enrolment.APPROVED, serving=[model]))
        return self.server.blobs[model.sha256]

    @property
    def said(self) -> ServingReport:
        (report,) = self.serving.reports()
        return report

    def until(self, status: str, active: int | None, why: str = "") -> ServingReport:
        """Wait until the server is told so."""

        def so() -> bool:
            said = self.said
            return (said.status, said.active) == (status, active) and why in said.reason

        eventually(so, 15.0, lambda: self.said)
        return self.said

    @property
    def model(self) -> bytes:
        return (self.folder / "model.safetensors").read_bytes()

    def close(self) -> None:
        self.serving.stop()
        self._blobs.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with fake_server() as (server, url):
        made = Served(server, url, tmp_path, tmp_path / "srv")
        yield made
        made.close()


def test_it_follows_what_the_server_wants(served: Served) -> None:
    served.until("waiting", None, "the server has not said yet")
    served.serving.take(Work(revision=1, enrolment=Enrolment.APPROVED))
    served.until("waiting", None, "no version of 'mnist' is called 'serving'")
    first = served.want(1)
    served.until("active", 1)
    assert served.model == first
    second = served.want(2)
    served.until("active", 2)
    assert served.model == second
    assert (served.folder / "model.safetensors.before").read_bytes() == first
    assert json.loads((served.folder / "model.json").read_text())["version"] == 2
    served.want(1)  # rolled back: it is here already
    served.until("active", 1)
    assert served.server.calls["blob"] == 2
    served.want(3, hold="V3 is quarantined")
    served.until("waiting", 1, "V3 is quarantined")
    served.want(1, hold="V1 is quarantined")
    assert served.until("active", 1, "V1 is quarantined").reason == "V1 is quarantined"
    assert served.model == first
    (served.folder / "model.safetensors").write_bytes(b"not a model")
    served.want(1)
    eventually(lambda: served.model == first)
    assert taken(served.here, served.server) == [1, 2, 1]


def test_what_training_has_is_not_fetched_again(served: Served) -> None:
    model = wish(served.server, 1)
    cache = served.here / "models" / hashlib.sha256(b"mnist").hexdigest()[:16]
    cache.mkdir(parents=True)
    (cache / f"{model.sha256}.safetensors").write_bytes(served.server.blobs[model.sha256])
    served.want(1)
    served.until("active", 1)
    assert served.server.calls["blob"] == 0


def test_a_cut_download_goes_on_and_a_damaged_one_begins_again(served: Served) -> None:
    server = served.server
    server.cut_downloads = [30_000, 50_000]
    data = served.want(1)
    served.until("active", 1)
    assert served.model == data
    assert server.calls["blob"] == 3
    server.spoil_downloads = 1
    data = served.want(2)
    served.until("active", 2)
    assert served.model == data
    server.down = True
    served.want(3)
    served.until("fetching", 2, "away")
    server.down = False
    served.until("active", 3)
    assert taken(served.here, server) == [1, 2, 3]
    assert not list((served.here / "serving").glob("*.part"))


def test_a_command_that_fails_is_tried_again_and_the_owner_may_go_back(served: Served) -> None:
    first = served.want(1)
    served.until("active", 1)
    (served.here / "broken").touch()
    second = served.want(2)
    said = served.until("failed", 1, "(exit status 1)")
    assert said.reason.startswith("V2 is in")
    assert not said.stalled
    (served.here / "broken").unlink()
    served.until("active", 2)
    assert served.model == second
    with pytest.raises(Conflict, match="nothing is held"):
        served.serving.decide(ServingOrder(action="again"))
    served.serving.decide(ServingOrder(action="back"))
    assert served.until("held", 1, "takes V2").stalled
    assert served.model == first
    served.serving.decide(ServingOrder(action="again"))
    served.until("active", 2)
    served.serving.decide(ServingOrder(action="back"))
    served.until("held", 1)
    third = served.want(3)  # the owner did not want V2; this is another one
    served.until("active", 3)
    assert served.model == third
    assert taken(served.here, served.server)[-4:] == [1, 2, 1, 3]


def test_a_full_disk_keeps_the_version_that_is_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 400_000), fake_server() as (server, url):
        served = Served(server, url, tmp_path, disk / "model")
        first = served.want(1)
        served.until("active", 1)
        served.want(2, 350_000)
        assert served.until("failed", 1, "disk is full").stalled
        assert served.model == first
        third = served.want(3)  # that has room
        served.until("active", 3)
        assert served.model == third
        served.close()


POINTS = ("fetched", "kept", "model", "placed", "reloaded")


def test_killed_at_any_point_it_converges(tmp_path: Path) -> None:
    with fake_server() as (server, url):
        first, second = wish(server, 1), wish(server, 2)
        doomed = [_doomed(tmp_path / point, url, [first, second], point) for point in POINTS]
        assert [child.wait(60.0) for child in doomed] == [-9] * len(POINTS)
        for point in POINTS:
            here = tmp_path / point
            model, before = (here / "srv" / f"model.safetensors{s}" for s in ("", ".before"))
            assert model.read_bytes() in server.blobs.values(), point
            served = Served(server, url, here, here / "srv")
            served.want(2)
            served.until("active", 2)
            served.close()
            assert model.read_bytes() == server.blobs[second.sha256], point
            assert before.read_bytes() == server.blobs[first.sha256], point
            twice = point == "reloaded"
            assert taken(here, server) == ([1, 2, 2] if twice else [1, 2]), point
            assert not [p for p in model.parent.iterdir() if p.name.startswith(".")], point
            assert not list((here / "serving").glob("*.part")), point


def _doomed(
    here: Path, url: str, wishes: list[DesiredModel], point: str
) -> subprocess.Popen[bytes]:
    """A process that serves these in turn, and dies the second time that it comes by ``point``."""
    (here / "points").mkdir(parents=True)
    (here / "points" / f"manager.serving.{point}.armed").write_text("kill@2")
    words = [str(PROGRAM), str(here), str(here / "srv"), url, json.dumps(command_in(here))]
    return subprocess.Popen(
        [sys.executable, *words, *(one.model_dump_json() for one in wishes)],
        env={**os.environ, "FEDOPS_FAILPOINTS": str(here / "points")},
    )


def test_a_client_manager_serves_and_is_asked_to_go_back(device: Device, tmp_path: Path) -> None:
    folder, command = tmp_path / "srv", json.dumps(command_in(tmp_path))
    text = f'[serving]\nfolder = "{folder}"\ncommand = {command}\n'
    (device.home / "device.toml").write_text(text)
    server = device.server
    server.ready_tasks = ["mnist", "digits"]
    several = device.start("tasks=mnist,digits")
    assert several.wait(20.0) == 2
    assert "write into [serving] whose model it serves" in several.text
    device.start()

    def until(status: str, active: int) -> None:
        def so() -> bool:
            found = server.last.get("serving") or [{}]
            return (found[0].get("status"), found[0].get("active")) == (status, active)

        eventually(so, 20.0, lambda: device.started[-1].text)

    for version in (1, 2):
        server.bump(serving=[wish(server, version).model_dump()])
        until("active", version)
    decide_serving(device.home, "back")
    until("held", 1)
    state = client_status(device.home).serving
    assert state is not None
    assert (state.active, state.wanted, state.before) == (1, 2, 1)
    assert (folder / "model.safetensors").read_bytes() == bytes([1]) * 100_000
    decide_serving(device.home, "again")
    until("active", 2)
