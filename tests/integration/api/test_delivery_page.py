"""The page of delivery, and its forms, as a browser without scripts gets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from commits_by_hand import app_of, commit_of, sound_commit, source
from light_device import LightDevice, go_on, light_devices
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import CommitStatus, Role, RolloutStatus
from fedops.server.dashboard.pages.delivery.convergence import Kind, groups_of, trouble_first

B, C = map(commit_of, "bc")
MNIST = "/delivery?task=mnist"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three devices run commit B; C has been given to the first of them, and a person is asked."""
    with managing(tmp_path_factory.mktemp("delivery"), dashboard=True) as made:
        delivering(made)
        yield made


def delivering(world: World) -> dict[str, LightDevice]:
    ref = world.upload(app_of("b")).sha256
    world.operator.create_task(c.TaskCreate(name="mnist", bundle=ref))
    source(world, judged_seconds=0.0)
    sound_commit(world, "b", ref)
    devices = light_devices(world, "pi-a", "pi-b", "pi-c")
    for _ in range(3):
        go_on(world, devices)
    source(world, judged_seconds=0.0, approval="canary")
    refused = "tests fail: <b>1</b> of 3"
    sound_commit(world, "d", status=CommitStatus.REFUSED, reason=refused)
    sound_commit(world, "c")
    for _ in range(3):
        go_on(world, devices)
    world.task("plain")
    return devices


@contextmanager
def browser(world: World, role: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as client:
        client.post("/sign-in", data={"secret": user_token(world, role), "next": "/delivery"})
        yield client


def test_all_tasks_say_in_a_line_how_far_they_are(world: World) -> None:
    with browser(world, Role.VIEWER) as viewer:
        text = " ".join(viewer.get("/delivery").text.split())
    assert f"{MNIST}" in text
    assert "1 of 3" in text
    assert "has no source: devices bring their own app" in text


def test_a_task_is_shown_by_wave_with_what_its_newest_commit_changes(world: World) -> None:
    assert world.operator.delivery("mnist").rollout.status is RolloutStatus.PAUSED
    with browser(world, Role.VIEWER) as viewer:
        text = " ".join(viewer.get(MNIST).text.split())
    assert "waiting for you" in text
    assert "Wave 1" in text
    assert "Not asked yet" in text
    assert 'aria-label="Not asked yet: 2 waiting"' in text
    assert "M toy/model.py" in text
    assert "tests fail: &lt;b&gt;1&lt;/b&gt; of 3" in text
    assert "Approve the next wave" not in text  # a viewer only looks


def test_a_task_without_a_source_says_how_to_name_one(world: World) -> None:
    with browser(world, Role.OPERATOR) as operator:
        text = operator.get("/delivery?task=plain").text
        missing = operator.get("/delivery?task=nothing")
    assert "fedops task source plain --git URL --ref main" in text
    assert missing.status_code == 404


def test_devices_are_grouped_by_where_they_are(world: World) -> None:
    found = world.operator.delivery("mnist").deployments
    wave, rest = groups_of(found, C)
    assert (wave.name, wave.counts) == ("Wave 1", [(Kind.CONVERGED, 1)])
    assert (rest.name, rest.counts) == ("Not asked yet", [(Kind.WAITING, 2)])
    assert [kind for kind, _ in trouble_first(found, C)] == [Kind.WAITING] * 2 + [Kind.CONVERGED]


def test_an_operator_decides_looks_checks_and_rolls_out(tmp_path: Path) -> None:
    with managing(tmp_path, dashboard=True) as world, browser(world, Role.OPERATOR) as operator:
        devices = delivering(world)
        form = operator.get("/tasks/mnist/rollouts/decision?decision=approve").text
        assert "The next wave is asked now" in form
        decision = {"decision": "approve", "because": "it is well"}
        answer = operator.post("/tasks/mnist/rollouts/decision", data=decision)
        assert "The next wave begins." in answer.text
        for _ in range(3):
            go_on(world, devices)
        assert {device.active for device in devices.values()} == {C}
        again = operator.post("/tasks/mnist/rollouts/decision", data=decision)
        assert "only one that is paused" in again.text
        assert "it is well" in again.text  # what was typed is kept

        assert "is looked at now" in operator.post("/tasks/mnist/source/look").text
        checked = operator.post(f"/tasks/mnist/commits/{commit_of('d')}/check").text
        assert "is checked again" in checked
        begun = operator.post("/tasks/mnist/rollouts", data={"commit": B, "pin": "yes"}).text
        assert f"Commit {B[:7]} is rolled out." in begun
        assert world.operator.delivery("mnist").source.pinned == B
        unsound = operator.post("/tasks/mnist/rollouts", data={"commit": "nonsense"}).text
        assert 'role="alert"' in unsound
