"""Versions that are kept and that nothing goes on from: by the gate, by hand, and let out again."""

from __future__ import annotations

import pytest
from managing import CONTRACT, World

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import RunStatus


def _run(
    world: World,
    value: float,
    metrics: dict[str, float],
    *overrides: str,
    of_v0: float = 2.3,
    evaluated: bool = True,
) -> c.RunRead:
    """A completed run of one round that ends with these metrics."""
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1", *overrides]))
    _, engine = world.open_attempt(run.id)
    if engine.hello(c.EngineHello(pid=1)).model is None:
        ref = engine.upload(world.model(0.0))
        engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    engine.begin_round(1, c.RoundBegin(selected={"a": "all of them"}))
    commit = world.commit(engine, 1, "a", value=value)
    said = {"metrics": {}, "client_metrics": {"loss": of_v0, "accuracy": 0.1}}
    engine.commit(commit.model_copy(update=said))
    end = c.EngineFinish(outcome="completed", client_metrics=metrics, evaluated=evaluated)
    engine.finish(end)
    return world.operator.run(run.id)


@pytest.fixture
def mnist(world: World) -> World:
    """A task with one device and a good V1."""
    world.task()
    world.ready_devices("a")
    _run(world, 1.0, {"loss": 0.5, "accuracy": 0.9})
    return world


def _aliases(world: World) -> dict[int, list[str]]:
    return {m.version: m.aliases for m in world.operator.models("mnist")}


def test_a_version_whose_metric_collapses_is_kept_and_nothing_goes_on_from_it(mnist: World) -> None:
    operator = mnist.operator
    operator.promote_model("mnist", "V1")
    bad = _run(mnist, 9.0, {"loss": 1.01, "accuracy": 0.9})
    why = "its loss is 1.01, more than 2 times the 0.5 of V1"
    assert bad.status is RunStatus.COMPLETED
    assert bad.version == 2
    assert bad.why.startswith(f"completed 1 round; V2 is quarantined: {why}; 'fedops run show 2'")
    assert "fedops model release mnist V2 --because TEXT" in bad.why
    assert operator.model("mnist", "V2").quarantine == why
    assert _aliases(mnist) == {0: [], 1: ["latest", "serving"], 2: []}
    assert operator.task("mnist").latest_version == 1
    assert ("model.quarantined", why) in [(e.name, e.text) for e in operator.events()]
    with pytest.raises(Conflict, match=r"serving cannot be moved: V2 .* is quarantined: its loss"):
        operator.promote_model("mnist", "V2")
    with pytest.raises(Conflict, match="no run starts from it: V2"):
        operator.start_run("mnist", c.RunStart(from_version=2))
    with pytest.raises(Conflict, match="run 2 is not gone on from: V2"):
        operator.extend_run(2, c.RunExtend(rounds=1))
    planned = operator.start_run("mnist", c.RunStart(overrides=["server.gate.ratio=0"]))
    assert planned.plan.endswith("; from V1, as V2 is quarantined; no gate: server.gate.ratio is 0")
    operator.stop_run(planned.id)
    good = _run(mnist, 2.0, {"loss": 0.9, "accuracy": 0.46})
    assert (good.from_version, good.version, good.quarantine) == (1, 3, None)
    assert good.gate == "its loss is 0.9, and 0.5 of V1"
    assert _aliases(mnist) == {0: [], 1: ["serving"], 2: [], 3: ["latest"]}


def test_the_first_version_is_compared_with_the_initial_model(world: World) -> None:
    """V0 has no metrics of its own: what the clients said of it in the first round counts."""
    world.task()
    world.ready_devices("a")
    bad = _run(world, 9.0, {"loss": 5.0}, of_v0=2.3)
    assert bad.quarantine == "its loss is 5, more than 2 times the 2.3 of V0"
    assert world.operator.task("mnist").latest_version is None
    assert _aliases(world) == {0: [], 1: []}
    again = _run(world, 1.0, {"loss": 0.5})
    assert (again.from_version, again.version) == (0, 2)
    assert _aliases(world) == {0: [], 1: [], 2: ["latest"]}


def test_a_run_that_goes_on_from_a_failed_one_is_compared_with_where_that_began(
    world: World,
) -> None:
    world.task(overrides=["num_rounds=2"])
    world.ready_devices("a")
    run, engine = world.running()
    said = {"metrics": {}, "client_metrics": {"loss": 2.3}}
    for number in (1, 2):
        engine.begin_round(number, c.RoundBegin(selected={"a": "all of them"}))
        commit = world.commit(engine, number, "a").model_copy(update=said)
        engine.commit(commit)
        said = {"metrics": {}, "client_metrics": {"loss": 0.1}}
        if number == 1:
            engine.finish(c.EngineFinish(outcome="failed", reason="app_error", text="ouch"))
            run = world.operator.retry_run(run.id)
            _, engine = world.open_attempt(run.id)
            engine.hello(c.EngineHello(pid=1))
    engine.finish(c.EngineFinish(outcome="completed", client_metrics={"loss": 4.0}))
    assert world.operator.run(run.id).gate == "its loss is 4, and 2.3 of V0"


def test_the_task_says_what_its_gate_looks_at(mnist: World) -> None:
    halved = {"loss": 0.5, "accuracy": 0.44}
    assert _run(mnist, 3.0, halved).quarantine is None, "loss comes first, and is as it was"
    by_accuracy = _run(mnist, 4.0, {"accuracy": 0.2}, "server.gate.metric=accuracy")
    assert by_accuracy.quarantine == "its accuracy is 0.2, less than the 0.44 of V2 / 2"
    missing = _run(mnist, 5.0, {"loss": 0.5}, "server.gate.metric=accuracy")
    assert (missing.quarantine or "").startswith("it was evaluated and has no accuracy, which V2")
    off = _run(mnist, 6.0, {"loss": 50.0}, "server.gate.ratio=0")
    assert (off.quarantine, off.gate) == (None, "no gate: server.gate.ratio is 0")


def test_without_a_metric_there_is_no_gate_and_the_run_says_so(mnist: World) -> None:
    run = _run(mnist, 3.0, {}, evaluated=False)
    assert run.quarantine is None, "the clients' word on the model before is none on this one"
    assert run.gate.startswith("no gate: no loss and no accuracy is known of both V1 and it")


def test_by_hand_and_back(mnist: World) -> None:
    operator = mnist.operator
    _run(mnist, 2.0, {"loss": 0.4})
    operator.promote_model("mnist", "V1")
    operator.promote_model("mnist", "V2")
    found = operator.quarantine_model("mnist", "latest", "wrong data")
    assert (found.version, found.quarantine, found.aliases) == (2, "wrong data", ["serving"])
    assert operator.quarantine_model("mnist", "V2", "again").quarantine == "wrong data"
    assert operator.model("mnist", "latest").version == 1
    assert operator.run(2).why.startswith("completed 1 round; V2 is quarantined: wrong data")
    assert operator.rollback_alias("mnist").version == 1
    operator.quarantine_model("mnist", "V1", "wrong data too")
    assert [a.name for a in operator.aliases("mnist")] == ["serving"]
    with pytest.raises(
        NotFound, match="no latest: all versions are quarantined, see 'fedops model"
    ):
        operator.model("mnist", "latest")
    assert operator.start_run("mnist", c.RunStart()).from_version == 0
    assert operator.release_model("mnist", "V2", "it was right").aliases == ["latest"]
    operator.release_model("mnist", "V1", "so was it")
    assert operator.release_model("mnist", "V1", "so was it").aliases == ["serving"]
    for nothing in ("", "  ", "\x1b"):
        with pytest.raises(Invalid, match="because"):
            operator.quarantine_model("mnist", "V1", nothing)
    with pytest.raises(Conflict, match="V0 is the initial model"):
        operator.quarantine_model("mnist", "V0", "no")
    said = [(e.who, e.name, e.text) for e in operator.events() if "V2" in e.subject]
    assert said[-2:] == [
        ("user admin", "model.quarantined", "wrong data"),
        ("user admin", "model.released", "it was right (it was quarantined: wrong data)"),
    ]
    moves = [e.text for e in operator.events() if e.subject == "alias mnist latest"]
    assert moves == [
        "latest is V1",
        "latest is V2, was V1",
        "latest is V1, was V2",
        "there is no latest: V1 is quarantined, and no other version was made",
        "latest is V2",
    ]


def test_no_alias_goes_back_to_a_quarantined_version(mnist: World) -> None:
    operator = mnist.operator
    _run(mnist, 2.0, {"loss": 0.4})
    operator.promote_model("mnist", "V1")
    operator.promote_model("mnist", "V2")
    operator.quarantine_model("mnist", "V1", "wrong data")
    with pytest.raises(Conflict, match=r"serving cannot be rolled back: V1 .* is quarantined"):
        operator.rollback_alias("mnist")
    assert operator.model("mnist", "serving").version == 2


def test_what_starts_from_a_version_that_is_quarantined_meanwhile_is_quarantined_too(
    mnist: World,
) -> None:
    run = mnist.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1"]))
    _, engine = mnist.open_attempt(run.id)
    engine.hello(c.EngineHello(pid=1))
    mnist.operator.quarantine_model("mnist", "V1", "wrong data")
    mnist.do_round(engine, 1, "a", value=2.0)
    engine.finish(c.EngineFinish(outcome="completed"))
    why = "the run started from V1, which is quarantined: wrong data"
    assert mnist.operator.run(run.id).quarantine == why
    assert mnist.operator.task("mnist").latest_version is None
