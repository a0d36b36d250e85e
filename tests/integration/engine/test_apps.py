"""The ServerApp of an attempt from its ticket to its last word, and the bundle an app travels in."""

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from paper_federation import Conflict, PaperGrid, PaperServer, Unavailable

from fedops.core.contracts import EngineFinish
from fedops.core.errors import Invalid
from fedops.core.states import FailureReason
from fedops.flower import apps
from fedops.flower.apps import build_bundle, execute, make_handler
from fedops.flower.endings import Lost
from fedops.scalize.project import Project

PYPROJECT = """
[project]
name = "tiny"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "tiny.app:server"
clientapp = "tiny.app:client"
[tool.flwr.app.config]
mode = "client"

[tool.fedops]
package = "tiny"
config = "tiny/config.toml"
[tool.fedops.flow]
data = "tiny.parts.load_data"
"""
PARTS = """
import numpy as np
from sklearn.linear_model import SGDClassifier

def load_data(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    return x, (x[:, 0] > 0).astype(int)

def model():
    return SGDClassifier()
"""
CONFIG = 'num_rounds = 1\nclients_per_round = 1\n[model]\n_target_ = "tiny.parts.model"\n'


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "tiny").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "tiny" / "__init__.py").touch()
    (folder / "tiny" / "app.py").write_text("server = client = None\n")
    (folder / "tiny" / "parts.py").write_text(PARTS)
    (folder / "tiny" / "config.toml").write_text(CONFIG)
    return folder


class World:
    def __init__(self, app: Path, folder: Path) -> None:
        self.app = app
        config = {
            "num_rounds": 1,
            "clients_per_round": 1,
            "model": {"_target_": "tiny.parts.model"},
        }
        self.server = PaperServer(config, folder)
        self.grid = PaperGrid(self.server)

    def add(self) -> None:
        self.grid.add("pi-1", make_handler(Project.open(self.app), "pi-1"))

    def execute(self) -> EngineFinish | None:
        execute(self.grid, self.server, self.app, patience_seconds=3.0)
        return self.server.finished[-1] if self.server.finished else None


@pytest.fixture
def world(app: Path, tmp_path: Path) -> Any:
    made = World(app, tmp_path)
    yield made
    made.server.close()


def test_an_attempt_that_goes_well(world: World) -> None:
    world.add()
    finish = world.execute()
    assert finish is not None
    assert (finish.outcome, finish.reason) == ("completed", None)
    assert len(world.server.commits) == 1
    assert world.server.progresses[0].phase == "initialising"


def test_the_last_word_is_said_until_it_is_heard(world: World) -> None:
    world.add()
    world.server.failing["finish"] = [Unavailable("away")] * 2
    world.server.failing["hello"] = [Unavailable("away")]
    finish = world.execute()
    assert finish is not None
    assert finish.outcome == "completed"


def test_a_stopped_run_says_so(world: World) -> None:
    world.server.order("stop")
    finish = world.execute()
    assert finish is not None
    assert finish.outcome == "stopped"


@pytest.mark.parametrize("call", ["hello", "candidates", "commit", "finish"])
def test_a_superseded_attempt_says_nothing(world: World, call: str) -> None:
    world.add()
    world.server.failing[call] = [Conflict("attempt 2 is current")]
    assert world.execute() is None


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("tiny/parts.py", "import nothing_such\n", "No module named 'nothing_such'"),
        ("tiny/config.toml", "num_rounds = 'x'\n", "num_rounds"),
        ("pyproject.toml", "[project]\nname = 'x'\n", "has no [tool.fedops] table"),
    ],
)
def test_an_app_that_cannot_be_used_fails_the_run(
    world: World, file: str, content: str, text: str
) -> None:
    (world.app / file).write_text(content)
    finish = world.execute()
    assert finish is not None
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert text in finish.text


def test_validation_data_that_cannot_be_had_fails_the_run(world: World) -> None:
    parts = world.app / "tiny" / "parts.py"
    mirror = "def held_out():\n    raise Unavailable('the mirror is down')\n"
    parts.write_text(f"{PARTS}\nfrom fedops.core.errors import Unavailable\n{mirror}")
    step = '[tool.fedops.flow]\nvalidation = "tiny.parts.held_out"'
    (world.app / "pyproject.toml").write_text(PYPROJECT.replace("[tool.fedops.flow]", step))
    finish = world.execute()
    assert finish is not None
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert "validation data cannot be had: the mirror is down" in finish.text


def test_a_strategy_that_does_not_exist_fails_the_run(world: World) -> None:
    world.server.config["server"] = {"strategy": {"_target_": "flwr.server.strategy.FedAvgg"}}
    finish = world.execute()
    assert finish is not None
    assert finish.reason is FailureReason.APP_ERROR
    assert "did you mean 'FedAvg'" in finish.text


def test_a_mistake_of_ours_fails_the_run_too(world: World) -> None:
    world.server.failing["candidates"] = [ZeroDivisionError("oh")]
    finish = world.execute()
    assert finish is not None
    assert (finish.reason, finish.text) == (FailureReason.ENGINE_ERROR, "ZeroDivisionError: oh")


def test_when_flower_is_gone_the_run_is_left_to_another_attempt(world: World) -> None:
    world.grid.add("pi-1", lambda message, context: None)
    ended: list[BaseException] = []

    def work() -> None:
        try:
            world.execute()
        except Lost as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not world.grid.pushed:
        thread.join(0.02)
    world.grid.dead = RuntimeError("no such run")
    thread.join(10)
    assert len(ended) == 1
    assert world.server.finished == []


# --- tickets -----------------------------------------------------------------------------------


def test_a_ticket_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_ATTEMPTS_DIR", str(tmp_path))
    ticket = {"server_url": "http://127.0.0.1:1", "token": "t", "run_id": 3, "attempt": 1}
    timer = threading.Timer(0.2, lambda: (tmp_path / "77.json").write_text(json.dumps(ticket)))
    timer.start()
    assert apps._read_ticket(77).run_id == 3
    timer.join()


def test_a_ticket_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "TICKET_SECONDS", 0.1)
    monkeypatch.setenv("FEDOPS_ATTEMPTS_DIR", str(tmp_path))
    with pytest.raises(Unavailable, match=r"did not write .*77\.json"):
        apps._read_ticket(77)


def test_mode_server_is_not_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDOPS_ATTEMPTS_DIR", raising=False)
    context = Context(77, 1, {}, RecordDict(), {})
    with pytest.raises(Invalid, match="FEDOPS_ATTEMPTS_DIR is not set"):
        apps.run_server(None, context)  # type: ignore[arg-type]


def test_a_ticket_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_ATTEMPTS_DIR", str(tmp_path))
    (tmp_path / "77.json").write_text('{"token": 1}')
    with pytest.raises(Invalid, match=r"77\.json holds no ticket"):
        apps._read_ticket(77)


# --- bundles -----------------------------------------------------------------------------------


def test_a_bundle_holds_the_app_and_is_the_same_each_time(app: Path) -> None:
    (app / "tiny" / "data.npz").write_bytes(b"not to be sent")
    bundle = build_bundle(app)
    names = set(zipfile.ZipFile(io.BytesIO(bundle)).namelist())
    assert {"pyproject.toml", "tiny/parts.py", "tiny/config.toml"} <= names
    assert "tiny/data.npz" not in names
    assert bundle == build_bundle(app)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pyproject.toml", None, "it has no pyproject.toml"),
        ("pyproject.toml", "[project\n", "is no valid TOML"),
        ("tiny/config.toml", "num_rounds = 0\nbatchsize = 3\n", "num_rounds = 0"),
        (
            "pyproject.toml",
            PYPROJECT.replace("publisher", "publishr"),
            "cannot be bundled as a Flower app",
        ),
    ],
)
def test_what_is_no_app_is_not_bundled(
    app: Path, file: str, content: str | None, message: str
) -> None:
    path = app / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(Invalid, match=message.replace("[", r"\[")):
        build_bundle(app)
