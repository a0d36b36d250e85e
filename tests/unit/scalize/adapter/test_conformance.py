"""``check_adapter`` accepts an adapter that keeps its promises, and names the one that another breaks."""

from typing import Any

import numpy as np
import pytest

from fedops.config.schema import Exchange
from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.adapter.protocol import EvalResult, TrainContext, TrainResult
from fedops.storage.tensors import Tensors
from fedops.testing import check_adapter

RNG = np.random.default_rng(0)
DATA = (RNG.normal(size=(20, 3)), RNG.normal(size=20))


class Honest:
    """Linear regression by stochastic gradients, in numpy."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.arrays: Tensors = {
            "weight": rng.normal(size=3),
            "bias": np.zeros(()),
            "steps": np.zeros((), np.int64),
        }
        infos = [
            TensorInfo(name, a.shape, a.dtype.name, buffer=name == "steps")
            for name, a in self.arrays.items()
        ]
        self._contract = build_contract(infos, Exchange())

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        return outgoing(self.contract, self.arrays)

    def set_tensors(self, tensors: Tensors) -> None:
        own = {name: array.dtype.name for name, array in self.arrays.items()}
        self.arrays |= incoming(self.contract, tensors, own)

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        x, y = data
        for row in np.random.default_rng(context.seed).permutation(len(x)):
            error = x[row] @ self.arrays["weight"] + self.arrays["bias"] - y[row]
            self.arrays["weight"] = self.arrays["weight"] - 0.1 * error * x[row]
            self.arrays["bias"] = np.asarray(self.arrays["bias"] - 0.1 * error)
            self.arrays["steps"] = self.arrays["steps"] + 1
        return TrainResult(len(x), {"loss": 0.5})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        x, y = data
        error = x @ self.arrays["weight"] + self.arrays["bias"] - y
        return EvalResult(len(x), {"loss": float(np.mean(error**2))})


class SharesMemory(Honest):
    def get_tensors(self) -> Tensors:
        return dict(self.arrays)


class KeepsWhatItIsGiven(Honest):
    def set_tensors(self, tensors: Tensors) -> None:
        super().set_tensors(tensors)
        self.arrays |= tensors


class RoundsToSingle(Honest):
    def set_tensors(self, tensors: Tensors) -> None:
        super().set_tensors(tensors)
        self.arrays["weight"] = self.arrays["weight"].astype(np.float32).astype(np.float64)


class TakesAnything(Honest):
    def set_tensors(self, tensors: Tensors) -> None:
        self.arrays |= {name: np.array(array) for name, array in tensors.items()}


class RefusesHalfWay(Honest):
    def set_tensors(self, tensors: Tensors) -> None:
        for name in reversed(sorted(tensors)):
            super().set_tensors({name: tensors[name]})


class LearnsWhileEvaluating(Honest):
    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        self.arrays["steps"] = self.arrays["steps"] + 1
        return super().evaluate(data, context)


class DrawsWhileEvaluating(Honest):
    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        np.random.default_rng().random()
        np.random.random()
        return super().evaluate(data, context)


class IgnoresTheSeed(Honest):
    def train(self, data: Any, context: TrainContext) -> TrainResult:
        self.arrays["bias"] = np.asarray(np.random.default_rng().random())
        return super().train(data, context)


class RemembersMomentum(Honest):
    momentum = 0.0

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        self.momentum += 0.1
        self.arrays["bias"] = np.asarray(self.arrays["bias"] + self.momentum)
        return super().train(data, context)


class KeepsState(Honest):
    """What it learns is partly in no array."""

    hidden = 0.0

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        result = super().train(data, context)
        self.hidden = float(self.arrays["bias"])
        return result

    def set_tensors(self, tensors: Tensors) -> None:
        super().set_tensors(tensors)
        self.arrays["bias"] = np.asarray(self.arrays["bias"] + self.hidden)


class ContractOfAnother(Honest):
    @property
    def contract(self) -> ParameterContract:
        spec = ParameterSpec(name="weight", shape=(4,), dtype="float64", rule=ExchangeRule.MEAN)
        return ParameterContract(parameters=(spec, *self._contract.parameters[1:]))

    def get_tensors(self) -> Tensors:
        return outgoing(self._contract, self.arrays)

    def set_tensors(self, tensors: Tensors) -> None:
        self.arrays |= tensors


class NeverTrains(Honest):
    def train(self, data: Any, context: TrainContext) -> TrainResult:
        return TrainResult(len(data[0]))


def test_an_honest_adapter_passes() -> None:
    check_adapter(Honest, DATA)


def test_an_honest_adapter_equals_local_training() -> None:
    def locally(seed: int) -> Tensors:
        adapter = Honest(seed)
        adapter.train(DATA, TrainContext(1, 11, 1, 8, 0.01))
        return adapter.arrays

    check_adapter(Honest, DATA, locally=locally)
    with pytest.raises(AssertionError, match=r"local training: 'weight' differs"):
        check_adapter(Honest, DATA, locally=lambda seed: Honest(seed).arrays)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (SharesMemory, "writing into what get_tensors gave"),
        (KeepsWhatItIsGiven, "writing into what was given to set_tensors"),
        (RoundsToSingle, "what set_tensors was given"),
        (TakesAnything, "set_tensors took a wrong array"),
        (RefusesHalfWay, "a refused set_tensors changed the model"),
        (LearnsWhileEvaluating, "evaluate changed the model: 'steps'"),
        (DrawsWhileEvaluating, r"evaluate moved the random state of \['numpy'\]"),
        (IgnoresTheSeed, "evaluating before changed the training|the same seed"),
        (RemembersMomentum, "the second training of one adapter"),
        (KeepsState, "the second training of one adapter"),
        (ContractOfAnother, "'weight': the contract says"),
        (NeverTrains, "training changed nothing"),
    ],
)
def test_a_broken_promise_is_named(broken: type[Honest], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_adapter(broken, DATA)
