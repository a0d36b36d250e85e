"""The registry: aliases that move and come back, comparisons, and files that are verified."""

from __future__ import annotations

import math
from pathlib import Path

import httpx
import pytest
from managing import World, bundle

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound, Unavailable
from fedops.server.database.tables import AliasRow
from fedops.storage.tensors import load


def _version(world: World, value: float, *overrides: str) -> c.ModelVersionRead:
    """A completed run of one round whose model is ``value``."""
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1", *overrides]))
    _, engine = world.open_attempt(run.id)
    spec = engine.hello(c.EngineHello(pid=1))
    if spec.model is None:
        ref = engine.upload(world.model(0.0))
        from managing import CONTRACT

        engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    world.do_round(engine, 1, "a", value=value)
    engine.finish(c.EngineFinish(outcome="completed"))
    return world.operator.model("mnist", "latest")


@pytest.fixture
def versions(world: World) -> list[c.ModelVersionRead]:
    """V1 and V2 of the task mnist."""
    world.task()
    world.ready_devices("a")
    return [_version(world, 3.0), _version(world, 4.0, "learning_rate=0.5")]


def _file(world: World, model: c.ModelVersionRead) -> Path:
    return world.manager.services.artifacts.path(model.sha256)


@pytest.mark.usefixtures("versions")
def test_promote_and_roll_back_are_events_with_a_past(world: World) -> None:
    operator = world.operator
    assert operator.promote_model("mnist", "V1").aliases == ["serving"]
    operator.promote_model("mnist", "V1")
    assert operator.promote_model("mnist", "latest").aliases == ["latest", "serving"]
    operator.promote_model("mnist", "V0")
    assert operator.rollback_alias("mnist").version == 2
    assert operator.rollback_alias("mnist").version == 1
    with pytest.raises(
        Conflict, match="named nothing else before V1: there is nothing to go back to"
    ):
        operator.rollback_alias("mnist")
    operator.promote_model("mnist", "2")
    assert operator.model("mnist", "serving").version == 2
    assert operator.rollback_alias("mnist").version == 1
    said = [e.text for e in operator.events() if e.subject == "alias mnist serving"]
    assert said == [
        "serving is V1",
        "serving is V2, was V1",
        "serving is V0, was V2",
        "serving is V2 again: its move to V0 was rolled back",
        "serving is V1 again: its move to V2 was rolled back",
        "serving is V2, was V1",
        "serving is V1 again: its move to V2 was rolled back",
    ]
    by_name = {a.name: a for a in operator.aliases("mnist")}
    assert [m.version for m in by_name["serving"].moves] == [2, 0, 2, 1]
    assert [m.undone_at is None for m in by_name["serving"].moves] == [False, False, False, True]


@pytest.mark.usefixtures("versions")
def test_latest_is_the_newest_version_and_cannot_be_moved(world: World) -> None:
    """Moved, it would let the next run go on from an old model without a word."""
    operator = world.operator
    with pytest.raises(Invalid, match=r"'latest' is always the newest.*--from V3"):
        operator.promote_model("mnist", "V1", "latest")
    with pytest.raises(Invalid, match="'latest' is always the newest"):
        operator.rollback_alias("mnist", "latest")
    with world.manager.services.db.write() as session:  # as an earlier FedOps would have left it
        session.get_one(AliasRow, ("mnist", "latest")).version = 1
    assert operator.model("mnist", "latest").version == 2
    assert operator.model("mnist", "V2").aliases == ["latest"]
    assert [(a.name, a.version) for a in operator.aliases("mnist")] == [("latest", 2)]
    assert operator.start_run("mnist", c.RunStart()).from_version == 2


@pytest.mark.usefixtures("versions")
def test_what_cannot_be_promoted(world: World) -> None:
    operator = world.operator
    with pytest.raises(NotFound, match="no model version 'V9'"):
        operator.promote_model("mnist", "V9")
    for name in ("V3", "v3", "3", "Serving", "a b", ""):
        with pytest.raises(Invalid, match="alias"):
            operator.promote_model("mnist", "V1", name)
    with pytest.raises(NotFound, match="has no alias 'serving'; it has: latest"):
        operator.rollback_alias("mnist")
    with pytest.raises(NotFound, match="no task 'x'"):
        operator.rollback_alias("x")
    with pytest.raises(NotFound, match="no task 'x'"):
        operator.aliases("x")


def test_a_damaged_file_is_named_and_never_promoted(
    world: World, versions: list[c.ModelVersionRead]
) -> None:
    assert [f.problem for f in world.operator.verify_models()] == [None, None, None]
    _file(world, versions[0]).write_bytes(b"other")
    _file(world, versions[1]).unlink()
    found = {f.version: f.problem or "" for f in world.operator.verify_models("mnist")}
    assert found[0] == ""
    assert "damaged: its sha256 is d9298a10d1b0" in found[1]
    assert found[2] == "its file is missing"
    with pytest.raises(Unavailable, match=r"V1 of task 'mnist' cannot be used: .* is damaged"):
        world.operator.promote_model("mnist", "V1")
    with pytest.raises(Unavailable, match="file is missing"):
        world.operator.compare_models("mnist", "V0", "V2")
    assert [a.name for a in world.operator.aliases("mnist")] == ["latest"]
    with pytest.raises(NotFound, match="no task 'x'"):
        world.operator.verify_models("x")


@pytest.mark.usefixtures("versions")
def test_two_versions_side_by_side(world: World) -> None:
    found = world.operator.compare_models("mnist", "V1", "latest")
    assert (found.first, found.second, found.identical) == (1, 2, False)
    assert found.config.keys() == {"learning_rate"}
    assert found.config["learning_rate"].second == 0.5
    assert found.metrics["accuracy"] == c.MetricDifference(first=0.1, second=0.1)
    (tensor,) = found.tensors
    assert (tensor.name, tensor.first, tensor.largest) == ("w", [2], 1.0)
    assert tensor.distance == pytest.approx(math.sqrt(2))
    assert tensor.relative == pytest.approx(1 / 3)
    assert found.distance == tensor.distance
    same = world.operator.compare_models("mnist", "V1", "1")
    assert (same.identical, same.config, same.distance) == (True, {}, 0.0)
    from_zero = world.operator.compare_models("mnist", "V0", "V1").tensors[0]
    assert (from_zero.relative, from_zero.largest) == (None, 3.0)


def test_the_lineage_tells_where_a_model_comes_from(world: World) -> None:
    file = world.file(bundle())
    ref = world.operator.upload_bundle(file, commit="0123abc-dirty")
    world.operator.upload_bundle(file)
    world.operator.create_task(c.TaskCreate(name="mnist", bundle=ref.sha256))
    world.ready_devices("a")
    made = _version(world, 1.0)
    assert (made.parent, made.run_id, made.round) == (0, 1, 1)
    assert made.lineage["commit"] == "0123abc-dirty"
    assert made.lineage["devices"] == {"a": {"rounds": 1, "examples": 100}}
    assert made.lineage["config"]["num_rounds"] == 1
    headers = dict(world.operator._http.headers)
    answer = httpx.put(
        f"{world.url}/api/v1/bundles?commit=x;y", content=b"", headers=headers, timeout=60.0
    )
    assert answer.status_code == 422


def test_a_version_is_never_changed_by_what_comes_after(
    world: World, versions: list[c.ModelVersionRead], tmp_path: Path
) -> None:
    world.operator.promote_model("mnist", "V1")
    _version(world, 5.0)
    model = world.operator.model("mnist", "V1")
    assert model.model_copy(update={"aliases": []}) == versions[0].model_copy(
        update={"aliases": []}
    )
    target = world.operator.download_model("mnist", "serving", tmp_path / "x")
    assert load(target)["w"].tolist() == [3.0, 3.0]
