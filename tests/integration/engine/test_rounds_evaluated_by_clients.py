"""Rounds whose updates are valued by what the clients themselves measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_memory_federation import InMemoryFederation, InMemoryServer, Work, payload_of, strategy_of
from line_model import LineProject, StateMemory, examples
from node_grid import Asked, NodesInProcess
from own_scorer import OwnScorer, scoring_by_clients
from round_parts import Make

from fedops.config.loading import parse_config
from fedops.core import contracts as c
from fedops.core.contracts.training import (
    ARRAYS,
    EVAL_METRICS,
    EVALUATE,
    TRAIN,
    coalition_kind,
    is_coalition_kind,
)
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_engine import RoundEngine
from fedops.engine.run_setup import prepare_run
from fedops.flower.grid.node_server import NodeServer
from fedops.storage.payloads import Payload
from fedops.testing.in_memory_work import Answer
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import LocalTrainer

FOUR = ["pi-1", "pi-2", "pi-3", "pi-4"]
BY_CLIENTS = {"contribution": {"method": "auto", "utility": "clients", "max_evaluations": 9}}


def valued(make: Make, *devices: str, rounds: int = 3, **more: Any) -> InMemoryFederation:
    fed = make(
        *devices, num_rounds=rounds, clients_per_round=len(devices), server=BY_CLIENTS, **more
    )
    fed.scoring = scoring_by_clients
    return fed


def changed(fed: InMemoryFederation, device: str, change: Any) -> None:
    """What the device answers is changed by ``change(work, payload)``."""
    honest: Answer = fed.server.answers[device]

    def answer(work: Work) -> Any:
        return change(work, honest(work))

    fed.server.answers[device] = answer


def values(scores: c.RoundScores) -> dict[str, float | None]:
    return {one.device: one.value for one in scores.scores}


def scaled(payload: Payload, factor: float) -> Payload:
    """Another update than the one that was learned."""
    arrays = {
        name: array * array.dtype.type(factor) for name, array in payload.arrays[ARRAYS].items()
    }
    return replace(payload, arrays={ARRAYS: arrays})


def spoil(work: Work, payload: Payload) -> Payload:
    return scaled(payload, 5.0) if work.kind == TRAIN else payload


def measured(payload: Payload, **metrics: float) -> Payload:
    said = {**payload.metrics, EVAL_METRICS: {**payload.metrics[EVAL_METRICS], **metrics}}
    return replace(payload, metrics=said)


def test_who_spoils_the_model_is_worth_least_by_the_others_measure(federation: Make) -> None:
    fed = valued(federation, *FOUR)
    fed.config["server"] = {**BY_CLIENTS, "limits": {"max_norm_ratio": 0}}
    changed(fed, "pi-3", spoil)
    fed.play()
    assert [one.round for one in fed.server.scored] == [1, 2, 3]
    for scores in fed.server.scored:
        assert (scores.method, scores.evaluations) == ("leave_one_out", 5)
        assert scores.note == "the loss as 4 clients measured it on their own data"
        assert scores.basis["measured on"] == "the clients' own examples"
        found = values(scores)
        assert min(found, key=lambda device: found[device] or 0.0) == "pi-3"
    assert [commit.scoring for commit in fed.server.commits] == [
        c.ScoringPlan(method="leave_one_out", evaluations=5, evaluated_by="clients")
    ] * 3


def test_each_client_measures_all_models_but_the_one_without_itself(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)
    fed.play()
    for own, device in enumerate(FOUR, 1):
        kinds = [one.kind for one in fed.server.of_device(device) if is_coalition_kind(one.kind)]
        assert kinds == [coalition_kind(number) for number in range(5) if number != own]


def test_devices_are_asked_to_train_in_the_next_round_first(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=2)
    fed.play()
    kinds = [(one.round, one.kind) for one in fed.server.of_device("pi-1")]
    assert kinds.index((2, TRAIN)) < kinds.index((1, coalition_kind(0)))
    assert kinds.index((None, EVALUATE)) < kinds.index((2, coalition_kind(0)))


def test_the_model_of_all_is_the_model_of_the_round(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)
    seen: dict[str, Any] = {}

    def keep(work: Work, payload: Payload) -> Payload:
        seen[work.kind] = work.tensors
        return payload

    changed(fed, "pi-1", keep)
    fed.play()
    model = fed.server.tensors(fed.server.commits[0].model)
    all_of_them = seen[coalition_kind(0)]
    assert "own" not in all_of_them  # it never leaves a device
    assert {name: array.tobytes() for name, array in all_of_them.items()} == {
        name: array.tobytes() for name, array in model.items() if name != "own"
    }


def test_who_lies_about_a_model_moves_no_value_of_another_far(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)
    fed.play()
    honest = values(fed.server.scored[0])
    lying = valued(federation, *FOUR, name="two", rounds=1)

    def lie(work: Work, payload: Payload) -> Payload:
        huge = work.kind == coalition_kind(1)
        return measured(payload, loss=1e9) if huge else payload

    changed(lying, "pi-4", lie)
    lying.play()
    found = values(lying.server.scored[0])
    assert found == pytest.approx(honest)  # the others agree, so they leave it no room


def test_one_that_fails_is_left_out_and_named(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)

    def fail(work: Work, payload: Payload) -> Payload:
        if work.kind == coalition_kind(2):
            raise RuntimeError("no memory")
        return payload

    changed(fed, "pi-4", fail)
    fed.play()
    (scores,) = fed.server.scored
    assert scores.note == (
        "the loss as 3 clients measured it on their own data; without pi-4: RuntimeError: no memory"
    )
    assert None not in values(scores).values()


def test_one_that_never_answers_is_not_waited_for_long(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedops.flower.scoring.client_evaluations.PATIENCE_SECONDS", 0.3)
    fed = valued(federation, *FOUR, rounds=1)
    fed.config["server"] = {**BY_CLIENTS, "round": {"deadline_seconds": 3.0}}

    def stall(work: Work, payload: Payload) -> Payload | None:
        return None if work.kind == coalition_kind(3) else payload

    changed(fed, "pi-2", stall)
    fed.play()
    (scores,) = fed.server.scored
    assert scores.note.endswith("; without pi-2: it did not answer in time")
    assert None not in values(scores).values()


def test_with_two_that_answer_there_are_directions_alone(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)

    def fail(work: Work, payload: Payload) -> Payload:
        if is_coalition_kind(work.kind):
            raise RuntimeError("no")
        return payload

    for device in ("pi-1", "pi-2"):
        changed(fed, device, fail)
    fed.play()
    (scores,) = fed.server.scored
    assert (scores.method, scores.evaluations) == (None, 0)
    assert scores.note.startswith(
        "2 clients evaluated all models, and it takes 3,"
        " so there are only the scores of the updates' directions; without pi-1:"
    )
    assert all(one.value is None and one.cgsv is not None for one in scores.scores)


def test_without_a_loss_the_accuracy_is_taken_and_without_both_it_is_said(federation: Make) -> None:
    def only(name: str) -> Any:
        def change(work: Work, payload: Payload) -> Payload:
            if not is_coalition_kind(work.kind):
                return payload
            metrics = dict(payload.metrics[EVAL_METRICS])
            loss = metrics.pop("loss")
            return replace(payload, metrics={EVAL_METRICS: {**metrics, name: -float(loss)}})

        return change

    found = []
    for number, name in enumerate(("accuracy", "taste")):
        fed = valued(federation, *FOUR, name=f"n{number}", rounds=1)
        for device in FOUR:
            changed(fed, device, only(name))
        fed.play()
        found.append(fed.server.scored[0])
    assert found[0].note == "the accuracy as 4 clients measured it on their own data"
    assert found[0].method == "leave_one_out"
    assert found[1].method is None
    assert "gives neither 'loss' nor 'accuracy'" in found[1].note


def without_loss(payload: Payload) -> Payload:
    """As a client answers whose loss is no number."""
    metrics = {**payload.metrics[EVAL_METRICS], "accuracy": 0.9}
    del metrics["loss"]
    return replace(payload, metrics={**payload.metrics, EVAL_METRICS: metrics})


def test_a_model_without_a_loss_is_the_worst_and_never_its_accuracy(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)
    with_the_third = {coalition_kind(number) for number in (0, 1, 2, 4)}

    def ruined(work: Work, payload: Payload) -> Payload:
        return without_loss(payload) if work.kind in with_the_third else payload

    for device in FOUR:
        changed(fed, device, ruined)
    fed.play()
    (scores,) = fed.server.scored
    assert scores.note == (
        "the loss as 3 clients measured it on their own data; without pi-3: it reports no 'loss' of any model"
    )
    found = values(scores)
    assert found["pi-1"] == found["pi-2"] == found["pi-4"] == 0.0
    assert (found["pi-3"] or 0.0) < -10


def test_a_history_of_losses_takes_no_accuracy(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=3)

    def ruined(work: Work, payload: Payload) -> Payload:
        second = is_coalition_kind(work.kind) and work.order.round == 2
        return without_loss(payload) if second else payload

    for device in FOUR:
        changed(fed, device, ruined)
    fed.play()
    assert [one.method for one in fed.server.scored] == ["leave_one_out", None, "leave_one_out"]
    assert fed.server.scored[1].note == (
        "fewer than 3 clients report the loss, which the history is of, so there are only the scores of the"
        " updates' directions"
    )
    assert [one.rounds for one in fed.server.scored[2].standings] == [2] * 4


def test_two_clients_are_too_few_and_the_plan_says_so(federation: Make) -> None:
    fed = valued(federation, "pi-1", "pi-2", rounds=1)
    fed.play()
    plan = fed.server.commits[0].scoring
    assert plan is not None
    assert plan.method is None
    assert plan.note.startswith("each client is valued by 2 others at least")
    assert not any(is_coalition_kind(one.kind) for one in fed.server.assignments)
    assert fed.server.scored[0].note.startswith(plan.note)


def test_the_nodes_of_a_simulation_value_each_other_too(federation: Make, tmp_path: Path) -> None:
    fed = valued(federation, "node-00000", "node-00001", "node-00002", rounds=2)
    fed.play()
    clients: dict[int, tuple[str, Callable[[Asked], Payload]]] = {}
    for number, name in enumerate(fed.server.answers, 1):
        data = examples(sum(name.encode()), 4 + number - 1)
        trainer = LocalTrainer(fed.project(data=data), Device(name, memory=StateMemory()))
        clients[number] = (name, _on_node(trainer))
    spec = InMemoryServer(fed.config, tmp_path / "nodes").spec()
    server = KeepsScores(NodesInProcess(clients), spec)
    with ServerLink(server, 5.0) as link:
        setup = prepare_run(
            LineProject(parse_config(fed.config, "the test")), spec, link, strategy_of
        )
        RoundEngine(setup, link, None, *scoring_by_clients(setup, link)).run()
    assert [one.note for one in server.scored] == [one.note for one in fed.server.scored]
    assert [values(one) for one in server.scored] == [values(one) for one in fed.server.scored]


class KeepsScores(NodeServer):
    """Remembers the scores that it says."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.scored: list[c.RoundScores] = []

    def scores(self, body: c.RoundScores) -> None:
        self.scored.append(body)
        super().scores(body)


def _on_node(trainer: LocalTrainer) -> Callable[[Asked], Payload]:
    return lambda asked: payload_of(trainer(asked.order, asked.tensors, asked.kind))


def test_nobody_is_asked_unless_the_config_names_the_clients(federation: Make) -> None:
    fed = federation(*FOUR, num_rounds=1, server={"contribution": {"method": "auto"}})
    fed.scoring = lambda setup, link: (OwnScorer(setup), scoring_by_clients(setup, link)[1])
    fed.play()
    assert not any(is_coalition_kind(one.kind) for one in fed.server.assignments)
    assert "with utility = 'clients'" in fed.server.scored[0].note


def test_what_is_measured_of_coalitions_is_no_metric_of_the_run(federation: Make) -> None:
    fed = valued(federation, *FOUR, rounds=1)
    reports: list[bool] = []

    def keep(work: Work, payload: Payload) -> Payload:
        if is_coalition_kind(work.kind):
            reports.append(work.order.reports)
        return payload

    changed(fed, "pi-1", keep)
    fed.play()
    assert reports == [False] * 4
