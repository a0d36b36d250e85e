"""What a client answers, what it keeps loaded, and what it keeps between rounds."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from line_model import LineAdapter, LineProject, StateMemory, examples

from fedops.config.loading import parse_config
from fedops.core.contracts import ExchangeRule
from fedops.core.contracts.training import EVALUATE, TRAIN, TrainingOrder, UpdateHeader
from fedops.core.errors import Invalid
from fedops.core.states import ProcessStatus
from fedops.scalize.adapter.protocol import Cancelled, TrainContext, TrainResult
from fedops.storage.tensors import Tensors
from fedops.trainer.device_context import Device, NoReporter
from fedops.trainer.local_round import LocalTrainer, LocalUpdate

CONFIG = {"learning_rate": 0.05, "num_epochs": 1}
MODEL = LineAdapter(42).get_tensors()
CONTRACT = LineAdapter(42).contract
ORDER = TrainingOrder(
    round=1, run_id=5, attempt=1, task="lines", run_seed=42, config=CONFIG, contract=CONTRACT
)


@dataclass
class Ear(NoReporter):
    """Hears what a client reports."""

    heard: list[Any] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def describe(self, **facts: Any) -> None:
        self.facts |= facts

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None:
        self.heard.append((status.value, task, run_id, round_))

    def event(self, name: str, text: str, **data: Any) -> None:
        self.heard.append((name, text, data))

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        self.heard.append((name, run_id, round_))


def answer(
    trainer: LocalTrainer, order: TrainingOrder = ORDER, kind: str = TRAIN, model: Tensors = MODEL
) -> LocalUpdate:
    return trainer(order, {name: array for name, array in model.items() if name != "own"}, kind)


def tensors_of(update: LocalUpdate) -> Tensors:
    assert update.tensors is not None
    return update.tensors


def project(**changed: Any) -> LineProject:
    return LineProject(parse_config(CONFIG, "the test"), **changed)


def trainer(device: Device | None = None, **changed: Any) -> LocalTrainer:
    return LocalTrainer(project(**changed), device or Device("pi-1"))


def test_what_is_answered() -> None:
    update = answer(trainer(), replace(ORDER, evaluate=True))
    assert update.trained is not None
    assert update.trained.examples == 4
    assert set(update.trained.metrics) == {"train_loss"}
    assert update.header.dataset == "lines"
    assert update.header.fingerprint == CONTRACT.fingerprint
    assert list(tensors_of(update)) == [spec.name for spec in CONTRACT.federated]
    assert update.header.train_seconds > 0
    assert update.header.evaluate_seconds > 0


def test_the_received_model_is_evaluated_before_it_is_trained() -> None:
    evaluated = answer(trainer(), replace(ORDER, evaluate=True)).evaluated
    assert evaluated is not None
    assert evaluated.metrics == LineAdapter(42).evaluate(examples(9, 3), _context()).metrics


def _context() -> TrainContext:
    return TrainContext(1, 0, 1, 1, 0.1)


def test_an_evaluation_changes_nothing_and_sends_no_tensors() -> None:
    memory = StateMemory()
    update = answer(
        trainer(Device("pi-1", memory=memory)),
        replace(ORDER, evaluate=True),
        EVALUATE,
    )
    assert (update.tensors, update.trained) == (None, None)
    assert update.evaluated is not None
    assert all(np.array_equal(s["own"], MODEL["own"]) for s in memory.states.values())


def test_what_a_model_of_a_coalition_achieves_is_answered_and_not_reported() -> None:
    ear = Ear()
    order = replace(ORDER, evaluate=True, reports=False)
    again = TrainingOrder.from_values(order.values())
    assert again == order
    update = answer(trainer(Device("pi-1", report=ear)), again, EVALUATE)
    assert update.evaluated is not None
    assert [one for one in ear.heard if one[0] == "eval_loss"] == []
    answer(trainer(Device("pi-1", report=ear)), replace(ORDER, evaluate=True), EVALUATE)
    assert [one[0] for one in ear.heard].count("eval_loss") == 1


def test_a_device_without_validation_data_does_not_evaluate() -> None:
    @dataclass(frozen=True)
    class TrainOnly(LineProject):
        def load_data(self) -> Any:
            return replace(super().load_data(), validation=None)

    client = LocalTrainer(TrainOnly(parse_config(CONFIG, "the test")), Device("pi-1"))
    update = answer(client, replace(ORDER, evaluate=True))
    assert update.evaluated is None
    assert update.header.evaluate_seconds == 0


def test_the_model_stays_loaded_until_its_config_changes() -> None:
    made: list[int] = []

    @dataclass(frozen=True)
    class Counting(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            made.append(seed)
            return super().make_adapter(seed)

    client = LocalTrainer(Counting(parse_config(CONFIG, "the test")), Device("pi-1"))
    client.warm_up()
    for round_ in (1, 2):
        answer(client, replace(ORDER, round=round_))
    answer(client, replace(ORDER, config={**CONFIG, "num_rounds": 9}))
    assert made == [42]
    answer(client, replace(ORDER, config={**CONFIG, "batch_size": 9}))
    answer(client, replace(ORDER, config={**CONFIG, "batch_size": 9}, run_seed=7))
    assert made == [42, 42, 7]


def test_the_same_message_gets_the_same_answer_whatever_came_between() -> None:
    client = trainer(Device("pi-1", memory=StateMemory()))
    first = tensors_of(answer(client))
    second = tensors_of(answer(client, replace(ORDER, round=2)))
    for round_, before in ((1, first), (2, second)):
        again = tensors_of(answer(client, replace(ORDER, round=round_)))
        assert {k: a.tobytes() for k, a in again.items()} == {
            k: a.tobytes() for k, a in before.items()
        }


def test_what_stays_on_the_device_goes_on_from_the_round_before() -> None:
    memory = StateMemory()
    client = trainer(Device("pi-1", memory=memory))
    for round_ in (1, 2, 2, 3):
        answer(client, replace(ORDER, round=round_))
    assert [float(memory.states[5, r]["own"][0]) for r in range(4)] == [1.0, 0.5, 0.25, 0.125]
    fresh = trainer(Device("pi-1", memory=memory))
    answer(fresh, replace(ORDER, round=4))
    assert float(memory.states[5, 4]["own"][0]) == 0.0625


def test_a_new_run_goes_on_from_the_newest_checkpoint_that_fits() -> None:
    class Checkpoints(StateMemory):
        def load_checkpoint(self, task: str) -> list[Tensors]:
            assert task == "lines"
            return [{"own": np.ones(7, np.float32)}, {"own": np.full(2, 0.75, np.float32)}]

    memory = Checkpoints()
    answer(trainer(Device("pi-1", memory=memory)))
    assert float(memory.states[5, 0]["own"][0]) == 0.75


def test_what_a_client_reports() -> None:
    ear = Ear()
    answer(trainer(Device("pi-1", report=ear)), replace(ORDER, evaluate=True))
    assert ear.heard == [
        ("evaluating", "lines", 5, 1),
        ("eval_loss", 5, 0),
        ("training", "lines", 5, 1),
        ("train_loss", 5, 1),
    ]


def test_a_client_with_validation_data_alone_evaluates_and_says_so_once() -> None:
    ear = Ear()
    client = trainer(Device("judge", report=ear), data=None)
    client.try_out()
    update = answer(client, replace(ORDER, evaluate=True))
    assert (update.header.evaluates_only, update.header.refused) == (True, "")
    assert update.tensors is update.trained is None
    assert update.evaluated is not None
    assert update.evaluated.examples == 3
    unasked = answer(client)
    assert (unasked.header.evaluates_only, unasked.evaluated) == (True, None)
    text = "this device has no training example of 'lines': it evaluates only"
    assert [heard for heard in ear.heard if heard[0] == "evaluates_only"] == [
        ("evaluates_only", text, {})
    ]
    assert ear.facts == {"training_examples": 0, "validation_examples": 3}
    record = update.header.values()
    assert UpdateHeader.from_values(record).evaluates_only
    del record["evaluates-only"]  # as an older device answers
    assert not UpdateHeader.from_values(record).evaluates_only


@pytest.mark.parametrize(
    ("changed", "order", "why"),
    [
        (
            {"size": 4},
            ORDER,
            "its model (here) differs from the run's (there): 'w': float32[4] (mean)",
        ),
        (
            {"dataset": "digits"},
            replace(ORDER, dataset="lines"),
            "its data set is 'digits', and the run's",
        ),
        ({"data": []}, ORDER, "this device has no example to train on"),
        (
            {},
            replace(ORDER, config={"learning_rat": 1}),
            "the run's config: learning_rat: unknown key",
        ),
    ],
)
def test_a_device_that_does_not_fit_says_why(changed: Any, order: TrainingOrder, why: str) -> None:
    ear = Ear()
    head = answer(trainer(Device("pi-1", report=ear), **changed), order).header
    assert head.refused.startswith(why)
    assert ear.heard == [("refused", head.refused, {"run_id": 5, "round": 1})]


def test_a_data_set_without_a_name_fits_any() -> None:
    update = answer(trainer(dataset=""), replace(ORDER, dataset="lines"))
    assert update.header == replace(
        update.header, refused="", dataset="", fingerprint=CONTRACT.fingerprint
    )


def test_being_stopped_is_passed_on() -> None:
    device = Device("pi-1")
    device.cancelled.set()
    with pytest.raises(Cancelled):
        answer(trainer(device))


def test_updates_are_clipped_when_the_strategy_asks_for_it() -> None:
    whole = tensors_of(answer(trainer()))
    update = answer(trainer(), replace(ORDER, strategy={"clipping_norm": 0.01}))
    clipped, metrics = tensors_of(update), update.trained
    names = [s.name for s in CONTRACT.parameters if s.rule is ExchangeRule.MEAN]
    length = np.sqrt(sum(float(np.sum((clipped[n] - MODEL[n]) ** 2)) for n in names))
    assert length == pytest.approx(0.01, rel=1e-3)
    assert clipped["steps"] == whole["steps"]
    assert metrics is not None
    assert metrics.metrics["norm_bit"] == 1.0


def test_a_diverged_metric_is_not_reported_but_sent() -> None:
    class Diverged(LineAdapter):
        def train(self, data: Any, context: TrainContext) -> TrainResult:
            return TrainResult(3, {"loss": float("nan")})

    @dataclass(frozen=True)
    class Diverging(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            return Diverged(seed)

    ear = Ear()
    client = LocalTrainer(Diverging(parse_config(CONFIG, "the test")), Device("pi-1", report=ear))
    update = answer(client)
    assert ear.heard == [("training", "lines", 5, 1)]
    assert update.trained is not None
    assert np.isnan(update.trained.metrics["train_loss"])


def test_an_app_that_cannot_be_loaded_refuses() -> None:
    @dataclass(frozen=True)
    class Broken(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            raise Invalid("models.py, line 3: no module named 'torchh'")

    client = LocalTrainer(Broken(parse_config(CONFIG, "the test")), Device("pi-1"))
    head = answer(client).header
    assert head.refused == "models.py, line 3: no module named 'torchh'"
