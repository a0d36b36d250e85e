"""The files of work: read, uploaded, handed over, and given up when nobody needs them any more."""

from __future__ import annotations

import asyncio
import hashlib
import time

import httpx
import pytest
from managing import World
from work_calls import RESULT, collect, model_of, row_of, status_of, upload_result

from fedops.core import contracts as c
from fedops.core.errors import Invalid, NotFound
from fedops.core.states import AssignmentStatus as A
from fedops.server.access.principal import Principal
from fedops.server.database.tables import AssignmentRow

# --- what is kept ----------------------------------------------------------------------------


def test_small_results_are_given_up_two_rounds_later(world: World) -> None:
    world.task(overrides=["num_rounds=4"])
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    ids = []
    for number in range(1, 5):
        made = world.begin(engine, number, "a")
        a.held = []
        a.take()
        a.deliver(made["a"], RESULT)
        collect(engine, 0, 0, checked=[made["a"]])
        engine.commit(world.commit(engine, number, "a"))
        ids.append(made["a"])
        world.clock.advance(6)
        world.step()
    assert [row_of(world, id_).inline is None for id_ in ids] == [True, True, False, False]
    engine.finish(c.EngineFinish(outcome="completed"))
    world.clock.advance(31 * 86_400)
    for _ in range(2):
        world.clock.advance(6)
        world.step()
    with world.manager.services.db.read() as session:
        assert session.query(AssignmentRow).count() == 0


@pytest.mark.parametrize("by", ["engine", "revocation"])
def test_the_file_of_a_rejected_result_is_given_up(world: World, by: str) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.take()
    data = bytes(range(256)) * 400
    assert a.slot(made["a"], c.SlotRequest(size=len(data))).granted
    assert upload_result(world, a, made["a"], data).status_code == 201
    if by == "engine":
        collect(engine, 0, 0, rejected={made["a"]: "it has a NaN"})
    else:
        world.operator.decide_device("a", "revoke")
    assert status_of(world, made["a"]) is A.REJECTED
    for _ in range(2):
        world.clock.advance(6)
        world.step()
    assert row_of(world, made["a"]).pruned_at is not None
    with pytest.raises(NotFound):
        world.manager.services.artifacts.path(hashlib.sha256(data).hexdigest())


# --- files -----------------------------------------------------------------------------------


def _unfinished(world: World) -> list[str]:
    return world.manager.services.artifacts.unfinished()


def test_a_device_reads_what_its_work_names_and_uploads_the_result(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    model = engine.upload(world.model(3.0))
    made = world.begin(engine, 1, "a", model=model.sha256)
    id_ = devices["a"].take().id
    url = f"{world.url}/api/v1/blobs/{model.sha256}"
    version = {"fedops-protocol": "1"}
    for name, status in (("a", 200), ("b", 404)):
        headers = {**version, "authorization": f"Bearer {devices[name].token}"}
        assert httpx.get(url, headers=headers, timeout=60).status_code == status
    data = bytes(range(256)) * 400
    assert upload_result(world, devices["b"], id_, data).status_code == 404
    assert devices["a"].slot(id_, c.SlotRequest(size=len(data))).granted
    answer = upload_result(world, devices["a"], id_, data)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(data)))
    assert status_of(world, made["a"]) is A.UPLOADED
    (delivery,) = collect(engine).deliveries
    assert delivery.blob == c.BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    assert world.manager.services.artifacts.path(delivery.blob.sha256).read_bytes() == data
    headers = {**version, "authorization": f"Bearer {devices['a'].token}"}
    assert httpx.get(url, headers=headers, timeout=60).status_code == 404  # the work is over


@pytest.mark.parametrize("call", ["work", "download", "upload"])
def test_a_token_is_not_looked_up_where_all_calls_wait_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    model = model_of(world, engine)
    world.begin(engine, 1, "a", model=model)
    instruction = a.take()
    tokens = world.manager.services.token_cache
    looks: list[str] = []
    look_up = tokens.look_up

    def noted(secret: str) -> Principal:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        looks.append(secret)
        return look_up(secret)

    monkeypatch.setattr(tokens, "look_up", noted)
    tokens.clear()
    if call == "work":
        a.poll()
    elif call == "download":
        headers = {"fedops-protocol": "1", "authorization": f"Bearer {a.token}"}
        url = f"{world.url}/api/v1/blobs/{model}"
        assert httpx.get(url, headers=headers, timeout=60).status_code == 200
    else:
        assert upload_result(world, a, instruction.id, b"x" * 300).status_code == 201
    assert looks == [a.token]


def test_an_upload_is_bounded_by_what_the_run_takes(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a", max_bytes=100)
    id_ = a.take().id
    assert upload_result(world, a, id_, b"x" * 101).status_code == 413
    assert upload_result(world, a, id_, b"x" * 100).status_code == 201


def test_a_revocation_in_mid_upload_leaves_nothing(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    id_ = a.take().id
    upload_result(world, a, id_, b"x" * 100_000, cut=50_000)
    assert len(_unfinished(world)) == 1
    world.operator.decide_device("a", "revoke")
    assert upload_result(world, a, id_, b"x" * 100_000).status_code == 403
    for _ in range(100):
        if not _unfinished(world):
            return
        time.sleep(0.02)
    pytest.fail("the unfinished upload was kept")


def test_results_are_removed_two_rounds_later_and_files_that_nobody_wants_after_an_hour(
    world: World,
) -> None:
    world.task(overrides=["num_rounds=3"])
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    store = world.manager.services.artifacts
    unwanted = engine.upload(world.model(77.0)).sha256
    found = []
    for number in range(1, 4):
        world.begin(engine, number, "a")
        a.held = []
        id_ = a.take().id
        upload_result(world, a, id_, bytes([number]) * 1_000)
        found.append(collect(engine).deliveries[-1].blob)
        engine.commit(world.commit(engine, number, "a"))
    world.clock.advance(6)
    for _ in range(2):
        world.step()
    assert [store.exists(blob.sha256) for blob in found if blob] == [False, True, True]
    assert store.exists(unwanted)
    world.clock.advance(3_601)
    for _ in range(2):
        world.step()
    assert not store.exists(unwanted)
    assert store.exists(found[2].sha256 if found[2] else "")


def test_an_engine_hands_files_of_its_spool_over(world: World) -> None:
    world.task()
    run, engine = world.running()
    folder = world.manager.services.settings.home / "spool" / f"run-{run.id}" / "attempt-1"
    folder.mkdir(parents=True, exist_ok=True)
    file = world.model(9.0)
    (folder / "model").write_bytes(file.read_bytes())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    ref = engine.hand_over(c.BlobHandover(name="model", sha256=sha256))
    assert ref == c.BlobRef(sha256=sha256, size=file.stat().st_size)
    assert engine.hand_over(c.BlobHandover(name="model", sha256=sha256)) == ref
    with pytest.raises(Invalid, match="was announced"):
        engine.hand_over(c.BlobHandover(name="model", sha256="0" * 64))
    with pytest.raises(NotFound, match="no file other"):
        engine.hand_over(c.BlobHandover(name="other", sha256=sha256))
