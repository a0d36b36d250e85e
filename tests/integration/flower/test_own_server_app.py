"""An app's own ServerApp: run, failed, ended, stopped."""

from pathlib import Path

import pytest
from flower_server import FlowerServer, echo
from tiny_app import CONFIG, PYPROJECT, write_app

from fedops.core.contracts import EngineFinish
from fedops.core.errors import Unavailable
from fedops.core.states import FailureReason
from fedops.engine.link.server_link import ServerLink
from fedops.flower.server_app import run_attempt

OWN = """
from flwr.app import Message, RecordDict, ConfigRecord
from flwr.serverapp import ServerApp

server = ServerApp()

@server.main()
def main(grid, context):
    {body}
"""
ASK = """asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
    replies = list(grid.send_and_receive(asked))
    assert len(replies) == 2 and context.run_config["rounds"] == 3
    print("all have answered")"""


def own_app(folder: Path, body: str) -> Path:
    app = write_app(folder)
    text = PYPROJECT.replace('package = "tiny"', 'package = "tiny"\nserverapp = "own"')
    text = text.replace('mode = "client"', "rounds = 3")
    (app / "pyproject.toml").write_text(text)
    (app / "tiny" / "app.py").write_text(OWN.format(body=body))
    (app / "tiny" / "config.toml").write_text(CONFIG)
    return app


def play(server: FlowerServer, app: Path) -> EngineFinish:
    with ServerLink(server, 3.0) as link:
        run_attempt(app, link)
    return server.finished[-1]


def test_an_own_server_app_is_run_and_what_it_lacks_is_said(
    server: FlowerServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server.join("pi-1", echo)
    server.join("pi-2", echo)
    finish = play(server, own_app(tmp_path / "app", ASK))
    assert finish == EngineFinish(outcome="completed", own_rounds=True)
    assert "(start 1): its rounds are not committed" in caplog.text
    assert [one.kind for one in server.assignments] == ["query", "query"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('raise ValueError("no such thing")', "app.py, line 9)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("undefined", "NameError: name 'undefined' is not defined"),
    ],
)
def test_one_that_fails_fails_the_run(
    server: FlowerServer, tmp_path: Path, body: str, text: str
) -> None:
    finish = play(server, own_app(tmp_path / "app", body))
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert finish.text.startswith("the app's own ServerApp: ")
    assert text in finish.text


def test_one_that_ends_itself_is_done(server: FlowerServer, tmp_path: Path) -> None:
    assert play(server, own_app(tmp_path / "app", "raise SystemExit")).outcome == "completed"


def test_one_that_is_no_server_app(server: FlowerServer, tmp_path: Path) -> None:
    app = own_app(tmp_path / "app", "pass")
    (app / "tiny" / "app.py").write_text("server = 3\n")
    finish = play(server, app)
    assert "is a int, and must be a flwr.serverapp.ServerApp" in finish.text


def test_one_that_lets_no_exception_through_is_stopped_all_the_same(
    server: FlowerServer, tmp_path: Path
) -> None:
    body = """try:
        grid.get_node_ids()
    except Exception:
        pass"""
    server.order("stop")
    assert play(server, own_app(tmp_path / "app", body)).outcome == "stopped"


def test_pauses_and_losses_are_not_counted_here(server: FlowerServer, tmp_path: Path) -> None:
    server.attempt = 9
    assert play(server, own_app(tmp_path / "app", "pass")).outcome == "completed"


def test_a_full_disk_of_the_server_is_waited_for(server: FlowerServer, tmp_path: Path) -> None:
    full = own_app(tmp_path / "app", "raise OSError(28, 'No space left on device')")
    with pytest.raises(Unavailable, match="disk is full"):
        play(server, full)
    assert play(server, own_app(tmp_path / "other", "pass")).outcome == "completed"


def test_another_error_of_a_file_is_the_apps(server: FlowerServer, tmp_path: Path) -> None:
    finish = play(server, own_app(tmp_path / "app", "open('nowhere/table.csv')"))
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert "nowhere/table.csv" in finish.text


def test_an_app_whose_own_one_is_fedops_is_told(server: FlowerServer, tmp_path: Path) -> None:
    body = """from pathlib import Path
    from fedops.flower.run_modes import run_by_mode
    run_by_mode(grid, context, Path(__file__).parents[1])"""
    finish = play(server, own_app(tmp_path / "app", body))
    assert "needs a ServerApp of the app's own" in finish.text
