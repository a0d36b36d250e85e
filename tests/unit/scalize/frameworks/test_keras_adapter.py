"""Keras: names that do not depend on what was built before, fresh optimizers, FedProx."""

import os
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is first looked for
pytest.importorskip("keras", reason="Keras is not installed")

import keras
from keras import layers

from fedops.config.schema import Exchange
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import AdapterOptions, Cancelled, Part, TrainContext
from fedops.scalize.frameworks.keras import KerasAdapter

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(3)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = np.arange(32) % 3
CONTEXT = TrainContext(1, 9, 1, 8, 0.01)


def _model(**options: Any) -> Any:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5), layers.BatchNormalization(), layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(**{"optimizer": "sgd", "loss": loss, "metrics": ["accuracy"], **options})
    return model


def _names(model: Any) -> list[str]:
    return [spec.name for spec in KerasAdapter(model, AdapterOptions()).contract.parameters]


def test_names_are_those_of_this_model_alone() -> None:
    first = _names(_model())
    _model()
    assert _names(_model()) == first
    assert first == [
        "dense/kernel",
        "dense/bias",
        "batch_normalization/gamma",
        "batch_normalization/beta",
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
        "dense_1/kernel",
        "dense_1/bias",
    ]


def test_an_authors_names_are_kept() -> None:
    def build() -> Any:
        inputs = keras.Input((6, 4))
        x = layers.Bidirectional(layers.GRU(3))(inputs)
        inner = keras.Sequential([layers.Dense(4, name="block_7"), layers.Dense(4)], name="tower")
        return keras.Model(inputs, layers.Dense(2, name="head")(inner(x)))

    build()
    names = _names(build())
    assert names == _names(build())
    assert "bidirectional/forward_gru/gru_cell/kernel" in names
    assert {"tower/block_7/kernel", "tower/dense/kernel", "head/bias"} <= set(names)


def test_statistics_and_named_layers_can_stay_local() -> None:
    options = AdapterOptions(exchange=Exchange(float_buffers="local", local=["dense_1/*"]))
    contract = KerasAdapter(_model(), options).contract
    travelling = {spec.name for spec in contract.federated}
    assert travelling == {
        "dense/kernel",
        "dense/bias",
        "batch_normalization/gamma",
        "batch_normalization/beta",
    }


def test_a_frozen_weight_is_no_statistic() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, trainable=False), layers.Dense(3)])
    contract = KerasAdapter(
        model, AdapterOptions(exchange=Exchange(float_buffers="local"))
    ).contract
    specs = {spec.name: (spec.rule, spec.trainable) for spec in contract.parameters}
    assert specs["dense/kernel"] == ("mean", False)


@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.SGD(0.01, momentum=0.9)])
def test_every_round_begins_with_a_fresh_optimizer(optimizer: Any) -> None:
    adapter = KerasAdapter(_model(optimizer=optimizer), AdapterOptions())
    start = adapter.get_tensors()
    adapter.train((X, Y), CONTEXT)
    first = adapter.get_tensors()
    for _ in range(2):
        adapter.set_tensors(start)
        adapter.train((X, Y), CONTEXT)
    assert all((adapter.get_tensors()[n] == first[n]).all() for n in first)


def test_rounds_draw_other_dropout_masks() -> None:
    def build() -> Any:
        model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(3)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    results = []
    adapter = KerasAdapter(build(), AdapterOptions())
    start = adapter.get_tensors()
    for round_, seed in ((1, 9), (2, 10), (2, 10)):
        adapter.set_tensors(start)
        adapter.train((X, Y), TrainContext(round_, seed, 1, 8, 0.01))
        results.append(adapter.get_tensors()["dense/kernel"])
    assert (results[0] != results[1]).any()
    assert (results[1] == results[2]).all()


def test_fedprox_adds_mu_times_the_distance_to_every_gradient() -> None:
    """One layer, plain gradient descent, full batches: two steps by hand."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    adapter = KerasAdapter(model, AdapterOptions())
    target = (X @ np.array([[1.0], [2.0], [-1.0], [0.5]])).astype("float32")
    start = adapter.get_tensors()["dense/kernel"].astype(float)
    weight, mu = start.copy(), 3.0
    for _ in range(2):
        gradient = 2 * X.T.astype(float) @ (X @ weight - target) / len(X)
        weight = weight - 0.1 * (gradient + mu * (weight - start))
    adapter.train((X, target), TrainContext(1, 9, 2, 32, 0.01, proximal_mu=mu))
    assert np.allclose(adapter.get_tensors()["dense/kernel"], weight, atol=1e-5)
    adapter.set_tensors({"dense/kernel": start.astype("float32")})
    adapter.train((X, target), TrainContext(1, 9, 2, 32, 0.01))
    assert not np.allclose(adapter.get_tensors()["dense/kernel"], weight, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"]
)
def test_the_config_can_give_optimizer_and_loss(name: str) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
    options = AdapterOptions(optimizer=Part("rmsprop"), loss=Part(name))
    adapter = KerasAdapter(model, options)
    result = adapter.train((X, Y), CONTEXT)
    assert set(result.metrics) == {"loss", "accuracy"}
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    assert float(model.optimizer.learning_rate) == pytest.approx(CONTEXT.learning_rate)
    with pytest.raises(Invalid, match=r"\[optimizer\] 'no-such'"):
        KerasAdapter(_model(), AdapterOptions(optimizer=Part("no-such")))


def test_a_model_that_is_not_compiled_says_so() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    adapter = KerasAdapter(model, AdapterOptions())
    with pytest.raises(Invalid, match="not compiled and there is no train step"):
        adapter.train((X, Y), CONTEXT)


def test_a_model_without_a_shape() -> None:
    model = keras.Sequential([layers.Dense(3)])
    with pytest.raises(Invalid, match=r"no weights yet; build it in the model step"):
        KerasAdapter(model, AdapterOptions())
    adapter = KerasAdapter(model, AdapterOptions(sample=lambda: (X, Y)))
    assert adapter.get_tensors()["dense/kernel"].shape == (4, 3)
    assert "first example of this machine's data" in adapter.from_data


class _Stopping(keras.utils.PyDataset):
    """A hundred batches; someone stops the run during the third."""

    def __init__(self, context: TrainContext) -> None:
        super().__init__()
        self.context, self.given = context, 0

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> Any:
        self.given += 1
        if self.given == 3:
            self.context.cancelled.set()
        return X[:8], Y[:8]


def test_training_can_be_stopped() -> None:
    context = TrainContext(1, 9, 1000, 8, 0.01)
    data = _Stopping(context)
    with pytest.raises(Cancelled):
        KerasAdapter(_model(), AdapterOptions()).train(data, context)
    assert data.given < 50


def test_several_inputs_by_name() -> None:
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    model = keras.Model([left, right], layers.Dense(1)(layers.Concatenate()([left, right])))
    model.compile("adam", "mse")
    data = {"left": X[:, :2], "right": X[:, 2:]}, X[:, 0]
    adapter = KerasAdapter(model, AdapterOptions())
    assert adapter.train(data, CONTEXT).examples == 32
    assert adapter.evaluate(data, CONTEXT).examples == 32
