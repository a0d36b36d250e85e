"""Rollouts with devices that deploy by the real API: canary, waves, stops, who is away, windows, runs."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from commits_by_hand import app_of, commit_of, sound_commit, source
from light_device import LightDevice, go_on, light_devices
from managing import CONTRACT, World, idle

from fedops.core import contracts as c
from fedops.core.contracts.assignments import PROTOCOL, PROTOCOL_HEADER
from fedops.core.errors import Conflict, NotFound
from fedops.core.states import CommitStatus, DeploymentHealth, RolloutStatus
from fedops.server.database.tables import SourceRow
from fedops.server.delivery.repositories.found import Found
from fedops.server.delivery.sources import task_sources
from fedops.testing.light_deployments import Fate

R, H = RolloutStatus, DeploymentHealth
B, C, D = map(commit_of, "bcd")


def bad_c(commit: str) -> Fate:
    return "bad" if commit == C else "good"


def begun(world: World, *names: str, **policy: object) -> dict[str, LightDevice]:
    """A task whose commit B every device runs."""
    ref = sound_app(world)
    world.operator.create_task(c.TaskCreate(name="mnist", bundle=ref))
    source(world, judged_seconds=0.0)
    sound_commit(world, "b", ref)
    devices = light_devices(world, *names)
    for _ in range(3):
        go_on(world, devices)
    source(world, **policy)
    assert delivery(world).rollout.status is R.HOLDING
    assert {device.active for device in devices.values()} == {B}
    return devices


def sound_app(world: World) -> str:
    return world.upload(app_of("b")).sha256


def delivery(world: World) -> c.DeliveryRead:
    return world.operator.delivery("mnist")


def decide(world: World, what: str, because: str = "") -> c.DeliveryRead:
    body = c.RolloutDecision.model_validate({"decision": what, "because": because})
    return world.operator.decide_rollout("mnist", body)


def actual(world: World) -> dict[str, str | None]:
    return {one.device: one.actual and one.actual[0] for one in delivery(world).deployments}


def events(world: World) -> list[str]:
    return [one.name for one in world.operator.events() if one.subject == "task mnist"]


def test_the_first_wave_may_be_those_with_a_tag(world: World) -> None:
    devices = begun(world, "a", "b", "c", canary="tag:ward")
    sound_commit(world, "c")
    go_on(world, devices)
    assert actual(world) == dict.fromkeys("abc", "b")
    assert "no device with tag 'ward'" in delivery(world).rollout.why
    for name in ("b", "c"):
        world.operator.tag_device(name, c.DeviceTags(tags=["ward"]))
    go_on(world, devices)
    assert actual(world) == {"a": "b", "b": "c", "c": "c"}


def test_a_new_commit_reaches_the_canary_first_and_then_everybody(world: World) -> None:
    devices = begun(world, "a", "b", "c")
    sound_commit(world, "c")
    go_on(world, devices)
    assert actual(world) == {"a": "c", "b": "b", "c": "b"}
    found = delivery(world)
    assert found.rollout.why == "wave 1 is well, and is watched for 10 s more"
    assert (found.runs_use, found.rollout.previous, found.rollout.wave) == (B, B, 1)
    assert found.deployments[1].why.endswith("commit ccccccc comes with a later wave")
    go_on(world, devices, 5.0)
    assert actual(world)["b"] == "b", "it is judged over time"
    go_on(world, devices, 6.0)
    assert actual(world) == {"a": "c", "b": "c", "c": "c"}
    go_on(world, devices, 11.0)
    found = delivery(world)
    assert (found.rollout.status, found.runs_use) == (R.HOLDING, C)
    assert world.operator.task("mnist").bundle == found.commits[0].bundle
    assert {(one.synced, one.health) for one in found.deployments} == {(True, H.HEALTHY)}
    assert {"rollout.pending", "rollout.wave", "rollout.holding", "deployment.active"} <= set(
        events(world)
    )


def test_a_bad_commit_stops_at_the_canary_and_is_not_tried_again_by_itself(world: World) -> None:
    devices = begun(world, "a", "b", "c")
    for device in devices.values():
        device.deployment.fate = bad_c
    sound_commit(world, "c")
    for _ in range(4):
        go_on(world, devices, 10.0)
    found = delivery(world)
    assert (found.rollout.status, found.rollout.commit, found.runs_use) == (R.STOPPED, C, B)
    assert found.rollout.why.startswith("a: ModuleNotFoundError: no module 'x'; devices go back to")
    assert actual(world) == dict.fromkeys("abc", "b")
    assert {one.synced for one in found.deployments} == {True}
    assert [C in str(d.deployment._tried) for d in devices.values()] == [True, False, False]
    assert len(world.operator.rollouts("mnist")) == 2
    with pytest.raises(Conflict, match=r"was rolled out and stopped: a: ModuleNotFound.*--again"):
        world.operator.start_rollout("mnist", c.RolloutStart())
    devices["a"].deployment.fate = lambda _: "good"
    again = world.operator.start_rollout("mnist", c.RolloutStart(commit=C, again=True))
    assert again.status is R.PENDING
    go_on(world, devices)
    assert (devices["a"].active, devices["a"].deployment.wanted["attempt"]) == (C, 2)


def test_another_policy_is_another_automatic_attempt(world: World) -> None:
    devices = begun(world, "a", "b")
    devices["a"].deployment.fate = bad_c
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices)
    assert delivery(world).rollout.status is R.STOPPED
    source(world, judged_seconds=0.0)
    devices["a"].deployment.fate = lambda _: "good"
    go_on(world, devices)
    assert devices["a"].active == C


def test_who_is_away_converges_when_it_is_back_and_is_no_failure(world: World) -> None:
    devices = begun(world, "a", "b", "c", "d")
    away = {name: devices.pop(name) for name in "cd"}
    world.clock.advance(60.0)
    sound_commit(world, "c")
    for _ in range(4):
        go_on(world, devices, 10.0)
    found = delivery(world)
    assert found.rollout.status is R.HOLDING
    assert actual(world) == {"a": "c", "b": "c", "c": "b", "d": "b"}
    late = found.deployments[2]
    assert (late.health, late.synced, late.desired) == (H.WAITING, False, C)
    assert "it converges when it is back" in late.why
    go_on(world, away)
    assert actual(world) == dict.fromkeys("abcd", "c")


def test_a_new_device_is_no_canary_by_accident(world: World) -> None:
    devices = begun(world, "b", "c", approval="canary")
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices, 11.0)
    assert delivery(world).rollout.status is R.PAUSED
    devices |= light_devices(world, "a")
    go_on(world, devices)
    assert devices["a"].active == B, "it gets what was good last"
    decide(world, "approve")
    go_on(world, devices)
    go_on(world, devices, 11.0)
    assert delivery(world).rollout.status is R.HOLDING
    devices |= light_devices(world, "e")
    go_on(world, devices)
    assert devices["e"].active == C


def test_a_stalled_canary_waits_for_a_person_and_others_do_not_wait_for_a_stalled_one(
    world: World,
) -> None:
    devices = begun(world, "a", "b", "c", "d")
    devices["a"].deployment.fate = lambda commit: "stalled" if commit == C else "good"
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices, 11.0)
    found = delivery(world)
    assert found.rollout.status is R.PAUSED
    assert found.rollout.why.startswith("wave 1 will not get on by itself: a (its disk is full)")
    assert "'fedops task approve mnist'" in found.rollout.why
    stalled = found.deployments[0]
    assert (stalled.health, stalled.actual) == (H.STALLED, B)
    assert stalled.why.endswith("it stays on commit bbbbbbb until that is mended there")
    decide(world, "approve", "its owner cleans up")
    go_on(world, devices)
    go_on(world, devices, 11.0)
    assert delivery(world).rollout.status is R.HOLDING
    assert actual(world) == {"a": "b", "b": "c", "c": "c", "d": "c"}


def test_a_canary_that_gets_nowhere_waits_for_a_person(world: World) -> None:
    devices = begun(world, "a", "b", wave_seconds=30.0)
    devices["a"].deployment.fate = lambda commit: "slow" if commit == C else "good"
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices, 29.0)
    assert delivery(world).rollout.status is R.WAVING
    go_on(world, devices, 2.0)
    assert delivery(world).rollout.status is R.PAUSED
    decide(world, "resume")
    go_on(world, devices, 5.0)
    assert delivery(world).rollout.status is R.WAVING
    assert actual(world)["b"] == "b"
    found = decide(world, "stop", "no patience")
    assert (found.rollout.status, found.rollout.why.split(";")[0]) == (
        R.STOPPED,
        "stopped by a person: no patience",
    )
    go_on(world, devices)
    assert {one.desired for one in delivery(world).deployments} == {B}


def test_a_metric_that_is_worse_under_the_new_code_is_a_bad_end(world: World) -> None:
    devices = begun(world, "a", "b", metric="accuracy", may_lose=0.05)
    devices["a"].deployment.says = lambda _: {
        "before": {"accuracy": 0.9},
        "metrics": {"accuracy": 0.8},
    }
    sound_commit(world, "c")
    go_on(world, devices)
    assert devices["a"].deployment.wanted["metric"] == "accuracy"
    go_on(world, devices)
    found = delivery(world)
    assert found.rollout.status is R.STOPPED
    assert "accuracy 0.8 under it, and 0.9 under the code before" in found.rollout.why
    assert actual(world) == {"a": "b", "b": "b"}


def test_a_training_client_that_is_given_up_afterwards_is_a_bad_end(world: World) -> None:
    devices = begun(world, "a", "b")
    sound_commit(world, "c")
    go_on(world, devices)
    devices["a"].process = c.ProcessReport(status="fatal", reason="it died 5 times")
    go_on(world, devices, 5.0)
    found = delivery(world)
    assert found.rollout.status is R.STOPPED
    assert "its training client was given up: it died 5 times" in found.rollout.why


def test_a_roll_back_returns_every_device_and_the_runs(world: World) -> None:
    devices = begun(world, "a", "b")
    before = world.operator.task("mnist")
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert world.operator.task("mnist").bundle != before.bundle
    with pytest.raises(Conflict, match="'fedops task roll-back mnist' takes it back"):
        decide(world, "stop")
    decide(world, "roll_back", "too slow")
    after = world.operator.task("mnist")
    assert (after.bundle, after.config) == (before.bundle, before.config)
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert actual(world) == {"a": "b", "b": "b"}
    assert (delivery(world).rollout.status, delivery(world).runs_use) == (R.STOPPED, B)
    new = light_devices(world, "n")
    go_on(world, new)
    assert new["n"].active == B


def test_a_newer_commit_supersedes_one_that_is_on_its_way(world: World) -> None:
    devices = begun(world, "a", "b", "c")
    sound_commit(world, "c")
    go_on(world, devices)
    assert actual(world)["a"] == "c"
    sound_commit(world, "d")
    go_on(world, devices)
    assert actual(world) == {"a": "d", "b": "b", "c": "b"}, "who has the unproven one comes first"
    assert [one.status for one in world.operator.rollouts("mnist")][:2] == [R.WAVING, R.SUPERSEDED]
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert actual(world) == dict.fromkeys("abc", "d")
    assert delivery(world).rollout.previous == B


def source_names(world: World, commit: str) -> None:
    """A look at the source finds this commit at its ref."""
    world.clock.advance(60.0)
    now = world.clock()
    with world.manager.services.db.write() as session:
        row = session.get_one(SourceRow, "mnist")
        as_set = (row.task, row.url, row.ref, row.subfolder, row.poll_seconds)
        due = task_sources.DueSource(*as_set, row.commit, row.changed_at)
        task_sources.record_look(session, due, Found(commit, rewritten=True), now, now)


def test_devices_follow_a_ref_that_goes_back_to_a_commit_that_was_good(world: World) -> None:
    devices = begun(world, "a", "b")
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert actual(world) == {"a": "c", "b": "c"}
    source_names(world, B)
    assert world.operator.start_rollout("mnist", c.RolloutStart()).commit == B
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert actual(world) == {"a": "b", "b": "b"}
    assert (delivery(world).runs_use, delivery(world).rollout.previous) == (B, C)
    source_names(world, C)
    go_on(world, devices)
    assert (delivery(world).rollout.commit, devices["a"].active) == (C, C), "nobody has to ask"


def test_who_rolls_out_an_older_commit_keeps_it(world: World) -> None:
    devices = begun(world, "a")
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices, 11.0)
    world.operator.start_rollout("mnist", c.RolloutStart(commit=B))
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert delivery(world).rollout.commit == B


def test_a_commit_of_the_source_before_is_not_rolled_out_by_itself(world: World) -> None:
    devices = begun(world, "a")
    devices["a"].deployment.fate = bad_c
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert delivery(world).rollout.status is R.STOPPED
    policy = c.RolloutPolicy(judged_seconds=0.0)
    world.operator.set_source("mnist", c.SourceSet(url="https://example.org/x.git", policy=policy))
    go_on(world, devices)
    assert len(world.operator.rollouts("mnist")) == 2


def test_a_task_whose_policy_cannot_be_read_stops_no_other(world: World) -> None:
    devices = begun(world, "a")
    app = world.operator.task("mnist").bundle
    world.operator.create_task(c.TaskCreate(name="another", bundle=app))
    source(world, task="another")
    with world.manager.services.db.write() as session:
        session.get_one(SourceRow, "another").policy = {"canary": "a few"}
    sound_commit(world, "d", app, task="another")
    sound_commit(world, "c")
    go_on(world, devices)
    assert devices["a"].active == C


def test_pinned_nothing_newer_comes_by_itself(world: World) -> None:
    devices = begun(world, "a", "b")
    world.operator.start_rollout("mnist", c.RolloutStart(commit=B, pin=True))
    sound_commit(world, "c")
    go_on(world, devices, 11.0)
    assert (delivery(world).source.pinned, actual(world)) == (B, {"a": "b", "b": "b"})
    decide(world, "unpin")
    go_on(world, devices)
    assert actual(world)["a"] == "c"


def test_outside_of_the_windows_devices_prepare_and_do_not_switch(world: World) -> None:
    world.clock.now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
    night = {"allow": [{"cron": "0 22 * * *", "minutes": 120}], "zone": "UTC"}
    devices = begun(world, "a", "b")
    source(world, windows=night, wave_seconds=60.0)
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices, 3_600.0)
    found = delivery(world)
    assert found.rollout.status is R.WAVING, "the time of the wave does not count"
    assert "until 2026-03-02 22:00 UTC" in found.deployments[0].why
    assert devices["a"].deployment.report["status"] == "waiting"
    assert actual(world)["a"] == "b"
    world.clock.now = datetime(2026, 3, 2, 22, 0, 1, tzinfo=UTC).timestamp()
    go_on(world, devices)
    go_on(world, devices)
    assert actual(world)["a"] == "c"


def test_a_run_finishes_on_its_old_commit_and_the_next_one_starts_on_the_new(world: World) -> None:
    devices = begun(world, "a", "b", wave_seconds=60.0)
    run, engine = world.running()
    sound_commit(world, "c")
    go_on(world, devices)
    go_on(world, devices, 3_600.0)
    held = devices["a"].deployment.wanted
    assert held["hold"] == f"run {run.id} goes on with commit bbbbbbb"
    assert (held["commit"], actual(world)["a"]) == (C, "b")
    assert delivery(world).rollout.status is R.WAVING
    found = {one.device: one.unavailable for one in engine.candidates().candidates}
    assert found == {"a": None, "b": None}, "they run what the run uses"
    world.operator.stop_run(run.id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    for _ in range(3):
        go_on(world, devices, 11.0)
    assert actual(world) == {"a": "c", "b": "c"}
    next_run, _ = world.running()
    assert world.operator.task("mnist").bundle == delivery(world).commits[0].bundle
    assert next_run.id > run.id


def test_a_device_of_another_commit_is_not_invited(world: World) -> None:
    devices = begun(world, "a", "b")
    away = devices.pop("b")
    world.clock.advance(60.0)
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices, 11.0)
    world.join("plain")[1].poll(idle())
    run, engine = world.running()
    away.process = idle().process
    away.device.poll(
        c.WorkPoll(
            tasks=["mnist"],
            process=away.process,
            deployments=[c.DeploymentReport.model_validate(away.deployment.report)],
        )
    )
    found = {one.device: one.unavailable for one in engine.candidates().candidates}
    assert found["a"] is None
    assert found["plain"] is None, "who was given its folder is invited as before"
    said = "runs commit bbbbbbb, the run uses ccccccc; it switches by itself"
    assert (found["b"] or "").startswith(said)
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=3))
    assert said in world.operator.run(run.id).why
    go_on(world, {"b": away})
    found = {one.device: one.unavailable for one in engine.candidates().candidates}
    assert found["b"] is None


def test_a_folder_of_its_owner_is_compared_and_never_changed(world: World) -> None:
    devices = begun(world, "a")
    _, local = world.join("local")
    report = {"task": "mnist", "local": True, "active": D, "commit": D, "status": "active"}

    def say(**changed: object) -> c.Work:
        said = c.DeploymentReport.model_validate({**report, **changed})
        return local.poll(c.WorkPoll(tasks=["mnist"], process=idle().process, deployments=[said]))

    say(fingerprint=CONTRACT.fingerprint)
    go_on(world, devices)
    assert say(fingerprint=CONTRACT.fingerprint).deployments == []
    assert delivery(world).deployments[1].local
    _, engine = world.running()
    assert [one.unavailable for one in engine.candidates().candidates] == [None, None]
    say(fingerprint="0" * 64)
    found = engine.candidates().candidates[1].unavailable or ""
    assert "another parameter contract" in found


def test_the_files_of_its_deployment_and_no_others_may_be_read(world: World) -> None:
    devices = begun(world, "a", "b")
    sound_commit(world, "c")
    go_on(world, devices)
    bundles = {one.commit: one.bundle for one in delivery(world).commits}
    answers = {name: _fetched(world, device, bundles[C]) for name, device in devices.items()}
    assert answers["a"].status_code == 200
    assert answers["a"].content == world.manager.services.artifacts.path(bundles[C]).read_bytes()
    assert answers["b"].status_code == 404
    assert "nothing that it is to run" in answers["b"].text
    assert _fetched(world, devices["b"], bundles[B]).status_code == 200


def _fetched(world: World, device: LightDevice, digest: str | None) -> httpx.Response:
    headers = {"authorization": f"Bearer {device.device.token}", PROTOCOL_HEADER: str(PROTOCOL)}
    return httpx.get(f"{world.url}/api/v1/blobs/{digest}", headers=headers, trust_env=False)


def test_what_cannot_be_rolled_out_is_said(world: World) -> None:
    begun(world, "a")
    sound_commit(world, "d", status=CommitStatus.REFUSED, reason="conf/config.toml: no such key")
    with pytest.raises(Conflict, match=r"commit ddddddd is refused: conf/config.toml: no such key"):
        world.operator.start_rollout("mnist", c.RolloutStart(commit=D))
    with pytest.raises(NotFound, match="has no commit eeeeeee; 'fedops task commits mnist'"):
        world.operator.start_rollout("mnist", c.RolloutStart(commit="e" * 40))
    with pytest.raises(Conflict, match="only one that is paused can be resumed"):
        decide(world, "resume")
    with pytest.raises(Conflict, match="nothing to roll task 'mnist' back to"):
        decide(world, "roll_back")


def test_overrides_that_do_not_fit_the_new_commit_pause_it_with_the_reason(world: World) -> None:
    devices = begun(world, "a")
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["dataset.partition.of=3"]))
    other = app_of("c", **{"dataset.partition.index": 5, "dataset.partition.of": 10})
    sound_commit(world, "c", world.upload(other).sha256)
    for _ in range(3):
        go_on(world, devices, 11.0)
    found = delivery(world)
    assert (found.rollout.status, found.runs_use) == (R.PAUSED, B)
    assert "the overrides of task 'mnist' do not fit commit ccccccc" in found.rollout.why


def test_a_restart_of_the_server_changes_nothing(world: World) -> None:
    devices = begun(world, "a", "b")
    sound_commit(world, "c")
    go_on(world, devices)
    devices["a"].poll()
    wanted = devices["a"].poll().deployments
    world.manager.services.wanted._known.clear()
    assert devices["a"].poll().deployments == wanted
    told = [one.name for one in world.operator.events() if one.name == "rollout.wave"]
    for _ in range(3):
        world.manager.rollouts.step()
    assert told == [one.name for one in world.operator.events() if one.name == "rollout.wave"]
