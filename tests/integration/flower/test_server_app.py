"""The FL server of an attempt: from its hello to its last word, in a process of its own and in this one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from flwr.app import Context, RecordDict
from in_memory_federation import AttemptSuperseded, InMemoryServer, Unavailable, Work, payload_of
from in_memory_http import listening
from tiny_app import PARTS, PYPROJECT, write_app

from fedops.core.contracts import EngineFinish, EngineTicket
from fedops.core.errors import Conflict, Invalid
from fedops.core.states import FailureReason
from fedops.engine.link.server_link import ServerLink
from fedops.flower.run_modes import run_by_mode
from fedops.flower.server_app import NICE, read_ticket, run_attempt
from fedops.processes.json_lines import write_line
from fedops.processes.spawn import clean_env, spawn
from fedops.scalize.flow.project import Project
from fedops.storage.payloads import Payload
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import LocalTrainer


class World:
    def __init__(self, app: Path, folder: Path) -> None:
        self.app = app
        config = {
            "num_rounds": 1,
            "clients_per_round": 1,
            "model": {"_target_": "tiny.parts.model"},
        }
        self.server = InMemoryServer(config, folder)

    def add(self) -> None:
        trainer = LocalTrainer(Project.open(self.app), Device("pi-1"))

        def answer(work: Work) -> Payload:
            return payload_of(trainer(work.order, work.tensors, work.kind))

        self.server.add("pi-1", answer)

    def execute(self) -> EngineFinish | None:
        with ServerLink(self.server, 3.0) as link:
            run_attempt(self.app, link)
        return self.server.finished[-1] if self.server.finished else None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(write_app(tmp_path / "app"), tmp_path)
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


@pytest.mark.parametrize("call", ["hello", "candidates", "collect", "commit", "finish"])
def test_a_superseded_attempt_says_nothing(world: World, call: str) -> None:
    world.add()
    world.server.failing[call] = [AttemptSuperseded("attempt 2 is current")]
    assert world.execute() is None


@pytest.mark.parametrize("call", ["candidates", "begin_round", "collect", "commit"])
def test_another_conflict_is_not_taken_for_a_later_attempt(world: World, call: str) -> None:
    world.add()
    world.server.failing[call] = [Conflict("attempt 1 has not begun round 1")]
    finish = world.execute()
    assert finish is not None
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.ENGINE_ERROR)
    assert finish.text == "attempt 1 has not begun round 1"


@pytest.mark.parametrize("call", ["hello", "finish"])
def test_a_conflict_that_the_server_cannot_be_told_of_is_raised(world: World, call: str) -> None:
    world.add()
    world.server.failing[call] = [Conflict("run 1 is not complete")]
    with pytest.raises(Conflict, match="run 1 is not complete"):
        world.execute()
    assert world.server.finished == []


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


def test_a_strategy_may_be_in_the_apps_own_package(world: World) -> None:
    own = "from flwr.serverapp.strategy import FedAvg\n\nclass Own(FedAvg):\n    pass\n"
    (world.app / "tiny" / "own.py").write_text(own)
    world.server.config["server"] = {
        "strategy": {"_target_": "tiny.own.Own", "min_available_nodes": 1, "min_train_nodes": 1}
    }
    world.add()
    finish = world.execute()
    assert finish is not None
    assert (finish.outcome, finish.reason) == ("completed", None), finish.text


def test_a_mistake_of_ours_fails_the_run_too(world: World) -> None:
    world.server.failing["candidates"] = [ZeroDivisionError("oh")]
    finish = world.execute()
    assert finish is not None
    assert (finish.reason, finish.text) == (FailureReason.ENGINE_ERROR, "ZeroDivisionError: oh")


# --- the process -------------------------------------------------------------------------------


def start(url: str, app: Path) -> subprocess.Popen[bytes]:
    process = spawn(
        [sys.executable, "-m", "fedops.flower.server_app"],
        env=clean_env(),
        stderr=subprocess.PIPE,
    )
    ticket = EngineTicket(
        attempt_id=1, run_id=5, attempt=1, token="fo_attempt_test", server_url=url, app_dir=app
    )
    assert process.stdin is not None
    write_line(process.stdin.fileno(), ticket.model_dump(mode="json"))
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    assert process.stderr is not None
    said = process.stderr.read().decode()
    code = process.wait(30)
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()
    return code, said


def test_it_plays_a_run_from_its_ticket(world: World) -> None:
    world.add()
    hellos: list[int] = []
    hello = world.server.hello
    world.server.hello = lambda body: (hellos.append(body.pid), hello(body))[1]  # type: ignore[method-assign]
    with listening(world.server) as url:
        process = start(url, world.app)
        code, said = ended(process)
    assert (code, hellos) == (0, [process.pid])
    assert world.server.finished[-1].outcome == "completed", said
    assert len(world.server.commits) == 1
    assert "round 1 of 1 is committed" in said


def test_it_ends_with_its_parent(world: World) -> None:
    with listening(world.server) as url:
        process = start(url, world.app)
        while not world.server.progresses:
            time.sleep(0.02)
        mine = psutil.Process().nice()
        assert psutil.Process(process.pid).nice() == min(mine + NICE, 19), "the manager goes first"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(5) != 0
    assert process.stderr is not None
    process.stderr.close()


def test_a_superseded_process_ends_quietly(world: World) -> None:
    world.server.failing["hello"] = [AttemptSuperseded("attempt 2 is current")]
    with listening(world.server) as url:
        code, said = ended(start(url, world.app))
    assert code == 0
    assert "another attempt took over: attempt 2 is current" in said


def test_a_process_that_meets_another_conflict_ends_with_its_code_and_words(world: World) -> None:
    world.server.failing["hello"] = [Conflict("it changed at the same moment")]
    with listening(world.server) as url:
        code, said = ended(start(url, world.app))
    assert code == Conflict.exit_code
    assert "it changed at the same moment" in said


def test_without_a_ticket_it_says_who_starts_it() -> None:
    command = [sys.executable, "-m", "fedops.flower.server_app"]
    run = subprocess.run(command, input="{}\n", capture_output=True, text=True, timeout=30)
    assert run.returncode == Invalid.exit_code
    assert "a FedOps server starts this program itself" in run.stderr
    with pytest.raises(Invalid):
        read_ticket(b"")


def test_mode_server_says_who_plays_the_rounds(tmp_path: Path) -> None:
    context = Context(5, 1, {}, RecordDict(), {"mode": "server"})
    with pytest.raises(Invalid, match="a FedOps server plays the rounds of its runs itself"):
        run_by_mode(None, context, tmp_path)  # type: ignore[arg-type]
