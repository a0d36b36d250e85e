"""A model version on a device's own data: the report stays there, and what is wrong is said in a sentence."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from managing import World, idle, managing

from fedops.client.device.data_dir import DataDir, Identity
from fedops.client.device.remembered_app import RememberedApp
from fedops.client.evaluation.evaluate import evaluate_version, keep_report
from fedops.client.evaluation.messages import EvaluationArgs, EvaluationReport
from fedops.client.evaluation.process import evaluate
from fedops.core import contracts as c
from fedops.core.errors import Forbidden, Invalid, NotFound, Unavailable
from fedops.flower.app_bundle import PackedApp
from fedops.scalize.flow.project import Project
from fedops.settings import ClientSettings
from fedops.storage.tensors import Tensors, save

TINY = Path(__file__).parents[2] / "acceptance" / "apps" / "tiny"


@dataclass
class Place:
    """A server with V0 of the task tiny, and the data dir of a device of it."""

    world: World
    home: DataDir
    app: Path
    model: Tensors

    @property
    def settings(self) -> ClientSettings:
        return ClientSettings(home=self.home.path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    app, home = folder / "app", DataDir(folder / "pi")
    shutil.copytree(TINY, app)
    with managing(folder) as world:
        ref = world.upload(PackedApp.of(app).bundle)
        world.operator.create_task(c.TaskCreate(name="tiny", bundle=ref.sha256))
        reply, device = world.join("pi")
        device.poll(idle("tiny"))
        home.create()
        Identity(world.url, reply.device_id, "pi", reply.device_token).save(home)
        adapter = Project.open(app).make_adapter(42)
        run = world.operator.start_run("tiny", c.RunStart())
        _, engine = world.open_attempt(run.id)
        engine.hello(c.EngineHello(pid=1))
        save(adapter.get_tensors(), folder / "v0.safetensors")
        blob = engine.upload(folder / "v0.safetensors")
        engine.initial_model(c.ModelInit(model=blob.sha256, contract=adapter.contract))
        yield Place(world, home, app, adapter.get_tensors())


def _calls(place: Place) -> int:
    """What the server was told: events, and metrics of the run."""
    operator = place.world.operator
    return len(operator.events()) + len(operator.metrics(1))


def test_the_numbers_are_those_of_this_devices_data_and_stay_here(made: Place) -> None:
    RememberedApp(str(made.app), ["dataset.partition.index=1", "dataset.partition.of=2"]).save(
        made.home
    )
    before = _calls(made)
    report = evaluate_version(made.settings, "V0")
    assert (report.task, report.version, report.device) == ("tiny", 0, "pi")
    assert report.examples == 40  # a quarter of its 160
    project = Project.open(made.app, ["dataset.partition.index=1", "dataset.partition.of=2"])
    assert report.metrics == pytest.approx(_expected(project, made.model))
    file = Path(report.path)
    assert file.parent == made.home.evaluations
    assert json.loads(file.read_text())["metrics"] == report.metrics
    text = file.with_suffix(".txt").read_text()
    assert "40 validation examples of 'blobs'" in text
    assert {stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()} == {0o600}
    assert _calls(made) == before
    left = [path.name for path in made.home.path.iterdir() if path.name.startswith("evaluation-")]
    assert left == []  # of the model, nothing


def _expected(project: Project, model: Tensors) -> dict[str, float]:
    import torch

    data = project.load_data().validation
    adapter = project.make_adapter(42)
    adapter.set_tensors(model)
    points, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=len(data))))
    net = adapter.model  # type: ignore[attr-defined]
    with torch.no_grad():
        scores = net(points)
    return {
        "loss": float(torch.nn.functional.cross_entropy(scores, labels)),
        "accuracy": float((scores.argmax(1) == labels).float().mean()),
    }


def test_a_report_of_the_same_second_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    report = EvaluationReport(
        task="tiny",
        version=3,
        sha256="0" * 64,
        run_id=1,
        round=2,
        device="pi",
        app="app",
        dataset="",
        examples=1,
        metrics={"loss": 1.0},
        seconds=1.0,
        notes=[],
        evaluated_at=0.0,
        environment={},
    )
    names = [Path(keep_report(DataDir(tmp_path), report).path).name for _ in range(2)]
    assert names == ["tiny-V3-19700101T000000.json", "tiny-V3-19700101T000000-2.json"]
    assert len(list((tmp_path / "evaluations").iterdir())) == 4


def test_what_is_not_there_is_named(made: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model version 'V9'"):
        evaluate_version(made.settings, "V9", app_dir=made.app)
    with pytest.raises(Forbidden, match="takes no part in a task 'other'"):
        evaluate_version(made.settings, "V0", app_dir=made.app, task="other")
    with pytest.raises(Invalid, match="no model version; write V3"):
        evaluate_version(made.settings, "the newest", app_dir=made.app)
    with pytest.raises(NotFound, match="has not joined"):
        evaluate_version(ClientSettings(home=tmp_path), "V0", app_dir=made.app)
    away = ClientSettings(home=made.home.path, server="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="cannot reach the Server Manager"):
        evaluate_version(away, "V0", app_dir=made.app)


def test_a_device_that_never_ran_an_app_is_asked_for_one(made: Place, tmp_path: Path) -> None:
    shutil.copy(made.home.identity, tmp_path)
    with pytest.raises(Invalid, match="name the app's folder with --app"):
        evaluate_version(ClientSettings(home=tmp_path), "V0")


# --- in this process: what the other one may run into ----------------------------------------


def _args(place: Place, tmp_path: Path, **model: object) -> EvaluationArgs:
    file = tmp_path / "model.safetensors"
    save(place.model, file)
    told = c.DeviceModelRead(
        task="tiny",
        version=0,
        sha256="0" * 64,
        size=1,
        run_id=1,
        round=0,
        config=place.world.operator.run(1).config,
        contract=Project.open(place.app).make_adapter(42).contract,
        dataset=None,
        created_at=0.0,
    )
    return EvaluationArgs(
        home=tmp_path / "home",
        device="pi",
        app_dir=place.app,
        overrides=[],
        model=told.model_copy(update=model),
        file=file,
        answer=tmp_path / "answer.json",
    )


def test_what_a_round_keeps_is_not_touched(made: Place, tmp_path: Path) -> None:
    half_written = tmp_path / "home" / "rounds" / "checkpoints" / "tiny" / ".half"
    half_written.parent.mkdir(parents=True)
    half_written.write_bytes(b"a training client is writing this")
    assert evaluate(_args(made, tmp_path)).examples == 40
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == [half_written]


def test_the_owners_limits_hold_and_are_said(made: Place, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "device.toml").write_text("[limits]\nmax_batch_size = 8\n")
    (note,) = evaluate(_args(made, tmp_path)).notes
    assert note == "batch_size lowered from 16 to 8 by this device's owner"


def test_an_accelerator_that_is_not_there_is_said(made: Place, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "device.toml").write_text('[limits]\naccelerator = "cuda:63"\n')
    assert "cuda:63" in evaluate(_args(made, tmp_path)).notes[-1]


def test_without_validation_data_there_is_nothing_to_measure(made: Place, tmp_path: Path) -> None:
    args = _args(made, tmp_path)
    args.overrides = ["dataset.validation_split=0"]
    with pytest.raises(Invalid, match="no validation data"):
        evaluate(args)


def test_an_app_with_another_model_is_refused(made: Place, tmp_path: Path) -> None:
    contract = c.ParameterContract(
        parameters=(
            c.ParameterSpec(name="w", shape=(2,), dtype="float32", rule=c.ExchangeRule.MEAN),
        )
    )
    with pytest.raises(Invalid, match=r"its model \(here\) differs from the run's"):
        evaluate(_args(made, tmp_path, contract=contract))
