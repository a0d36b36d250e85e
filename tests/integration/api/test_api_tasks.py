"""App bundles, tasks and models over HTTP."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import httpx
import pytest
from managing import CONFIG, World, bundle, managing

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import TaskStatus
from fedops.storage import atomic_files as files
from fedops.storage import tensors


def test_a_bundle_is_kept_under_its_digest_once(world: World) -> None:
    data = bundle()
    first, second = world.upload(data), world.upload(data)
    assert first == second
    stored = world.manager.services.artifacts.path(first.sha256)
    assert stored.read_bytes() == data
    assert stored.parent.name == first.sha256[:2]


def _evil(name: str, mode: int = 0) -> bytes:
    buffer = io.BytesIO(bundle())
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no readable zip file"),
        (b"PK\x03\x04 broken", "no readable zip file"),
        (bundle()[:-30], "no readable zip file"),
        (_evil("../outside.py"), r"holds '\.\./outside\.py', a path that leads out of it"),
        (_evil("toy/../../x"), "a path that leads out of it"),
        (_evil("/etc/x"), "a path that leads out of it"),
        (_evil("C:\\x"), "a path that leads out of it"),
        (_evil("toy/link", stat.S_IFLNK | 0o777), "holds a symbolic link: 'toy/link'"),
        (bundle(**{"pyproject.toml": None}), "has no pyproject.toml"),
        (bundle(**{"pyproject.toml": "not [toml"}), "pyproject.toml is no valid TOML"),
        (bundle(**{"toy/conf/config.toml": "a." * 100_000 + "a = 1"}), "nested more than 32 deep"),
        (bundle(**{"toy/conf/config.toml": "a = " + "[" * 90_000}), "nested more than 32 deep"),
        (
            bundle(**{"pyproject.toml": "[project]\nname='x'"}),
            r"pyproject.toml has no table \[tool\]",
        ),
        (bundle(**{"pyproject.toml": "[tool.other]"}), r"\[tool\] has no table \[fedops\]"),
        (bundle(**{"pyproject.toml": "[tool.fedops]\npackage='toy'"}), "'config' is missing"),
        (
            bundle(**{"pyproject.toml": "[tool.fedops]\npackage=3\nconfig='x'"}),
            "'package' is missing",
        ),
        (
            bundle(**{"pyproject.toml": "[tool.fedops]\npackage='toy'\nconfig='../x.toml'"}),
            "leads out of the app",
        ),
        (
            bundle(**{"pyproject.toml": "[tool.fedops]\npackage='toys'\nconfig='toy/x.toml'"}),
            "no folder toys/",
        ),
        (bundle(**{"toy/conf/config.toml": None}), "has no toy/conf/config.toml"),
        (
            bundle(**{"toy/conf/config.toml": "num_round = 3"}),
            "num_round: unknown key; did you mean",
        ),
        (bundle(**{"toy/conf/config.toml": "num_rounds = 0"}), "num_rounds = 0: must be"),
    ],
)
def test_what_is_no_bundle_is_refused_and_not_kept(world: World, data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        world.upload(data)
    root = world.manager.services.settings.home / "artifacts"
    assert not [p for p in root.rglob("*") if p.is_file()]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_upload_beyond_the_limit_is_refused(tmp_path: Path, streamed: bool) -> None:
    with managing(tmp_path, max_bundle_bytes=100_000) as world:
        token = world.manager.services.settings.admin_token_file.read_text().strip()
        data = b"x" * 100_001
        answer = httpx.put(
            f"{world.url}/api/v1/bundles",
            headers={"authorization": f"Bearer {token}"},
            content=iter([data]) if streamed else data,
            timeout=60.0,
        )
        assert answer.status_code == 413
        assert "larger than the 100,000 bytes" in answer.json()["message"]
        assert not list((tmp_path / "server" / "artifacts").rglob("*/*"))


def test_a_task_is_made_of_a_bundle_with_its_secrets_redacted(world: World) -> None:
    made = world.task("mnist", ["num_rounds=5", "model.width=3"])
    assert (made.status, made.active_run, made.latest_version) == (TaskStatus.READY, None, None)
    assert made.config["num_rounds"] == 5
    assert made.config["task_id"] == "mnist"
    assert made.config["model"]["width"] == 3
    assert made.config["wandb"]["key"] == "***"
    assert "a secret of mine" not in world.operator.task("mnist").model_dump_json()


def test_a_task_is_made_once(world: World) -> None:
    world.task("mnist")
    with pytest.raises(Conflict, match="task 'mnist' exists already"):
        world.task("mnist")
    assert len(world.operator.tasks()) == 1


def test_an_unknown_task_names_the_known(world: World) -> None:
    with pytest.raises(NotFound, match="there is no task 'nope'; there is none yet"):
        world.operator.task("nope")
    world.task("mnist")
    for call in (
        world.operator.task,
        world.operator.models,
        world.operator.archive_task,
        world.operator.runs,
        lambda name: world.operator.start_run(name, c.RunStart()),
        lambda name: world.operator.model(name, "latest"),
    ):
        with pytest.raises(NotFound, match="there is no task 'nope'; there are: 'mnist'"):
            call("nope")


def test_a_task_needs_its_bundle_and_valid_overrides(world: World) -> None:
    with pytest.raises(Invalid, match="no app bundle 0000"):
        world.operator.create_task(c.TaskCreate(name="x", bundle="0" * 64))
    ref = world.upload(bundle())
    body = c.TaskCreate(name="x", bundle=ref.sha256, overrides=["num_rounds=0"])
    with pytest.raises(Invalid, match="num_rounds = 0: must be"):
        world.operator.create_task(body)
    with pytest.raises(Invalid, match="must read key=value"):
        world.operator.create_task(c.TaskCreate(name="x", bundle=ref.sha256, overrides=["rounds"]))
    assert world.operator.tasks() == []


def test_a_task_is_updated_for_runs_to_come(world: World) -> None:
    world.task("mnist", ["num_rounds=5"])
    run = world.operator.start_run("mnist", c.RunStart())
    other = world.upload(bundle(**{"toy/conf/config.toml": CONFIG + "[dataset]\nname = 'new'\n"}))
    changed = world.operator.update_task("mnist", c.TaskUpdate(bundle=other.sha256))
    assert changed.config["dataset"]["name"] == "new"
    assert changed.config["num_rounds"] == 5  # the overrides stay
    changed = world.operator.update_task("mnist", c.TaskUpdate(overrides=[], description="words"))
    assert (changed.config["num_rounds"], changed.description) == (3, "words")
    assert world.operator.run(run.id).config["num_rounds"] == 5
    assert world.operator.run(run.id).rounds == 5


def test_an_archived_task_takes_no_run(world: World) -> None:
    world.task("mnist")
    run = world.operator.start_run("mnist", c.RunStart())
    with pytest.raises(Conflict, match=f"has run {run.id} going on; stop it first"):
        world.operator.archive_task("mnist")
    world.operator.stop_run(run.id)
    assert world.operator.archive_task("mnist").status is TaskStatus.ARCHIVED
    assert world.operator.archive_task("mnist").status is TaskStatus.ARCHIVED
    with pytest.raises(Conflict, match="is archived: it takes no new run"):
        world.operator.start_run("mnist", c.RunStart())
    with pytest.raises(Conflict, match="is archived"):
        world.operator.update_task("mnist", c.TaskUpdate(description="x"))
    _, device = world.join("pi")
    assert device.tasks() == []
    assert device.poll(c.WorkPoll(tasks=["mnist"])).problems == ["task 'mnist' is archived"]


def test_an_archived_task_can_be_taken_out_again(world: World) -> None:
    world.task()
    world.operator.archive_task("mnist")
    assert world.operator.unarchive_task("mnist").status is TaskStatus.READY
    assert world.operator.unarchive_task("mnist").status is TaskStatus.READY
    assert world.operator.start_run("mnist", c.RunStart()).rounds == 3
    with pytest.raises(NotFound, match="no task 'digits'"):
        world.operator.unarchive_task("digits")


def test_two_runs_make_two_versions_and_both_files_stay(world: World) -> None:
    world.task("mnist", ["num_rounds=1"])
    world.ready_devices("a", "b")
    digests = []
    for value in (1.0, 2.0):
        run, engine = world.running()
        world.do_round(engine, 1, "a", "b", value=value)
        engine.finish(c.EngineFinish(outcome="completed", client_metrics={"loss": value}))
        digests.append(world.operator.run(run.id).version)
    assert digests == [1, 2]
    first, second = world.operator.model("mnist", "V1"), world.operator.model("mnist", "2")
    assert [v.version for v in world.operator.models("mnist")] == [0, 1, 2]
    assert (first.parent, second.parent, second.aliases) == (0, 1, ["latest"])
    assert world.operator.model("mnist", "latest") == second
    assert world.operator.task("mnist").latest_version == 2
    assert second.metrics == {"accuracy": 0.1, "loss": 2.0}
    assert second.lineage["devices"] == {
        "a": {"rounds": 1, "examples": 100},
        "b": {"rounds": 1, "examples": 100},
    }
    for version, value in ((first, 1.0), (second, 2.0)):
        file = world.operator.download_model("mnist", str(version.version), world.folder / "model")
        assert files.sha256_of(file) == version.sha256
        assert file.stat().st_size == version.size
        assert tensors.load(file)["w"].tolist() == [value, value]


def test_an_unknown_version_names_the_known(world: World) -> None:
    world.task("mnist", ["num_rounds=1"])
    with pytest.raises(NotFound, match="its first completed run makes V1"):
        world.operator.model("mnist", "latest")
    world.ready_devices("a")
    _, engine = world.running()
    world.do_round(engine, 1, "a")
    engine.finish(c.EngineFinish(outcome="completed"))
    with pytest.raises(NotFound, match="no model version '7'; it has: V1, V0, latest"):
        world.operator.model("mnist", "7")
    with pytest.raises(NotFound, match="no model version 'serving'"):
        world.operator.download_model("mnist", "serving", world.folder / "model")
    with pytest.raises(NotFound, match="no model version 'V9'"):
        world.operator.start_run("mnist", c.RunStart(from_version=9))


def test_the_devices_of_a_task_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound, match="there is no task 'nope'"):
        world.operator.devices(task="nope")
