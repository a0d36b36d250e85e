"""Explanations in a real federation: what devices keep, what reaches the server, and what never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federating import QUIET, until

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation
from fedops.demo.run import find_app

TASK, ROUNDS = "digits", 2
#: Scores that the explanation of the first and of the second round has.
FIRST, SECOND = {"local/gradcam/deletion", "seconds"}, {"local_over_rounds/layercam/cosine"}
#: "ada" lets scores go; "bob" says nothing, so nothing of his leaves.
OWNERS = {"ada": '[uploads]\nexplanations = "scores"\n', "bob": ""}
CONFIG = [
    "dataset.name=digits",
    "dataset.partition.of=6",
    "batch_size=32",
    "clients_per_round=2",
    f"num_rounds={ROUNDS}",
    "xai.samples=4",
    'xai.methods=["gradcam", "kernelshap"]',
    "xai.upload=images",  # what the server asks for
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two devices with the MNIST app on scikit-learn's digits."""
    with Federation(tmp_path_factory.mktemp("federation"), QUIET) as made:
        made.start_server()
        made.create_task(TASK, find_app(), CONFIG)
        for index, (name, owner) in enumerate(OWNERS.items()):
            made.join(name)
            (made.device_home(name) / "device.toml").write_text(owner)
            start(made, name, f"dataset.partition.index={index}")
        made.until_ready(list(OWNERS), seconds=120.0)
        yield made


def start(federation: Federation, name: str, *overrides: str) -> None:
    mine = ["dataset.name=digits", "dataset.partition.of=6", *overrides]
    federation.start_client(name, find_app(), TASK, overrides=mine)


@pytest.fixture(scope="module")
def run(federation: Federation) -> c.RunRead:
    """A run, and the last explanations of both devices."""
    with federation.operator() as operator:
        begun = operator.start_run(TASK, c.RunStart())
    ended = until(federation, begun.id, RunStatus.COMPLETED, seconds=240.0)
    for name in OWNERS:
        federation.until(
            "the last explanation", lambda n=name: report(federation, n, ROUNDS), 120.0
        )
    return ended


def folder(federation: Federation, name: str, round_: int) -> Path:
    home = federation.device_home(name)
    return home / "outputs" / "gradcam" / "run-1" / f"round-{round_:04d}"


def report(federation: Federation, name: str, round_: int) -> dict[str, Any] | None:
    path = folder(federation, name, round_) / "report.json"
    return json.loads(path.read_text()) if path.is_file() else None


def test_each_device_keeps_what_a_person_wants_to_look_at(
    federation: Federation, run: c.RunRead
) -> None:
    assert run.committed_rounds == ROUNDS
    for name in OWNERS:
        found = report(federation, name, ROUNDS)
        assert found is not None
        assert found["failure"] is None
        assert found["layer"] == "conv2"
        assert {row["model"] for row in found["samples"]} >= {"global", "local"}
        place = folder(federation, name, ROUNDS)
        assert (place / "sheet-gradcam-predicted.png").stat().st_size > 1_000
        assert (place / "maps.npz").is_file()
        assert (place.parents[1] / "drift.jsonl").read_text().count("local over rounds") > 0


def test_scores_reach_the_server_only_from_the_owner_who_lets_them(
    federation: Federation, run: c.RunRead
) -> None:
    with federation.operator() as operator:

        def both_rounds() -> list[c.ExplanationRead] | None:
            """Once all is delivered: a batch may hold a part of a round's scores."""
            found = operator.explanations(run.id)
            names = [entry.scores.keys() for entry in found]
            whole = len(found) == ROUNDS and names[0] >= FIRST and names[1] >= SECOND
            return found if whole else None

        first, second = federation.until("the scores of two rounds", both_rounds, 60.0)
        assert {first.device, second.device} == {"ada"}
        assert second.scores["local_over_rounds/layercam/cosine"] <= 1.0
        assert first.scores["seconds"] > 0


def test_no_picture_leaves_even_when_the_server_asks_for_them(
    federation: Federation, run: c.RunRead
) -> None:
    with federation.operator() as operator:
        assert operator.run(run.id).config["xai"]["upload"] == "images"
        assert [one.pictures for one in operator.explanations(run.id) if one.pictures] == []
        lowered = {e.subject: e.text for e in operator.events() if e.name == "value_lowered"}
    assert "xai.upload = 'images' of the task became 'scores'" in lowered["device ada"]
    assert "xai.upload = 'images' of the task became 'none'" in lowered["device bob"]


def test_no_round_waits_for_an_explanation(federation: Federation, run: c.RunRead) -> None:
    """The first round is committed while it is still being explained: KernelSHAP takes its time."""
    with federation.operator() as operator:
        records = operator.rounds(run.id)
    for record in records:
        assert [p.device for p in record.participations] == ["ada", "bob"]
    explained = [(folder(federation, name, 1) / "report.json").stat().st_mtime for name in OWNERS]
    assert records[0].committed_at is not None
    assert records[0].committed_at < max(explained)


def test_a_device_whose_own_layer_is_wrong_is_not_ready_and_says_why(
    federation: Federation, run: c.RunRead
) -> None:
    federation.stop("bob")
    start(federation, "bob", "dataset.partition.index=1", "xai.layer=convv2")
    with federation.operator() as operator:

        def refused() -> list[c.Readiness]:
            found = operator.device("bob").process.readiness
            return [entry for entry in found if entry.status == "refused"]

        (entry,) = federation.until("the device to refuse", refused, 90.0)
        assert entry.task == TASK
        assert "did you mean 'conv2'? Eligible convolutions: 'conv1', 'conv2'" in entry.reason
        assert operator.device("bob").why.startswith("online, but not ready: [xai] ")
    status = federation.command("client", "status", "--home", str(federation.device_home("bob")))
    assert "did you mean 'conv2'" in status["why"]
