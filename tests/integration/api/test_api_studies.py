"""Studies over HTTP: one run for each seed, one after another; and runs forecast before they are started."""

from __future__ import annotations

import pytest
from managing import CONTRACT, Engine, World, idle

from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound, RunBusy
from fedops.core.states import RunStatus
from fedops.results.summary import summarise_runs
from fedops.server.runs import attempts

#: Seconds that an FL server takes before its first round.
PREPARING = 2.0


def _open(world: World, run_id: int) -> Engine:
    _, engine = world.open_attempt(run_id)
    engine.hello(c.EngineHello(pid=1, environment={"python": "3.11.9", "torch": "2.7.0"}))
    return engine


def _play(world: World, run_id: int, start: float, accuracy: float) -> None:
    """A whole run of one round, from an initial model of its own."""
    engine = _open(world, run_id)
    world.clock.advance(PREPARING)
    model = engine.upload(world.model(start))
    engine.initial_model(c.ModelInit(model=model.sha256, contract=CONTRACT))
    engine.begin_round(1, c.RoundBegin(selected={"a": "all of them", "b": "all of them"}))
    measured = {"accuracy": accuracy, "loss": 1 - accuracy}
    engine.commit(world.commit(engine, 1, "a", "b").model_copy(update={"metrics": measured}))
    engine.finish(c.EngineFinish(outcome="completed"))
    world.manager.scheduler._continue_studies()


@pytest.fixture
def short(world: World) -> World:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a", "b")
    return world


def test_each_seed_has_a_run_with_an_initial_model_of_its_own(short: World) -> None:
    made = short.operator.start_study("mnist", c.StudyStart(seeds=3))
    assert (made.seeds, made.closed_at, len(made.runs)) == ([7, 8, 9], None, 1)
    for number, accuracy in enumerate((0.5, 0.7, 0.9)):
        newest = short.operator.study(made.id).runs[-1]
        assert (newest.status, newest.seed) == (RunStatus.PENDING, 7 + number)
        assert newest.overrides[-1] == f"random_seed={7 + number}"
        _play(short, newest.id, float(number), accuracy)
    study = short.operator.study(made.id)
    assert [run.status for run in study.runs] == [RunStatus.COMPLETED] * 3
    assert study.text == "all of its runs have begun"
    first, second, third = study.runs
    assert (first.from_version, first.start_model) == (
        0,
        None,
    )  # what it made first is the task's V0
    assert second.from_version is third.from_version is None
    assert len({second.start_model, third.start_model, None}) == 3
    assert first.attempts[0].environment == {"python": "3.11.9", "torch": "2.7.0"}
    summary = summarise_runs([(run, short.operator.rounds(run.id)) for run in study.runs])
    assert summary.notes == []
    accuracy_row = summary.metrics[0]
    assert (accuracy_row.metric, accuracy_row.final.count) == ("accuracy", 3)
    assert accuracy_row.final.mean == pytest.approx(0.7)
    assert accuracy_row.final.std == pytest.approx(0.2)


def test_a_run_with_a_model_of_its_own_goes_on_from_it_in_the_next_attempt(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart())
    _play(short, first.id, 0.0, 0.5)
    run = short.operator.start_run("mnist", c.RunStart(new_model=True))
    engine = _open(short, run.id)
    own = engine.upload(short.model(5.0))
    engine.initial_model(c.ModelInit(model=own.sha256, contract=CONTRACT))
    engine.initial_model(c.ModelInit(model=own.sha256, contract=CONTRACT))  # harmless
    with short.manager.services.db.write() as session:
        (live,) = attempts.live_attempts(session, short.manager.services.settings)
        attempts.mark_lost(session, live.attempt_id, "killed", short.clock())
    _, engine = short.open_attempt(run.id)
    spec = engine.hello(c.EngineHello(pid=2))
    assert spec.model is not None
    assert spec.model.sha256 == own.sha256
    assert spec.contract == CONTRACT


def test_a_study_that_starts_from_a_version_keeps_to_it(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart())
    _play(short, first.id, 0.0, 0.5)
    study = short.operator.start_study("mnist", c.StudyStart(seeds=[4, 2], from_version=0))
    (run,) = study.runs
    engine = _open(short, run.id)
    short.do_round(engine, 1, "a", "b")
    engine.finish(c.EngineFinish(outcome="completed"))
    short.manager.scheduler._continue_studies()
    assert [run.from_version for run in short.operator.study(study.id).runs] == [0, 0]


def test_a_study_ends_when_the_version_that_it_starts_from_is_quarantined(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart())
    _play(short, first.id, 0.0, 0.5)
    study = short.operator.start_study("mnist", c.StudyStart(seeds=[4, 2], from_version=1))
    engine = _open(short, study.runs[0].id)
    short.do_round(engine, 1, "a", "b")
    engine.finish(c.EngineFinish(outcome="completed"))
    short.operator.quarantine_model("mnist", "V1", "a doubt")
    short.manager.scheduler._continue_studies()
    seen = short.operator.study(study.id)
    assert (len(seen.runs), seen.closed_at is None) == (1, False)
    assert seen.text.startswith("its next run cannot begin: ")
    assert "V1 of task 'mnist' is quarantined: a doubt" in seen.text


def test_what_the_task_is_changed_to_meanwhile_changes_no_study(short: World) -> None:
    study = short.operator.start_study("mnist", c.StudyStart(seeds=2))
    short.operator.update_task("mnist", c.TaskUpdate(overrides=["num_rounds=9"]))
    _play(short, study.runs[0].id, 0.0, 0.5)
    assert [run.rounds for run in short.operator.study(study.id).runs] == [1, 1]


def test_stopping_a_run_ends_its_study(short: World) -> None:
    study = short.operator.start_study("mnist", c.StudyStart(seeds=3))
    short.operator.stop_run(study.runs[0].id)
    short.manager.scheduler._continue_studies()
    seen = short.operator.study(study.id)
    assert (len(seen.runs), seen.text) == (1, f"run {study.runs[0].id} was stopped")
    summary = summarise_runs([(run, []) for run in seen.runs], seen.seeds[1:])
    assert (summary.planned, summary.counted, summary.not_begun) == (3, [], [8, 9])


def test_a_failed_run_is_no_reason_to_stop_and_its_retry_takes_its_place(short: World) -> None:
    study = short.operator.start_study("mnist", c.StudyStart(seeds=2))
    engine = _open(short, study.runs[0].id)
    failed = c.EngineFinish.model_validate({"outcome": "failed", "text": "no luck"})
    engine.finish(failed)
    short.manager.scheduler._continue_studies()
    _play(short, short.operator.study(study.id).runs[1].id, 0.0, 0.5)
    retry = short.operator.retry_run(study.runs[0].id)
    assert (retry.study, retry.new_model) == (study.id, True)
    _play(short, retry.id, 1.0, 0.6)
    runs = short.operator.study(study.id).runs
    summary = summarise_runs([(run, short.operator.rounds(run.id)) for run in runs])
    assert [one.run for one in summary.runs] == [runs[1].id, retry.id]
    assert summary.counted == [runs[1].id, retry.id]


def test_a_study_is_stopped_with_the_run_that_goes_on(short: World) -> None:
    study = short.operator.start_study("mnist", c.StudyStart(seeds=3))
    stopped = short.operator.stop_study(study.id)
    assert stopped.text == "stopped by the operator"
    assert [run.status for run in stopped.runs] == [RunStatus.STOPPED]
    assert short.operator.stop_study(study.id).closed_at == stopped.closed_at
    short.manager.scheduler._continue_studies()
    assert len(short.operator.study(study.id).runs) == 1
    assert short.operator.events()[-1].name != "study.closed"  # said once


def test_refused_studies_leave_nothing_behind(short: World) -> None:
    cases: list[tuple[c.StudyStart, type[FedOpsError]]] = [
        (c.StudyStart(seeds=2, from_version=5), NotFound),
        (c.StudyStart(seeds=2, overrides=["nothing=1"]), Invalid),
    ]
    for body, kind in cases:
        with pytest.raises(kind):
            short.operator.start_study("mnist", body)
    short.operator.start_run("mnist", c.RunStart())
    with pytest.raises(RunBusy):
        short.operator.start_study("mnist", c.StudyStart(seeds=2))
    assert short.operator.studies() == []
    with pytest.raises(NotFound, match="no study 77"):
        short.operator.study(77)


# --- whole configs and bundles ---------------------------------------------------------------


def test_a_run_takes_a_config_and_a_bundle_in_place_of_the_tasks(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart(overrides=["learning_rate=0.5"]))
    short.operator.stop_run(first.id)
    body = c.RunStart(config=first.config, bundle=first.bundle)
    again = short.operator.start_run("mnist", body)
    assert (again.config, again.bundle) == (first.config, first.bundle)
    short.operator.stop_run(again.id)
    with pytest.raises(Invalid, match="no app bundle"):
        short.operator.start_run("mnist", c.RunStart(bundle="0" * 64))


def test_a_run_cannot_start_from_a_version_and_a_new_model() -> None:
    with pytest.raises(ValueError, match="not from both"):
        c.RunStart(from_version=1, new_model=True)


# --- forecasts -------------------------------------------------------------------------------


def test_a_forecast_says_what_is_not_known_yet_and_starts_nothing(short: World) -> None:
    found = short.operator.forecast_run("mnist", c.RunStart(overrides=["num_rounds=4"]))
    assert (found.rounds, found.asked, found.seed) == (4, 2, 7)
    assert [(d.device, d.unavailable, d.examples) for d in found.devices] == [
        ("a", None, None),
        ("b", None, None),
    ]
    assert (found.total_bytes, found.round_seconds) == (None, None)
    assert short.operator.runs() == []


def test_a_forecast_knows_what_earlier_runs_have_shown(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart())
    _play(short, first.id, 0.0, 0.5)
    found = short.operator.forecast_run("mnist", c.RunStart(overrides=["num_rounds=4"]))
    assert [(d.examples, d.examples_run) for d in found.devices] == [(100, first.id)] * 2
    assert found.from_version == 1
    assert found.bytes_down is not None
    assert found.bytes_up is not None
    assert found.bytes_a_device == 4 * (found.bytes_down + found.bytes_up) + found.bytes_down
    assert found.total_bytes == 2 * found.bytes_a_device
    assert found.measured_run == first.id
    assert found.round_seconds is not None
    assert found.outside_seconds == PREPARING
    assert found.total_seconds == 4 * found.round_seconds + PREPARING


def test_a_forecast_knows_what_devices_say_of_their_data(short: World) -> None:
    _, device = short.join("c")
    said = idle("mnist")
    process = said.process.model_copy(update={"training_examples": 60})
    device.poll(said.model_copy(update={"process": process}))
    found = short.operator.forecast_run("mnist", c.RunStart())
    assert [(d.device, d.examples, d.examples_run) for d in found.devices] == [
        ("a", None, None),
        ("b", None, None),
        ("c", 60, None),
    ]


def test_a_forecast_refuses_what_a_start_would_refuse(short: World) -> None:
    with pytest.raises(Invalid, match="nothing"):
        short.operator.forecast_run("mnist", c.RunStart(overrides=["nothing=1"]))
    short.operator.start_run("mnist", c.RunStart())
    short.operator.forecast_run("mnist", c.RunStart())  # a task that is busy now can be asked about
    with pytest.raises(Conflict):
        short.operator.start_run("mnist", c.RunStart())


def test_metrics_come_in_pages(short: World) -> None:
    first = short.operator.start_run("mnist", c.RunStart())
    _play(short, first.id, 0.0, 0.5)
    found = short.operator.metrics(first.id)
    assert len(found) > 2
    assert [one.id for one in found] == sorted({one.id for one in found})
