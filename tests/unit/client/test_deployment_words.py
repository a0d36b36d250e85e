"""What is said of a deployment, what names an environment, and what two releases say to each other."""

from __future__ import annotations

import pytest

from fedops.client.deployment.commits.environments import digest_of
from fedops.client.deployment.wishes import wish_for
from fedops.client.local.deployment_text import awaited_text, deployment_rows
from fedops.client.local.messages import AwaitedCommit, DeployedStatus, TrainingArgs
from fedops.client.local.protocol import why_not_understood
from fedops.core.contracts import (
    BlobRef,
    CommitChanges,
    DesiredDeployment,
    Packages,
    WheelRef,
    Work,
)
from fedops.core.errors import Invalid
from fedops.core.states import Enrolment


def test_what_would_run_is_shown_without_what_works_in_a_terminal() -> None:
    files = [f"M model-{number}.py" for number in range(30)]
    changes = CommitChanges(since="b" * 40, files=files, dependencies=["- pandas"], more=4)
    waiting = AwaitedCommit(
        task="mnist", commit="a" * 40, subject="new\x1b[2J\nmodel", author="Ada", changes=changes
    )
    text = awaited_text(waiting)
    assert "\x1b" not in text
    assert "now runs: nothing" in text
    assert "files changed since bbbbbbbbbbbb:" in text
    assert "M model-19.py" in text
    assert "M model-20.py" not in text
    assert "and 10 more" in text
    assert "and 4 more that the server does not name" in text


def test_the_status_of_a_deployment() -> None:
    assert deployment_rows(None) == {}
    own = DeployedStatus(task="mnist", active="a" * 40, status="active", local=True, dirty=True)
    rows = deployment_rows(own)
    assert rows["code that runs"] == f"{'a' * 40} with changes (the owner's own folder)"
    stalled = DeployedStatus(task="mnist", status="awaiting_approval", stalled=True)
    assert deployment_rows(stalled)["deployment"] == "awaiting approval (stalled)"


def test_an_environment_is_named_by_its_wheels_alone() -> None:
    one, other = (
        WheelRef(name=f"{name}-1-py3-none-any.whl", sha256=name * 64, size=1) for name in "ab"
    )
    first = digest_of(Packages(status="ready", wheels=[one, other], named=["a"]))
    assert first == digest_of(Packages(status="ready", wheels=[other, one]))
    assert first != digest_of(Packages(status="ready", wheels=[one]))


def test_only_what_can_name_a_file_here_is_a_wish() -> None:
    blob = BlobRef(sha256="0" * 64, size=1)
    fine = DesiredDeployment(task="mnist", commit="a" * 64, bundle=blob, subfolder="apps/mnist")

    def found(wish: DesiredDeployment, task: str = "mnist") -> DesiredDeployment | None:
        work = Work(revision=1, enrolment=Enrolment.APPROVED, deployments=[wish])
        return wish_for(work, task)

    assert found(fine) == fine
    assert found(fine, "other") is None
    for wrong in (
        {"commit": "main"},
        {"commit": "../" * 10},
        {"bundle": BlobRef(sha256="../x", size=1)},
        {"pack": BlobRef(sha256="x", size=1)},
        {"subfolder": "/etc"},
        {"subfolder": "apps/../.."},
        {"subfolder": "--upload-pack=x"},
    ):
        with pytest.raises(Invalid, match="the server names"):
            found(fine.model_copy(update=wrong))


def test_another_release_says_what_to_do() -> None:
    assert why_not_understood('{"protocol": 1, "more": 2}', "training client") == ""
    assert why_not_understood('{"home": "/x"}', "training client") == "", "before it was noted"
    said = why_not_understood('{"protocol": 9}', "training client")
    assert "speaks version 1 of the local protocol" in said
    assert "version 9: install the same release of FedOps for both" in said
    assert "version unknown" in why_not_understood("no JSON", "trial")
    newer = TrainingArgs.model_validate({"home": "/x", "device": "pi", "app_dir": "/a", "new": 1})
    assert newer.device == "pi"
