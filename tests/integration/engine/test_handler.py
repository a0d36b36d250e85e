"""What a client answers, what it keeps loaded, and what it keeps between rounds."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from paper_federation import LineAdapter, LineProject, StateMemory, examples

from fedops.config import parse_config
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.core.states import ProcessStatus
from fedops.flower.apps import make_handler
from fedops.flower.device import Device
from fedops.flower.handler import ClientHandler
from fedops.flower.messages import (
    EVALUATE,
    TRAIN,
    Order,
    ReplyHead,
    decode_head,
    decode_measured,
    decode_tensors,
    encode_order,
    in_pieces,
    packed_record,
)
from fedops.flower.replies import Expected, take_in
from fedops.scalize.base import Cancelled, TrainContext, TrainResult
from fedops.storage.tensors import Tensors, pack

CONFIG = {"learning_rate": 0.05, "num_epochs": 1}
MODEL = LineAdapter(42).get_tensors()
CONTRACT = LineAdapter(42).contract
ORDER = Order(
    round=1, run_id=5, attempt=1, task="lines", run_seed=42, config=CONFIG, contract=CONTRACT
)


@dataclass
class Ear:
    """Hears what a handler reports."""

    heard: list[Any] = field(default_factory=list)

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None:
        self.heard.append((status.value, task, run_id, round_))

    def idle(self) -> None: ...

    def event(self, name: str, text: str, **data: Any) -> None:
        self.heard.append((name, text, data))

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        self.heard.append((name, run_id, round_))


def order_message(order: Order = ORDER, kind: str = TRAIN, model: Tensors = MODEL) -> Message:
    sent = {name: array for name, array in model.items() if name != "own"}
    message = encode_order(order, packed_record(in_pieces(pack(sent))), kind, 9, 60.0)
    message.metadata.__dict__["_message_id"] = "asked"
    return message


def answer(handler: Any, message: Message) -> Message:
    return handler(message, Context(77, 9, {}, RecordDict(), {}))  # type: ignore[no-any-return]


def project(**changed: Any) -> LineProject:
    return LineProject(parse_config(CONFIG, "the test"), **changed)


def handler(device: Device | None = None, **changed: Any) -> ClientHandler:
    return ClientHandler(project(**changed), device or Device("pi-1"))


def test_the_reply_passes_the_servers_checks(tmp_path: Path) -> None:
    reply = answer(handler(), order_message(replace(ORDER, evaluate=True)))
    checked = take_in(reply, Expected("pi-1", 5, 1, 1, CONTRACT), tmp_path / "update")
    assert checked.examples == 4
    assert checked.head.dataset == "lines"
    assert set(checked.metrics) == {"train_loss", "eval_loss"}
    assert checked.head.train_seconds > 0
    assert checked.head.evaluate_seconds > 0


def test_the_received_model_is_evaluated_before_it_is_trained() -> None:
    reply = answer(handler(), order_message(replace(ORDER, evaluate=True)))
    measured = decode_measured(reply.content, "eval-metrics")
    assert measured is not None
    assert measured.metrics == LineAdapter(42).evaluate(examples(9, 3), _context()).metrics


def _context() -> TrainContext:
    return TrainContext(1, 0, 1, 1, 0.1)


def test_an_evaluation_changes_nothing_and_sends_no_tensors() -> None:
    memory = StateMemory()
    reply = answer(
        handler(Device("pi-1", memory=memory)),
        order_message(replace(ORDER, evaluate=True), EVALUATE),
    )
    assert set(reply.content) == {"reply", "eval-metrics"}
    assert all(np.array_equal(s["own"], MODEL["own"]) for s in memory.states.values())


def test_a_device_without_validation_data_does_not_evaluate() -> None:
    @dataclass(frozen=True)
    class TrainOnly(LineProject):
        def load_data(self) -> Any:
            return replace(super().load_data(), validation=None)

    client = ClientHandler(TrainOnly(parse_config(CONFIG, "the test")), Device("pi-1"))
    reply = answer(client, order_message(replace(ORDER, evaluate=True)))
    assert "eval-metrics" not in reply.content
    assert decode_head(reply.content).evaluate_seconds == 0


def test_the_model_stays_loaded_until_its_config_changes() -> None:
    made: list[int] = []

    @dataclass(frozen=True)
    class Counting(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            made.append(seed)
            return super().make_adapter(seed)

    client = ClientHandler(Counting(parse_config(CONFIG, "the test")), Device("pi-1"))
    client.warm_up()
    for round_ in (1, 2):
        answer(client, order_message(replace(ORDER, round=round_)))
    answer(client, order_message(replace(ORDER, config={**CONFIG, "num_rounds": 9})))
    assert made == [42]
    answer(client, order_message(replace(ORDER, config={**CONFIG, "batch_size": 9})))
    answer(client, order_message(replace(ORDER, config={**CONFIG, "batch_size": 9}, run_seed=7)))
    assert made == [42, 42, 7]


def test_the_same_message_gets_the_same_answer_whatever_came_between() -> None:
    client = handler(Device("pi-1", memory=StateMemory()))
    first = decode_tensors(answer(client, order_message()))
    second = decode_tensors(answer(client, order_message(replace(ORDER, round=2))))
    for round_, before in ((1, first), (2, second)):
        again = decode_tensors(answer(client, order_message(replace(ORDER, round=round_))))
        assert {k: a.tobytes() for k, a in again.items()} == {
            k: a.tobytes() for k, a in before.items()
        }


def test_what_stays_on_the_device_goes_on_from_the_round_before() -> None:
    memory = StateMemory()
    client = handler(Device("pi-1", memory=memory))
    for round_ in (1, 2, 2, 3):
        answer(client, order_message(replace(ORDER, round=round_)))
    assert [float(memory.states[5, r]["own"][0]) for r in range(4)] == [1.0, 0.5, 0.25, 0.125]
    fresh = handler(Device("pi-1", memory=memory))
    answer(fresh, order_message(replace(ORDER, round=4)))
    assert float(memory.states[5, 4]["own"][0]) == 0.0625


def test_a_new_run_goes_on_from_the_newest_checkpoint_that_fits() -> None:
    class Checkpoints(StateMemory):
        def load_checkpoint(self, task: str) -> list[Tensors]:
            assert task == "lines"
            return [{"own": np.ones(7, np.float32)}, {"own": np.full(2, 0.75, np.float32)}]

    memory = Checkpoints()
    answer(handler(Device("pi-1", memory=memory)), order_message())
    assert float(memory.states[5, 0]["own"][0]) == 0.75


def test_what_a_client_reports() -> None:
    ear = Ear()
    answer(handler(Device("pi-1", report=ear)), order_message(replace(ORDER, evaluate=True)))
    assert ear.heard == [
        ("evaluating", "lines", 5, 1),
        ("eval_loss", 5, 0),
        ("training", "lines", 5, 1),
        ("train_loss", 5, 1),
    ]


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
def test_a_device_that_does_not_fit_says_why(changed: Any, order: Order, why: str) -> None:
    ear = Ear()
    head = decode_head(
        answer(handler(Device("pi-1", report=ear), **changed), order_message(order)).content
    )
    assert head.refused.startswith(why)
    assert ear.heard == [("refused", head.refused, {"run_id": 5, "round": 1})]


def test_a_data_set_without_a_name_fits_any() -> None:
    reply = answer(handler(dataset=""), order_message(replace(ORDER, dataset="lines")))
    assert decode_head(reply.content) == replace(
        decode_head(reply.content), refused="", dataset="", fingerprint=CONTRACT.fingerprint
    )


def test_being_stopped_is_passed_on() -> None:
    device = Device("pi-1")
    device.cancelled.set()
    with pytest.raises(Cancelled):
        answer(handler(device), order_message())


def test_updates_are_clipped_when_the_strategy_asks_for_it() -> None:
    whole = decode_tensors(answer(handler(), order_message()))
    reply = answer(handler(), order_message(replace(ORDER, strategy={"clipping_norm": 0.01})))
    clipped, metrics = decode_tensors(reply), decode_measured(reply.content, "metrics")
    names = [s.name for s in CONTRACT.parameters if s.rule is ExchangeRule.MEAN]
    length = np.sqrt(sum(float(np.sum((clipped[n] - MODEL[n]) ** 2)) for n in names))
    assert length == pytest.approx(0.01, rel=1e-3)
    assert clipped["steps"] == whole["steps"]
    assert metrics is not None
    assert metrics.metrics["norm_bit"] == 1.0


def test_a_diverged_metric_is_not_reported_but_sent(tmp_path: Path) -> None:
    class Diverged(LineAdapter):
        def train(self, data: Any, context: TrainContext) -> TrainResult:
            return TrainResult(3, {"loss": float("nan")})

    @dataclass(frozen=True)
    class Diverging(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            return Diverged(seed)

    ear = Ear()
    client = ClientHandler(Diverging(parse_config(CONFIG, "the test")), Device("pi-1", report=ear))
    reply = answer(client, order_message())
    assert ear.heard == [("training", "lines", 5, 1)]
    with pytest.raises(Invalid, match="its metric 'train_loss' is nan"):
        take_in(reply, Expected("pi-1", 5, 1, 1, CONTRACT), tmp_path / "update")


def test_an_app_that_cannot_be_loaded_is_reported_and_refuses() -> None:
    @dataclass(frozen=True)
    class Broken(LineProject):
        def make_adapter(self, seed: int) -> LineAdapter:
            raise Invalid("models.py, line 3: no module named 'torchh'")

    ear = Ear()
    client: Any = make_handler(
        Broken(parse_config(CONFIG, "the test")),  # type: ignore[arg-type]
        Device("pi-1", report=ear),
    )
    assert ear.heard == [("app_problem", "models.py, line 3: no module named 'torchh'", {})]
    head = decode_head(answer(client, order_message()).content)
    assert isinstance(head, ReplyHead)
    assert head.refused == "models.py, line 3: no module named 'torchh'"
