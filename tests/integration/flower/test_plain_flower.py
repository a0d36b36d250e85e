"""Apps of plain Flower, new and old, as they are: checked, tried, packed, and run by their own ServerApp."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flower_server import FlowerServer
from flwr.app import Context, Message, RecordDict
from plain_app import PYPROJECT, write_plain_app

from fedops.config.loading import to_plain
from fedops.core.contracts import EngineFinish
from fedops.core.errors import FedOpsError, Invalid
from fedops.engine.link.server_link import ServerLink
from fedops.flower.app_package import build_bundle
from fedops.flower.components import load_client_app
from fedops.flower.run_config import RECORD, record_of, taken_out
from fedops.flower.server_app import run_attempt
from fedops.flower.trial.plain_check import PlainExamination
from fedops.flower.trial.trial_federation import Trial
from fedops.flower.trial.trial_report import TrialQuestion, TrialReport
from fedops.scalize.check.project_check import find_app
from fedops.scalize.flow.manifest import make_importable, read_manifest
from fedops.scalize.flow.project import Project
from fedops.server.tasks.app_bundles import read_bundle
from fedops.storage.payloads import Payload

#: Two clients of 1 and 2 examples add 1 and 2, twice: (1·1 + 2·2) / 3 a round.
AFTER_TWO = 2 * (1 + 4) / 3
KINDS = pytest.mark.parametrize("old", [False, True], ids=["new", "old"])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the apps write, with their modules forgotten afterwards."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "plain"]:
        del sys.modules[name]


def tried(app: Path, *overrides: str, clients: int = 2) -> TrialReport:
    asked = TrialQuestion(app_dir=str(app), clients=clients, overrides=list(overrides))
    return Trial(asked).run()


@KINDS
def test_its_own_rounds_are_played_with_its_own_run_config(tmp_path: Path, old: bool) -> None:
    app = write_plain_app(tmp_path / "app", old=old)
    report = tried(app)
    assert report.problems == []
    assert np.allclose(np.load("final.npy"), AFTER_TWO)
    assert tried(app, "run_config.num-server-rounds=1", "run_config.step=3").problems == []
    assert np.allclose(np.load("final.npy"), 3 * AFTER_TWO / 2)


def test_the_check_tries_one_round_and_leaves_nothing_in_the_apps_folder(tmp_path: Path) -> None:
    app = write_plain_app(tmp_path / "app")
    report = PlainExamination(find_app(app)).run()
    assert report["ok"], report
    assert report["steps"][0] == "an app of plain Flower, run as it is"
    assert report["steps"][-1].endswith("(run_config.num-server-rounds=1): 4 replies")
    assert any("dataset.partition.index=0" in note for note in report["notes"])
    assert not (app / "final.npy").exists()
    assert not Path("final.npy").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("plain.client_app:app", "plain.client:app", "No module named 'plain.client'"),
        ('serverapp = "plain.server_app:app"\n', "", "serverapp is missing"),
        ('"plain.server_app:app"', '"plain.server_app:main"', "must be a flwr.serverapp.ServerApp"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    app = write_plain_app(tmp_path / "app")
    (app / "pyproject.toml").write_text(PYPROJECT.replace(old, new))
    assert words in PlainExamination(app).run()["problems"][0]


def test_a_client_that_fails_is_said_before_what_the_server_makes_of_it(tmp_path: Path) -> None:
    app = write_plain_app(tmp_path / "app")
    broken = (app / "plain" / "client_app.py").read_text().replace("part + 1)", "1 / 0)")
    (app / "plain" / "client_app.py").write_text(broken)
    assert "client-0: ZeroDivisionError: division by zero" in tried(app).problems[0]


def test_its_bundle_says_what_the_server_has_to_know(tmp_path: Path) -> None:
    app = write_plain_app(tmp_path / "app")
    file = tmp_path / "app.fab"
    file.write_bytes(build_bundle(app))
    bundle = read_bundle(file)
    assert bundle.package == "plain"
    assert bundle.config.run_config == {"num-server-rounds": 2, "step": 1.0, "min-clients": 2}
    assert (app / "pyproject.toml").read_text() == PYPROJECT


@KINDS
def test_a_run_on_a_server_reaches_every_device_under_the_runs_config(
    tmp_path: Path, old: bool
) -> None:
    app = write_plain_app(tmp_path / "app", old=old)
    config = to_plain(Project.open(app, ["run_config.step=2"]).config)
    server = FlowerServer(config, tmp_path / "server")
    server.clients = {}
    for part in (0, 1):
        server.join(f"pi-{part + 1}", _device(app, part))
    assert _play(server, app) == EngineFinish(outcome="completed", own_rounds=True)
    assert np.allclose(np.load("final.npy"), 2 * AFTER_TWO)
    server.close()


@KINDS
def test_a_run_that_is_stopped_ends_while_it_waits_for_devices(tmp_path: Path, old: bool) -> None:
    app = write_plain_app(tmp_path / "app", old=old)
    server = FlowerServer(to_plain(Project.open(app).config), tmp_path / "server")
    server.clients = {}
    server.order("stop")
    assert _play(server, app).outcome == "stopped"
    server.close()


def test_a_device_takes_only_values_that_its_own_app_has() -> None:
    own = {"step": 1.0, "data-path": "here"}
    payload, config = taken_out(Payload(configs={"c": {}, **record_of({"step": 2.0})}), own)
    assert config == {"step": 2.0, "data-path": "here"}
    assert RECORD not in payload.configs
    for changes in ({"stepp": 2.0}, {"step": "fast"}, {"data-path": "/etc"}):
        with pytest.raises(FedOpsError):
            taken_out(Payload(configs=record_of(changes)), own)
    with pytest.raises(Invalid):
        taken_out(Payload(configs={RECORD: {"json": "[" * 10}}), own)


def _play(server: FlowerServer, app: Path) -> EngineFinish:
    with ServerLink(server, 3.0) as link:
        run_attempt(app, link)
    return server.finished[-1]


def _device(app: Path, part: int):  # type: ignore[no-untyped-def]
    """What a device does with a message: the run's values out of it, then the app's own ClientApp."""
    own = {"num-server-rounds": 2, "step": 1.0, "min-clients": 2}

    def answer(message: Message) -> Message:
        make_importable(read_manifest(app))
        records = {name: dict(record) for name, record in message.content.config_records.items()}
        kept, values = taken_out(Payload(configs=records), own)
        assert values["step"] == 2.0
        for name in set(records) - set(kept.configs):
            del message.content[name]
        node = {"partition-id": part, "num-partitions": 2}
        context = Context(5, part + 1, node, RecordDict(), values)
        return load_client_app("plain.client_app:app")(message, context)

    return answer
