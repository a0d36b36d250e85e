"""Models, contribution and explanations as pages: what they say, what they do, and to whom."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.dashboard.pages.models.explanations import threshold

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture of local data"
SHEET = "event-explanation_picture-2"
NAMES = ("pi", "jetson")
PLAN = c.ScoringPlan(method="shapley", evaluations=4, examples=100)


def _scores(round_: int) -> c.RoundScores:
    replay = c.IntegrityFinding(kind="replay", evidence="it is <i>the last change</i>")
    value = {"pi": 0.5, "jetson": -0.1}
    return c.RoundScores(
        round=round_,
        method="shapley",
        basis={"data set": "MNIST"},
        scores=[c.ClientScore(device=d, value=v, value_error=0.01) for d, v in value.items()],
        standings=[
            c.ClientStanding(device="pi", value=round_ * 0.5, rounds=round_, integrity=-0.2),
            c.ClientStanding(
                device="jetson", value=-0.1, rounds=round_, integrity=-5.0, findings=[replay]
            ),
        ],
        history={"last_round": round_},
    )


def _play(world: World) -> None:
    """Two versions of a task, the second by a run with scores and explanations."""
    world.task(overrides=["num_rounds=2"])
    device = world.ready_devices(*NAMES)["pi"]
    for number in (1, 2):
        run, engine = world.running()
        for round_ in (1, 2):
            chosen = c.SelectionDecision(device="pi", chosen=True, reason="score 2", score=2.0)
            begin = c.RoundBegin(selected=dict.fromkeys(NAMES, "both"), decisions=[chosen])
            engine.begin_round(round_, begin)
            commit = world.commit(engine, round_, *NAMES, value=float(number + round_))
            engine.commit(commit.model_copy(update={"scoring": PLAN}))
            engine.scores(_scores(round_))
        if number == 2:
            device.records(c.RecordBatch(records=_records(run.id)))
        engine.finish(c.EngineFinish(outcome="completed"))


def _records(run_id: int) -> list[c.DeviceRecord]:
    metric, event = c.RecordKind.METRIC, c.RecordKind.EVENT
    drift = "xai/local_over_rounds/layercam/worst"
    encoded = {"png": base64.b64encode(PNG).decode()}

    def one(id_: str, kind: c.RecordKind, number: int, name: str, **more: object) -> c.DeviceRecord:
        given = {"id": id_, "kind": kind, "run_id": run_id, "round": number, "name": name, **more}
        return c.DeviceRecord.model_validate(given)

    return [
        one("metric-worst-1", metric, 1, drift, value=0.1),
        one("metric-worst-2", metric, 2, drift, value=0.4),
        one("event-drift-2", event, 2, "explanation_drift", text="it looks <b>elsewhere"),
        one(SHEET, event, 2, "explanation_picture", text="sheet.png", data=encoded),
    ]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server whose task has V0 to V2."""
    with managing(tmp_path_factory.mktemp("models"), dashboard=True) as world:
        with _signed_in(world) as browser:
            for path in ("/models", "/contribution", "/explanations"):
                assert "fedops run start" in browser.get(path).text  # what to do first
        _play(world)
        yield world


@contextmanager
def _signed_in(world: World, role: Role = Role.OPERATOR) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True, timeout=30.0) as browser:
        browser.post("/sign-in", data={"secret": user_token(world, role)})
        yield browser


@pytest.fixture
def browser(played: World) -> Iterator[httpx.Client]:
    with _signed_in(played) as found:
        yield found


def test_versions_are_listed_newest_first_and_two_are_compared(browser: httpx.Client) -> None:
    text = browser.get("/models?task=mnist").text
    places = [text.index(f'href="/tasks/mnist/models/V{number}"') for number in (2, 1, 0)]
    assert places == sorted(places)
    two = {"version": ["mnist/V2", "mnist/V1"]}
    shown = browser.get("/models/compare", params=two)
    assert shown.url.path == "/tasks/mnist/models/V1/compare/V2"
    assert "Client by client" in shown.text
    assert "pi" in shown.text
    alone = browser.get("/models/compare", params={"version": "mnist/V1"})
    assert alone.status_code == 422
    assert "two versions of one task are compared" in alone.text


def test_a_version_is_promoted_rolled_back_and_quarantined(browser: httpx.Client) -> None:
    first, second = "/tasks/mnist/models/V1", "/tasks/mnist/models/V2"
    wrong = browser.post(f"{first}/promote", data={"alias": "Not One"})
    assert wrong.status_code == 422
    assert 'value="Not One"' in wrong.text  # what was typed is kept
    for path in (first, second):
        browser.post(f"{path}/promote", data={"alias": "serving"})
    assert "It is the version that is serving." in browser.get(second).text
    gone_back = browser.post("/tasks/mnist/aliases/serving/rollback")
    assert "serving of mnist is V1 again." in gone_back.text
    assert browser.post(f"{second}/quarantine", data={"because": " . "}).status_code == 422
    browser.post(f"{second}/quarantine", data={"because": "it is <b>bad"})
    page = browser.get(second).text
    assert "it is &lt;b&gt;bad" in page
    assert "Release V2" in page
    browser.post(f"{second}/release", data={"because": "it was a mistake"})
    assert "Quarantine V2" in browser.get(second).text
    assert "it is what it was when it was made" in browser.post(f"{second}/verify").text


def test_a_model_is_downloaded_but_by_no_auditor(played: World, browser: httpx.Client) -> None:
    answer = browser.get("/tasks/mnist/models/V2/file")
    assert 'filename="mnist-V2.safetensors"' in answer.headers["content-disposition"]
    assert len(answer.content) == played.operator.model("mnist", "V2").size
    with _signed_in(played, Role.AUDITOR) as auditor:
        assert auditor.get("/tasks/mnist/models/V2/file").status_code == 403
        assert auditor.get(f"/runs/2/explanations/pi/{SHEET}").status_code == 403
        page = auditor.get("/tasks/mnist/models/V2").text
        assert "/file" not in page
        assert "Promote" not in page
        assert "Your role does not see pictures" in auditor.get("/explanations").text


def test_contribution_says_who_is_flagged_and_why(browser: httpx.Client) -> None:
    text = html.unescape(browser.get("/contribution?task=mnist").text)
    assert "1 is flagged: jetson (replay)" in text
    assert "it is &lt;i&gt;the last change" in browser.get("/contribution").text
    assert "Whom round 2 chose" in text
    assert "score 2" in text
    assert 'circle class="now"' in text or '"tone":"now"' in text
    assert 'title="pi"' not in _between(browser.get("/contribution?q=jet").text, "<h2>Clients")
    assert browser.get("/contribution?run=77").status_code == 404


def test_explanations_show_pictures_alarms_and_drift(browser: httpx.Client) -> None:
    text = browser.get("/explanations").text
    assert f'src="/runs/2/explanations/pi/{SHEET}"' in text
    assert "it looks &lt;b&gt;elsewhere" in text

    assert "<polyline" in text
    picture = browser.get(f"/runs/2/explanations/pi/{SHEET}")
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")
    assert browser.get(f"/explanations?device=pi&picture={SHEET}").status_code == 200
    assert browser.get("/explanations?device=pi&picture=another-one").status_code == 404
    assert "The pictures stay on the device" in browser.get("/explanations?round=1").text


def test_who_is_limited_to_other_tasks_is_told_of_nothing(played: World) -> None:
    secret = user_token(played, Role.VIEWER, ["another"])
    with httpx.Client(base_url=played.url, follow_redirects=True) as browser:
        browser.post("/sign-in", data={"secret": secret})
        for path in ("/models", "/contribution", "/explanations"):
            text = browser.get(path).text
            assert "/tasks/mnist" not in text
            assert "/runs/" not in text
            assert "jetson" not in text
        for path in ("/contribution?run=2", "/explanations?run=2", "/tasks/mnist/models/V1"):
            assert browser.get(path).status_code == 404


def test_the_threshold_of_drift_needs_a_usual_course() -> None:
    assert threshold([0.1, None, 0.3, 0.2]) == [None, None, None, pytest.approx(0.4)]


def _between(text: str, begin: str) -> str:
    return text[text.index(begin) :].partition("</section>")[0]
