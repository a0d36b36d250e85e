"""Runs as files, and once more from them: 'fedops run export' and 'fedops run rerun' on a server."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from managing import CONTRACT, Device, World, bundle, idle, managing

from fedops.cli.exports import export_lines, export_runs
from fedops.cli.reruns import Rerun, compare_rerun, plan_rerun
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound, Unavailable
from fedops.results.files import read_export
from fedops.results.tables import LAYOUTS

#: What the FL servers of these tests ran on. The server itself runs on what is installed here.
THEN = {"python": "3.11.9", "torch": "2.6.0"}


@pytest.fixture(scope="module")
def devices() -> dict[str, Device]:
    """The devices of ``world``."""
    return {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, devices: dict[str, Device]) -> Iterator[World]:
    """A server with the completed run 1, which made V0 and V1."""
    with managing(tmp_path_factory.mktemp("world")) as made:
        made.task(overrides=["num_rounds=2", "server.strategy.hub_token=abcdefgh1234"])
        devices.update(made.ready_devices("a", "b"))
        _complete(made, c.RunStart())
        yield made


def _complete(world: World, body: c.RunStart, start: float = 0.0) -> int:
    run = world.operator.start_run("mnist", body)
    _, engine = world.open_attempt(run.id)
    engine.hello(c.EngineHello(pid=1, environment=THEN))
    if run.from_version is None:
        model = engine.upload(world.model(start))
        engine.initial_model(c.ModelInit(model=model.sha256, contract=CONTRACT))
    for number in (1, 2):
        world.do_round(engine, number, "b", "a")
    engine.finish(c.EngineFinish(outcome="completed"))
    return run.id


def _export(world: World, place: Path, *runs: int, kind: Any = "csv") -> dict[str, Any]:
    return export_runs(world.operator, list(runs), None, kind, place)


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_tables_a_config_and_a_manifest(world: World, tmp_path: Path) -> None:
    done = _export(world, tmp_path / "run-1", 1)
    folder = tmp_path / "run-1"
    files = {file.name for file in folder.iterdir()}
    assert files == {*(f"{name}.csv" for name in LAYOUTS), "config.toml", "manifest.json"}
    for name, layout in LAYOUTS.items():
        head = (folder / f"{name}.csv").read_text().splitlines()[0]
        assert head == ",".join(column.name for column in layout.columns)
    assert [row["version"] for row in _rows(folder, "models")] == ["0", "1"]
    assert [(r["round"], r["clients"]) for r in _rows(folder, "rounds")] == [("1", "2"), ("2", "2")]
    assert [(r["round"], r["device"]) for r in _rows(folder, "selections")] == [
        ("1", "a"),
        ("1", "b"),
        ("2", "a"),
        ("2", "b"),
    ]
    assert _rows(folder, "clients")[0] == {
        "run": "1",
        "device": "a",
        "selected": "2",
        "replied": "2",
        "examples": "200",
        "seconds": "1.0",
        "bytes_up": "2000",
    }
    assert len(_rows(folder, "metrics")) == len(world.operator.metrics(1))
    manifest = json.loads((folder / "manifest.json").read_text())
    (run,) = manifest["runs"]
    assert run["attempts"][0]["environment"] == THEN
    v0, v1 = world.operator.models("mnist")[:2]
    assert run["start"]["sha256"] == v0.sha256
    assert run["sha256"] == v1.sha256
    assert sorted(manifest["devices"]) == ["a", "b"]
    assert manifest["devices"]["a"]["hostname"] == ""
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert export_lines(done)[1] == "note: run 1: taken out as secrets: server.strategy.hub_token"
    assert "abcdefgh1234" not in "".join(f.read_text() for f in folder.iterdir())


def test_the_same_run_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        _export(world, tmp_path / name, 1)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
    assert read_export(tmp_path / "one.zip")[0].runs[0].run == 1


def test_parquet_has_the_same_rows(world: World, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    _export(world, tmp_path / "csv", 1)
    _export(world, tmp_path / "pq", 1, kind="parquet")
    for name in LAYOUTS:
        rows = pq.read_table(tmp_path / "pq" / f"{name}.parquet").to_pylist()
        as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
        assert as_text == _rows(tmp_path / "csv", name)


def test_without_pyarrow_it_is_named_before_anything_is_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as if it were not installed
    with pytest.raises(Unavailable, match=r"pip install 'fedops\[parquet\]', or export --to csv"):
        _export(world, tmp_path / "pq", 1, kind="parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_not_overwritten(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(Conflict, match="--out"):
        _export(world, tmp_path / "mine", 1)
    with pytest.raises(Invalid, match="name the runs"):
        _export(world, tmp_path / "none")
    with pytest.raises(NotFound):
        _export(world, tmp_path / "none", 99)
    assert not (tmp_path / "none").exists()


# --- once more -------------------------------------------------------------------------------

SECRET = ["server.strategy.hub_token=abcdefgh1234"]


def _plan(world: World, source: Path, overrides: list[str] | None = None, **given: Any) -> Any:
    values = {"run_id": None, "task": None, **given}
    wanted = SECRET if overrides is None else overrides
    return plan_rerun(world.operator, source, values["run_id"], values["task"], wanted)


def test_a_rerun_has_app_config_seed_and_start_of_the_run(world: World, tmp_path: Path) -> None:
    _export(world, tmp_path / "e", 1)
    # The task has moved on since.
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["num_rounds=9"]))
    plan = _plan(world, tmp_path / "e")
    again = world.operator.start_run(plan.task, plan.body)
    world.operator.stop_run(again.id)
    first = world.operator.run(1)
    assert again.config == first.config
    assert (again.seed, again.bundle, again.from_version) == (first.seed, first.bundle, 0)
    assert "torch 2.6.0 then, " in "\n".join(plan.differences)
    assert "overridden: server.strategy.hub_token=***" in plan.differences
    world.operator.update_task("mnist", c.TaskUpdate(bundle=_other_app(world)))
    told = _plan(world, tmp_path / "e").differences
    assert "the task has another version of the app now; the exported one is used" in told


def test_a_rerun_is_compared_with_the_model_of_then(world: World, tmp_path: Path) -> None:
    _export(world, tmp_path / "e", 1)
    of, run = read_export(tmp_path / "e")[0].runs[0], world.operator.run(1)

    def compare(sha256: str | None, *differences: str) -> tuple[bool | None, str]:
        then = of.model_copy(update={"sha256": sha256})
        plan = Rerun("mnist", then, c.RunStart(), list(differences))
        return compare_rerun(world.operator, plan, run)

    same, said = compare(of.sha256)
    assert (same, "bit for bit" in said) == (True, True)
    same, said = compare("0" * 64)
    assert (same, "sha256 0000000000000000 then" in said) == (False, True)
    assert "training is not deterministic" in said
    assert "see above what differs" in compare("0" * 64, "torch 2.6.0 then, 2.7.0 now")[1]
    assert compare(None)[0] is None


def _other_app(world: World) -> str:
    return world.upload(bundle(**{"toy/__init__.py": "# changed"})).sha256


def test_devices_that_are_not_those_of_then_are_named(
    world: World, devices: dict[str, Device], tmp_path: Path
) -> None:
    _export(world, tmp_path / "e", 1)
    file = tmp_path / "e" / "manifest.json"
    manifest = json.loads(file.read_text())
    b = manifest["devices"]["b"] | {"libraries": {"torch": "2.6.0"}}
    manifest["devices"] = {"z": manifest["devices"]["a"], "b": b}
    file.write_text(json.dumps(manifest))
    told = _plan(world, tmp_path / "e").differences
    assert "device 'z' took part then and is not in the task now" in told
    assert "device 'a' is in the task now and was not then" in told
    assert not [line for line in told if "'b'" in line]  # it never told its libraries here
    now = world.operator.device("b").info.model_copy(update={"libraries": {"torch": "2.7.0"}})
    devices["b"].poll(idle("mnist").model_copy(update={"info": now, "life": "anew"}))
    told = _plan(world, tmp_path / "e").differences
    assert "device 'b': torch 2.6.0 then, 2.7.0 now" in told


def _changed(tmp_path: Path, world: World, **run: Any) -> Path:
    """An export whose manifest says something else of its run."""
    _export(world, tmp_path / "e", 1)
    file = tmp_path / "e" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["runs"][0] |= run
    file.write_text(json.dumps(manifest))
    return tmp_path / "e"


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        ({"bundle": "0" * 64}, Invalid, "does not have the app of run 1 .*the same files give"),
        ({"start": {"version": 3, "sha256": "0" * 64}}, Conflict, "no version with this model"),
        (
            {"start": {"version": 0, "sha256": "0" * 64, "made_by_run": 1}},
            Conflict,
            "has another V0",
        ),
        ({"parent": 12}, Invalid, "goes on from run 12"),
        ({"task": "letters"}, NotFound, "fedops task create letters"),
        ({"config_file": "../config.toml"}, Invalid, "outside of it"),
    ],
)
def test_what_cannot_be_repeated_says_why(
    world: World, tmp_path: Path, run: dict[str, Any], kind: type[FedOpsError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _plan(world, _changed(tmp_path, world, **run))


def test_a_secret_must_be_given_again(world: World, tmp_path: Path) -> None:
    _export(world, tmp_path / "e", 1)
    with pytest.raises(Invalid, match=r"--set server\.strategy\.hub_token=VALUE"):
        _plan(world, tmp_path / "e", [])


def test_a_config_that_was_edited_is_refused(world: World, tmp_path: Path) -> None:
    _export(world, tmp_path / "e", 1)
    file = tmp_path / "e" / "config.toml"
    file.write_text(file.read_text().replace("num_rounds = 2", "num_rounds = 20"))
    with pytest.raises(Invalid, match="not as it was exported"):
        _plan(world, tmp_path / "e")


def test_of_several_runs_one_is_chosen(world: World, tmp_path: Path) -> None:
    second = _complete(world, c.RunStart(overrides=["num_rounds=2"], new_model=True), start=4.0)
    _export(world, tmp_path / "e.zip", 1, second)
    with pytest.raises(Invalid, match=f"holds the runs 1, {second}: choose one with --run"):
        _plan(world, tmp_path / "e.zip")
    plan = _plan(world, tmp_path / "e.zip", [], run_id=second)
    assert (plan.body.new_model, plan.body.from_version) == (True, None)
    with pytest.raises(NotFound, match="does not hold run 99"):
        _plan(world, tmp_path / "e.zip", run_id=99)


def test_on_a_new_server_the_initial_model_is_made_anew(world: World, tmp_path: Path) -> None:
    _export(world, tmp_path / "e", 1)
    with managing(tmp_path / "other") as other:
        other.task()
        plan = plan_rerun(other.operator, tmp_path / "e", None, None, SECRET)
        assert (plan.body.from_version, plan.body.new_model) == (None, False)
        assert "the initial model is made anew, from seed 7" in plan.differences


@pytest.mark.parametrize("text", ["", "{}", '{"format": "fedops-run-export", "format_version": 2}'])
def test_what_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(Invalid, match="is no export that this FedOps reads"):
        read_export(tmp_path)


def test_what_is_wrong_with_a_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no export"):
        read_export(tmp_path / "nothing")
    with pytest.raises(Invalid, match=r"there is no manifest\.json in it"):
        read_export(tmp_path)
    (tmp_path / "e.zip").write_text("PK")
    with pytest.raises(Invalid, match="no folder and no whole zip file"):
        read_export(tmp_path / "e.zip")
