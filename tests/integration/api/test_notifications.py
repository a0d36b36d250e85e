"""What happens is told: found, kept, sent, tried again, given up; once, and beside everything else."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from managing import Device, World, idle, managing
from people import user_token
from receivers import MailReceiver, WebReceiver, mail_receiver, web_receiver
from sqlalchemy import delete, select, update

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import FailureReason, NotificationStatus, Role, RunStatus
from fedops.server.database import tables as t
from fedops.server.events.event_log import Change
from fedops.server.jobs.notification_job import NotificationJob
from fedops.server.notifications import looking, outbox
from fedops.server.runs import transitions

SECRET = "a-signing-secret-of-mine"
DAY = 86_400.0


@dataclass
class Place:
    """A server with a task, its devices and runs; and receivers that begin anew with each test."""

    world: World
    web: WebReceiver
    mail: MailReceiver
    devices: dict[str, Device]

    def __post_init__(self) -> None:
        self.db = self.world.manager.services.db

    def hook(self, name: str = "ops", **more: object) -> c.ChannelRead:
        body = {"name": name, "kind": "webhook", "url": f"{self.web.url}/{name}", **more}
        return self.world.operator.add_channel(c.ChannelCreate.model_validate(body))

    def step(self, job: NotificationJob | None = None) -> None:
        """One look, and wait until what it sends is sent."""
        job = job or self.world.manager.notifications
        job.step()
        job.settle(20)

    def fail(self, why: str = "too few") -> int:
        """A run that fails."""
        run = self.world.operator.start_run("mnist", c.RunStart())
        change = Change("scheduler", why, self.world.clock())
        with self.db.write() as session:
            row = session.get_one(t.RunRow, run.id)
            reason = FailureReason.TOO_FEW_CLIENTS
            transitions.transition_run(session, row, RunStatus.FAILED, change, reason=reason)
        return run.id

    def come(self, *names: str) -> None:
        """These devices call."""
        for name in names:
            self.devices[name].poll(idle())
        self.world.step()

    def messages(self, name: str = "ops") -> list[c.NotificationRead]:
        return self.world.operator.notifications(name)

    def told(self) -> list[dict[str, object]]:
        return [json.loads(call.body) for call in self.web.calls]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("notifications")
    with managing(folder, dashboard=True) as world, web_receiver() as web, mail_receiver() as mail:
        world.task("mnist")
        devices = world.ready_devices("edge-1", "edge-2")
        yield Place(world, web, mail, devices)


@pytest.fixture
def place(server: Place) -> Iterator[Place]:
    server.come(*server.devices)
    yield server
    server.web.awake.set()
    server.world.manager.notifications.settle(20)
    for one in server.world.operator.channels():
        server.world.operator.remove_channel(one.name)
    server.web.calls.clear()
    server.web.answers.clear()
    server.mail.mails.clear()
    server.mail.refuses.clear()


# --- what is told ------------------------------------------------------------------------------


def test_a_run_that_fails_is_told_signed_and_once(place: Place) -> None:
    place.fail("long ago")
    place.hook(secret=SECRET)
    run = place.fail()
    place.step()
    place.step()
    (call,) = place.web.calls
    said = json.loads(call.body)
    assert (said["rule"], said["task"], said["run"], said["test"]) == (
        "run_failed",
        "mnist",
        run,
        False,
    )
    assert said["sentence"].startswith(f"Run {run} of mnist failed (too_few_clients) after round 0")
    assert said["link"] == f"{place.world.manager.services.settings.url}/runs/{run}"
    stamp = call.headers["x-fedops-timestamp"]
    wanted = hmac.new(SECRET.encode(), f"{stamp}.".encode() + call.body, hashlib.sha256).hexdigest()
    assert call.headers["x-fedops-signature"] == f"sha256={wanted}"
    (message,) = place.messages()
    assert (message.status, message.attempts, message.problem) == (NotificationStatus.SENT, 1, "")
    assert call.headers["x-fedops-id"] == said["id"] == message.delivery
    assert place.world.operator.channel("ops").last_at == place.world.clock()


def test_only_what_a_channel_wants_is_told_there(place: Place) -> None:
    place.hook("quiet", rules=["drift"])
    place.hook("off", enabled=False)
    place.fail()
    place.step()
    assert place.web.calls == []
    place.world.operator.change_channel("off", c.ChannelUpdate(enabled=True))
    place.step()
    assert place.web.calls == []  # it happened while the channel was off


def test_a_lost_device_is_told_once_and_when_it_is_back(place: Place) -> None:
    place.hook(lost_minutes=10)
    place.world.clock.advance(500)
    place.come("edge-2")
    place.step()
    assert place.web.calls == []
    place.world.clock.advance(150)
    place.step()
    place.step()
    place.come("edge-1", "edge-2")
    place.step()
    place.step()
    lost, back = place.told()
    assert (lost["device"], lost["resolved"]) == ("edge-1", False)
    assert str(lost["sentence"]).startswith("Device edge-1 is lost: no call for 10 min")
    assert (back["device"], back["resolved"]) == ("edge-1", True)
    assert str(back["sentence"]).startswith("Device edge-1 is online again after 10 min")


def test_what_was_so_before_a_channel_is_not_told_there(place: Place) -> None:
    place.world.clock.advance(7_200)
    place.world.step()
    place.hook(lost_minutes=10)
    place.hook("patient", lost_minutes=180, resolved=False)
    place.step()
    assert place.web.calls == []
    place.world.clock.advance(4_000)
    place.step()
    assert [(call.path, json.loads(call.body)["device"]) for call in place.web.calls] == [
        ("/patient", "edge-1")
    ]
    place.step()
    assert {said["device"] for said in place.told()} == {"edge-1", "edge-2"}
    place.come(*place.devices)
    place.step()
    assert len(place.web.calls) == 2  # it asked for no word when it is over


def test_a_run_that_waits_for_too_long_is_told_with_its_why(place: Place) -> None:
    place.hook(rules=["run_waiting"], waiting_minutes=5)
    _, engine = place.world.running("mnist", "server.round.wait_seconds=100000")
    run = place.world.operator.runs()[0].id
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=2))
    place.world.clock.advance(200)
    place.step()
    assert place.web.calls == []
    place.world.clock.advance(150)
    place.step()
    place.step()
    place.world.operator.stop_run(run)
    engine.finish(c.EngineFinish(outcome="stopped"))
    place.step()
    waits, over = place.told()
    assert f"Run {run} of mnist: waiting for 2 more devices" in str(waits["sentence"])
    assert over["resolved"] is True
    assert f"Run {run} of mnist does not wait any more: stopped" in str(over["sentence"])


def test_versions_rollouts_and_drift_are_told(place: Place) -> None:
    place.hook()
    _, engine = place.world.running("mnist", "num_rounds=1")
    place.world.do_round(engine, 1, "edge-1", "edge-2")
    engine.finish(c.EngineFinish.model_validate({"outcome": "completed"}))
    newest = place.world.operator.models("mnist")[-1].version
    place.world.operator.quarantine_model("mnist", f"V{newest}", "it is poisoned")
    place.step()
    now = place.world.clock()
    schedule = t.ScheduleRow(
        task="mnist", name="nightly", trigger={"kind": "on_drift", "psi": 0.2}, overrides=[],
        devices=[], promotion={}, missed="once", created_at=now, changed_at=now,
        seen={"drift": {"version": 1, "level": 0.31}},
    )  # fmt: skip
    event = t.EventRow(
        at=now, who="operator", subject="task mnist", name="rollout.stopped",
        text="commit 9c01ab: canary: is worse", data={},
    )  # fmt: skip
    with place.db.write() as session:
        session.add_all([schedule, event])
    place.step()
    place.step()
    with place.db.write() as session:
        session.execute(delete(t.ScheduleRow))
    place.step()
    quarantined, *two, over = [said["sentence"] for said in place.told()]
    assert quarantined == f"V{newest} of mnist is quarantined: it is poisoned"
    assert sorted(map(str, two)) == [
        "The data of mnist drift: it is at 0.31",
        "The rollout of commit 9c01ab of mnist was stopped: canary: is worse",
    ]
    assert over == "The drift alarm of mnist is over"


def test_a_storm_is_one_message(place: Place) -> None:
    place.hook(rules=["run_failed"])
    runs = [place.fail() for _ in range(21)]
    place.step()
    (said,) = place.told()
    shown = ", ".join(sorted(map(str, runs))[:3])
    assert said["sentence"] == f"21 runs failed: {shown} and 18 more"


# --- how it is sent ----------------------------------------------------------------------------


def test_what_fails_is_tried_again_later_and_what_is_refused_is_not(place: Place) -> None:
    place.hook(rules=["run_failed"])
    place.web.answer(500, "out of order")
    place.fail()
    place.step()
    place.step()
    (message,) = place.messages()
    assert (message.status, message.attempts) == (NotificationStatus.WAITING, 1)
    assert message.problem == "it answered 500: out of order"
    assert 48 <= message.next_at - place.world.clock() <= 72
    place.web.answer(400, "no\x1b[31m such hook")
    place.world.clock.advance(80)
    place.step()
    (message,) = place.messages()
    assert (message.status, message.attempts) == (NotificationStatus.FAILED, 2)
    assert message.problem == "it answered 400: no such hook"
    assert place.world.operator.channel("ops").last_problem == message.problem
    assert {call.headers["x-fedops-id"] for call in place.web.calls} == {message.delivery}
    events = [e for e in place.world.operator.events() if e.name == "notification.failed"]
    assert events[-1].subject == "notification ops"


def test_a_receiver_that_asks_for_peace_gets_it_and_a_redirect_is_not_followed(
    place: Place,
) -> None:
    place.hook(rules=["run_failed"])
    place.web.answer(429, retry_after="600")
    place.web.answer(302, location=f"{place.web.url}/elsewhere")
    place.fail()
    place.step()
    place.world.clock.advance(300)
    place.step()
    assert len(place.web.calls) == 1
    place.world.clock.advance(301)
    place.step()
    assert [call.path for call in place.web.calls] == ["/ops", "/ops"]
    assert "redirects are not followed" in place.messages()[0].problem


def test_after_a_day_it_is_given_up(place: Place) -> None:
    place.hook(rules=["run_failed"])
    place.fail()
    for _ in range(20):
        place.web.answer(503)
    for _ in range(14):
        place.step()
        place.world.clock.advance(7_200)
    (message,) = place.messages()
    assert message.status is NotificationStatus.FAILED
    assert message.problem.startswith(
        f"given up after {message.attempts} tries in 24 h: it answered"
    )
    assert 8 <= message.attempts <= 13


def test_a_receiver_that_hangs_holds_up_neither_others_nor_a_run(place: Place) -> None:
    place.hook("hangs", rules=["run_failed"])
    with web_receiver() as other:
        url = f"{other.url}/well"
        place.hook("well", url=url, rules=["run_failed"])
        place.web.awake.clear()
        began = time.monotonic()
        place.fail()
        place.world.manager.notifications.step()
        while not other.calls and time.monotonic() - began < 5:
            time.sleep(0.01)
        place.fail()  # the database is free
        place.world.manager.notifications.step()
        while len(other.calls) < 2 and time.monotonic() - began < 5:
            time.sleep(0.01)
        assert len(other.calls) == 2
        assert time.monotonic() - began < 5
        assert len(place.web.calls) == 1


def test_a_receiver_that_hangs_does_not_keep_the_server_from_its_end(place: Place) -> None:
    place.hook("hangs", rules=["run_failed"])
    place.web.awake.clear()
    job = NotificationJob(place.db, place.world.manager.services.settings, clock=place.world.clock)
    place.fail()
    job.step()
    began = time.monotonic()
    job.end()
    job.join(10.0)
    assert time.monotonic() - began < 5.0
    assert [one.status for one in place.messages("hangs")] == [NotificationStatus.SENDING]
    place.web.awake.set()
    job.settle(10.0)
    assert [one.status for one in place.messages("hangs")] == [NotificationStatus.SENT]


def test_two_workers_send_each_message_once(place: Place) -> None:
    services = place.world.manager.services
    jobs = [NotificationJob(place.db, services.settings, clock=place.world.clock) for _ in range(2)]
    place.hook(rules=["run_failed"])
    runs = {place.fail() for _ in range(3)}
    deadline = time.monotonic() + 25

    def work(job: NotificationJob) -> None:
        """Whoever finds the channel busy sends nothing in that step."""
        while len(place.web.calls) < len(runs) and time.monotonic() < deadline:
            place.step(job)
        place.step(job)

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(said["run"] for said in place.told()) == sorted(runs)  # type: ignore[type-var]
    for job in jobs:
        job.end()


def test_what_was_claimed_by_somebody_who_died_is_sent_again_later(place: Place) -> None:
    place.hook(rules=["run_failed"])
    place.fail()
    now, settings = place.world.clock(), place.world.manager.services.settings
    with place.db.write() as session:
        looking.write(session, looking.look(session, settings, now), now)
        (lost,) = outbox.claim(session, outbox.due_messages(session, now, 8), now)
    place.step()
    assert place.web.calls == []
    place.world.clock.advance(outbox.CLAIM_SECONDS + 1)
    place.step()
    (call,) = place.web.calls
    assert call.headers["x-fedops-id"] == lost.delivery
    assert place.messages()[0].attempts == 2
    with place.db.write() as session:  # who died after all does no harm
        assert not outbox.settle(session, lost, outbox.Outcome(False, "late"), now, 0.5)


def test_after_a_restart_nothing_is_told_again(place: Place) -> None:
    place.hook(rules=["run_failed", "device_lost"])
    place.fail()
    place.world.clock.advance(1_000)
    place.world.step()
    for _ in range(3):
        place.step()
    told = len(place.web.calls)
    assert told == 3
    with place.db.write() as session:  # as if the moment of writing the place had been lost
        session.execute(
            update(t.MetaRow).where(t.MetaRow.key.startswith("notif")).values(value="0")
        )
    services = place.world.manager.services
    job = NotificationJob(place.db, services.settings, clock=place.world.clock)
    place.step(job)
    job.end()
    assert len(place.web.calls) == told


# --- e-mail and Slack --------------------------------------------------------------------------


def _mail(place: Place, **more: object) -> c.ChannelCreate:
    server = {
        "host": "127.0.0.1", "port": place.mail.port, "security": "none",
        "sender": "fl@example.org", "to": ["a@example.org", "b@example.org"], **more,
    }  # fmt: skip
    body = {"name": "mail", "kind": "email", "mail": server, "rules": ["run_failed"]}
    return c.ChannelCreate.model_validate(
        body | ({"secret": "the-mail-password"} if "user" in more else {})
    )


def test_mail_is_handed_in_with_link_and_command(place: Place) -> None:
    place.world.operator.add_channel(_mail(place, user="fl"))
    run = place.fail()
    place.step()
    ((sender, to, text),) = place.mail.mails
    assert (sender, to) == ("fl@example.org", ["a@example.org", "b@example.org"])
    assert f"Subject: FedOps: Run {run} of mnist failed" in text
    assert f"/runs/{run}" in text
    assert f"fedops run show {run}" in text
    assert place.mail.signed_in


@pytest.mark.parametrize(
    ("refuses", "status", "problem"),
    [
        ({"MAIL": "451 come later"}, NotificationStatus.WAITING, "it answered 451: come later"),
        ({"RCPT": "550 nobody here"}, NotificationStatus.FAILED, "nobody here"),
        ({"AUTH": "535 wrong password"}, NotificationStatus.FAILED, "it answered 535"),
    ],
)
def test_mail_that_is_refused(
    place: Place, refuses: dict[str, str], status: NotificationStatus, problem: str
) -> None:
    place.world.operator.add_channel(_mail(place, user="fl"))
    place.mail.refuses.update(refuses)
    place.fail()
    place.step()
    (message,) = place.messages("mail")
    assert message.status is status
    assert problem in message.problem


def test_nothing_is_sent_to_a_mail_server_that_cannot_encrypt(place: Place) -> None:
    place.world.operator.add_channel(_mail(place, security="starttls"))
    place.world.operator.test_channel("mail")
    place.step()
    (message,) = place.messages("mail")
    assert message.status is NotificationStatus.FAILED
    assert "STARTTLS" in message.problem
    assert place.mail.mails == []


def test_secrets_are_in_a_file_and_nowhere_else(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    url = f"{place.web.url}/services/T0/not-for-everybody-WXYZ"
    operator, home = place.world.operator, place.world.manager.services.settings.home
    body = {"name": "chat", "kind": "slack", "secret": url, "rules": ["run_failed"]}
    shown = [operator.add_channel(c.ChannelCreate.model_validate(body)).model_dump_json()]
    place.hook(secret=SECRET, rules=["drift"])
    place.web.answer(500, f"what is {url}")
    run = place.fail()
    place.step()
    place.world.clock.advance(100)
    place.step()
    (call,) = [call for call in place.web.calls if call.path.startswith("/services")][-1:]
    assert json.loads(call.body)["text"].startswith(f"FedOps: Run {run} of mnist failed")
    files = list((home / "notifications").iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.read_text() for file in files} == {url, SECRET}
    shown += [one.model_dump_json() for one in operator.channels()]
    shown += [m.model_dump_json() for name in ("chat", "ops") for m in place.messages(name)]
    shown += [event.model_dump_json() for event in operator.events()]
    shown += [record.getMessage() for record in caplog.records]
    kept = [file.read_bytes() for file in home.glob("fedops.db*")]
    for secret in (url, "not-for-everybody", SECRET):
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in data for data in kept)
    with pytest.raises(Invalid) as refused:
        operator.change_channel("chat", c.ChannelUpdate(secret="http://8.8.8.8/not-for-everybody"))
    assert "not-for-everybody" not in refused.value.message
    operator.change_channel("chat", c.ChannelUpdate(secret=f"{url}Q"))
    assert operator.channel("chat").address == "127.0.0.1, …XYZQ"
    operator.remove_channel("ops")
    assert [f.read_text() for f in (home / "notifications").iterdir()] == [f"{url}Q"]


def test_a_secret_that_is_not_in_this_home_is_said(place: Place) -> None:
    place.hook(secret=SECRET)
    for file in (place.world.manager.services.settings.home / "notifications").iterdir():
        file.unlink()
    place.world.operator.test_channel("ops")
    place.step()
    assert "give it again" in place.messages()[0].problem
    place.world.operator.change_channel("ops", c.ChannelUpdate(rules=["drift"]))
    place.world.operator.change_channel("ops", c.ChannelUpdate(secret=SECRET))


# --- who may, and what is refused --------------------------------------------------------------


def test_a_test_is_sent_at_once_although_the_channel_rests(place: Place) -> None:
    place.hook(rules=["run_failed"])
    place.web.answer(500)
    place.fail()
    place.step()
    made = place.world.operator.test_channel("ops")
    place.step()
    assert place.told()[-1]["test"] is True
    newest = place.messages()[0]
    assert (newest.id, newest.status) == (made.id, NotificationStatus.SENT)
    place.web.answer(500)
    place.world.operator.test_channel("ops")
    place.step()
    assert place.messages()[0].status is NotificationStatus.FAILED  # it is not tried again


def test_who_did_what_is_in_the_events(place: Place) -> None:
    place.hook()
    operator = place.world.operator
    operator.change_channel("ops", c.ChannelUpdate(secret=SECRET, resolved=False))
    operator.test_channel("ops")
    place.step()
    operator.remove_channel("ops")
    events = [e for e in operator.events(after=0) if e.subject == "notification ops"][-4:]
    assert [(e.name, e.who) for e in events] == [
        (f"notification.{what}", "user admin")
        for what in ("created", "changed", "tested", "removed")
    ]
    assert events[1].text == "resolved, secret"


def test_what_cannot_be_is_refused(place: Place) -> None:
    place.hook()
    operator = place.world.operator
    with pytest.raises(Conflict):
        place.hook()
    with pytest.raises(NotFound, match="did you mean 'ops'"):
        operator.test_channel("opps")
    with pytest.raises(Invalid):
        operator.change_channel("ops", c.ChannelUpdate(url="http://8.8.8.8/"))
    bearer = {"authorization": f"Bearer {user_token(place.world, Role.OPERATOR)}"}
    with httpx.Client(base_url=f"{place.world.url}/api/v1", headers=bearer) as client:
        assert client.get("/notifications/ops/messages").json() == []
        assert client.post("/notifications/ops/test").status_code == 403
        assert client.delete("/notifications/ops").status_code == 403
    with place.db.read() as session:
        assert session.scalars(select(t.NotificationRow)).all() == []


# --- the pages ---------------------------------------------------------------------------------


@contextmanager
def _browser(place: Place, role: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.world.url, follow_redirects=True) as client:
        data = {"secret": user_token(place.world, role), "next": "/notifications"}
        client.post("/sign-in", data=data)
        yield client


def _form(**more: object) -> dict[str, object]:
    return {
        "rule": ["run_failed", "device_lost"], "waiting_minutes": "10", "lost_minutes": "10",
        "resolved": "yes", **more,
    }  # fmt: skip


def test_an_admin_adds_tests_changes_and_removes_a_channel_on_pages(place: Place) -> None:
    with _browser(place, Role.ADMIN) as admin:
        assert "Nobody is told yet" in admin.get("/notifications").text
        assert 'href="/notifications"' in admin.get("/more").text
        assert 'href="/notifications"' in admin.get("/settings").text
        new = _form(kind="webhook", name="ops", url="http://8.8.8.8/x", secret=SECRET)
        refused = admin.post("/new-notification?kind=webhook", data=new)
        assert refused.status_code == 422
        assert "use https://" in refused.text
        assert 'value="http://8.8.8.8/x"' in refused.text
        assert SECRET not in refused.text
        assert refused.text.count(" checked") == 3  # what was ticked stays ticked
        new["url"] = f"{place.web.url}/ops"
        added = admin.post("/new-notification?kind=webhook", data=new)
        assert "Channel ops is added. Send it a test." in added.text
        assert "a run failed; a device is lost (10 min); and when it is over" in added.text
        place.web.answer(404, "no <b>such</b> hook")
        assert "A test is on its way" in admin.post("/notifications/ops/test").text
        place.step()
        shown = admin.get("/notifications/ops").text
        assert "it answered 404: no &lt;b&gt;such&lt;/b&gt; hook" in shown
        assert "The last message failed" in shown
        assert "it answered 404" in admin.get("/notifications").text
        change = _form(kind="webhook", url=f"{place.web.url}/other", enabled="no", secret="")
        assert (
            "off: it is told nothing" in admin.post("/notifications/ops/change", data=change).text
        )
        read = place.world.operator.channel("ops")
        assert (read.address, read.has_secret) == (f"{place.web.url}/other", True)
        assert "are removed with it" in admin.get("/notifications/ops/remove").text
        assert "Channel ops is removed." in admin.post("/notifications/ops/remove").text
        assert admin.get("/notifications/ops").status_code == 404


def test_the_other_kinds_have_forms_too(place: Place) -> None:
    url = f"{place.web.url}/T0/not-for-everybody"
    with _browser(place, Role.ADMIN) as admin:
        assert 'name="host"' in admin.get("/new-notification?kind=email").text
        mail = _form(
            kind="email", name="mail", to="a@b.example c@b.example", sender="fl@b.example",
            host="127.0.0.1", port=str(place.mail.port), security="none", user="", secret="",
        )  # fmt: skip
        assert "a@b.example, c@b.example" in admin.post("/new-notification", data=mail).text
        wrong = {**mail, "name": "other", "sender": "nobody"}
        assert 'name="host"' in admin.post("/new-notification", data=wrong).text
        same = {**mail, "lost_minutes": "30", "enabled": "yes"}
        assert "(30 min)" in admin.post("/notifications/mail/change", data=same).text
        chat = _form(kind="slack", name="chat", secret=url)
        shown = admin.post("/new-notification", data=chat).text
        assert "127.0.0.1, …body" in shown
        assert "not-for-everybody" not in shown
        same = _form(kind="slack", secret="", enabled="yes")
        assert (
            "Channel chat is changed." in admin.post("/notifications/chat/change", data=same).text
        )


@pytest.mark.parametrize(
    ("role", "status"), [(Role.VIEWER, 403), (Role.OPERATOR, 200), (Role.AUDITOR, 200)]
)
def test_who_sees_channels_and_that_only_an_admin_changes_them(
    place: Place, role: Role, status: int
) -> None:
    place.hook()
    with _browser(place, role) as client:
        for where in ("/notifications", "/notifications/ops"):
            answer = client.get(where)
            assert answer.status_code == status
            assert "Send a test" not in answer.text
            assert "new-notification" not in answer.text
        for path in ("/notifications/ops/test", "/notifications/ops/remove", "/new-notification"):
            assert client.post(path, data=_form()).status_code == 403
