"""Small models of every framework, as ``check_adapter`` wants them. A framework is imported when used."""

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedops.config.schema import Dataset, Exchange
from fedops.scalize.adapter.conformance import CONTEXT
from fedops.scalize.adapter.protocol import AdapterOptions, ModelAdapter, Part
from fedops.scalize.adapter.random_state import seed_everything

os.environ.setdefault("KERAS_BACKEND", "torch")

RNG = np.random.default_rng(5)
X = RNG.random((45, 6))
THREE = np.arange(45) % 3
TWO = (X[:, 0] > 0.5).astype(int)
NUMBERS = X @ np.arange(6.0) + 1


@dataclass(frozen=True)
class Case:
    adapter: str
    name: str
    build: Callable[[], Any]
    data: Callable[[], Any]
    options: Callable[[], AdapterOptions] = AdapterOptions
    #: The framework's own training, in place, after the model was built and the seed set.
    fit: Callable[[Any, Any], None] | None = None

    def make(self, seed: int) -> ModelAdapter:
        return adapter_class(self.adapter)(self.build(), self.options())

    def locally(self, seed: int) -> dict[str, Any]:
        seed_everything(seed)
        model, data = self.build(), self.data()
        seed_everything(CONTEXT.seed)
        assert self.fit is not None
        self.fit(model, data)
        # The adapter reads the arrays; it neither trains nor writes here.
        return arrays_of(self.adapter, model)


MODULES = {
    "huggingface": (
        "fedops.scalize.frameworks.huggingface",
        "HuggingFaceAdapter",
        ("peft", "transformers"),
    ),
    "keras": ("fedops.scalize.frameworks.keras", "KerasAdapter", ("keras",)),
    "pytorch": ("fedops.scalize.frameworks.pytorch", "PyTorchAdapter", ("torch",)),
    "sklearn": ("fedops.scalize.frameworks.sklearn", "SklearnAdapter", ("sklearn",)),
}


def adapter_class(name: str) -> Any:
    module, cls, _ = MODULES[name]
    return getattr(importlib.import_module(module), cls)


def arrays_of(adapter: str, model: Any) -> dict[str, Any]:
    if adapter == "keras":
        from fedops.scalize.frameworks.keras import named_variables, to_numpy

        return {n: to_numpy(v).copy() for n, v in named_variables(model).items()}
    if adapter == "sklearn":
        from fedops.scalize.frameworks.sklearn_estimators import parts_of

        return {f"{p.prefix}{n}": a for p in parts_of(model, None) for n, a in p.read().items()}
    from fedops.scalize.frameworks.pytorch_tensors import named_tensors, to_numpy

    return {n: to_numpy(t) for n, t in named_tensors(model).items()}


def _options_for(dtype: str) -> AdapterOptions:
    # Adam's epsilon is nothing in float16.
    return AdapterOptions(optimizer=Part("sgd") if dtype == "float16" else None)


def _optimizer_for(model: Any) -> Any:
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    half = any(p.dtype == torch.float16 for p in trainable)
    return (torch.optim.SGD if half else torch.optim.Adam)(trainable, lr=CONTEXT.learning_rate)


# --- PyTorch -----------------------------------------------------------------------------------


def _torch_data() -> Any:
    import torch
    from torch.utils.data import TensorDataset

    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(THREE))


def _torch_model(dtype: str = "float32") -> Any:
    """Names that mislead, statistics, tied and frozen and strided and 0-d tensors."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.subnet = nn.Linear(6, 8)
            self.norm = nn.BatchNorm1d(8)
            self.bnorm_head = nn.Linear(8, 8)
            self.tied = nn.Linear(8, 8)
            self.tied.weight = self.bnorm_head.weight
            self.strided = nn.Parameter(torch.randn(3, 8).t())
            self.scale = nn.Parameter(torch.tensor(1.5))
            self.frozen = nn.Linear(6, 8)
            self.frozen.requires_grad_(False)
            self.register_buffer("calls", torch.tensor(0, dtype=torch.int64))
            self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))

        def forward(self, x: Any) -> Any:
            x = x.to(self.scale.dtype)
            if self.training:
                self.calls += 1
            hidden = torch.relu(self.norm(self.subnet(x) + self.frozen(x)))
            hidden = torch.dropout(self.bnorm_head(hidden), 0.2, self.training)
            return (self.scale * self.tied(hidden) @ self.strided).float()

    return Net().to(getattr(torch, dtype))


def _torch_fit(model: Any, data: Any) -> None:
    import torch
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    generator = torch.Generator().manual_seed(CONTEXT.seed)
    order = BatchSampler(RandomSampler(data, generator=generator), CONTEXT.batch_size, False)
    loader = DataLoader(data, sampler=order, batch_size=None, generator=generator)
    optimizer = _optimizer_for(model)
    model.train()
    for features, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(features), labels).backward()
        optimizer.step()


def _pytorch() -> Iterator[Case]:
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        build = lambda d=dtype: _torch_model(d)  # noqa: E731
        options = lambda d=dtype: _options_for(d)  # noqa: E731
        yield Case("pytorch", dtype, build, _torch_data, options, _torch_fit)
    for name, exchange in {
        "statistics and heads stay local": Exchange(
            float_buffers="local", integer_buffers="local", local=["*head*"]
        ),
        "float16 travels": Exchange(dtype="float16"),
    }.items():
        options = lambda e=exchange: AdapterOptions(exchange=e)  # noqa: E731
        yield Case("pytorch", name, _torch_model, _torch_data, options)


# --- Keras -------------------------------------------------------------------------------------


def _keras_data() -> Any:
    return X.astype("float32"), THREE


def _compiled(model: Any, optimizer: Any = "adam") -> Any:
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _keras_sequential(policy: str = "float32") -> Any:
    import keras

    keras.config.set_dtype_policy(policy)
    try:
        layers = [
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(3, activation="softmax"),
        ]
        return _compiled(
            keras.Sequential([keras.Input((6,)), *layers]), keras.optimizers.Adam(0.01)
        )
    finally:
        keras.config.set_dtype_policy("float32")


def _keras_shared() -> Any:
    """One layer used twice, one frozen, an integer counter and a 0-d weight."""
    import keras

    class Counting(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            options = {"initializer": "zeros", "trainable": False}
            # JAX has no 64 bits unless it is told so.
            whole = "int32" if keras.backend.backend() == "jax" else "int64"
            self.calls = self.add_weight(shape=(), dtype=whole, name="calls", **options)
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                self.calls.assign_add(1)
            return x * self.scale

    inputs = keras.Input((6,))
    shared = keras.layers.Dense(6, name="subnet")
    frozen = keras.layers.Dense(6, trainable=False)
    hidden = shared(keras.layers.Activation("relu")(shared(frozen(inputs))))
    outputs = keras.layers.Dense(3, activation="softmax", name="bnorm_head")(Counting()(hidden))
    return _compiled(keras.Model(inputs, outputs), "sgd")


def _keras_subclass() -> Any:
    """A model that has no weights before it was called."""
    import keras

    class Noisy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(4)
            self.noise = keras.layers.GaussianNoise(0.1)
            self.outlet = keras.layers.Dense(3, activation="softmax")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.outlet(self.noise(self.hidden(x), training=training))

    model = _compiled(Noisy())
    model(X[:1].astype("float32"))
    return model


def _keras_fit(model: Any, data: Any) -> None:
    model.fit(*data, batch_size=CONTEXT.batch_size, epochs=CONTEXT.epochs, verbose=0)


def _keras() -> Iterator[Case]:
    for policy in ("float32", "float16", "bfloat16", "mixed_float16"):
        build = lambda p=policy: _keras_sequential(p)  # noqa: E731
        yield Case("keras", policy, build, _keras_data, fit=_keras_fit)
    yield Case("keras", "shared and frozen layers", _keras_shared, _keras_data, fit=_keras_fit)
    yield Case("keras", "subclassed", _keras_subclass, _keras_data, fit=_keras_fit)


# --- scikit-learn ------------------------------------------------------------------------------


def _sklearn_fit(model: Any, data: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one round need not converge
        model.fit(*data)


def _sklearn_models() -> Iterator[tuple[Callable[[], Any], Any]]:
    from sklearn import linear_model as linear
    from sklearn import naive_bayes as bayes
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler

    yield lambda: linear.SGDClassifier(), THREE
    yield lambda: linear.SGDClassifier(loss="log_loss", random_state=3), TWO
    yield lambda: linear.LogisticRegression(), THREE
    yield lambda: linear.Perceptron(), THREE
    yield lambda: linear.SGDRegressor(), NUMBERS
    yield lambda: linear.Ridge(), NUMBERS
    yield lambda: linear.LinearRegression(fit_intercept=False), NUMBERS
    yield lambda: MLPClassifier((6, 4), max_iter=4, random_state=1), THREE
    yield lambda: MLPClassifier((6,), max_iter=4, early_stopping=True, random_state=2), TWO
    yield lambda: MLPRegressor(hidden_layer_sizes=(5,), max_iter=4, random_state=3), NUMBERS
    yield lambda: MLPClassifier((4,), max_iter=4, solver="lbfgs", random_state=4), THREE
    yield lambda: bayes.GaussianNB(), THREE
    yield lambda: bayes.MultinomialNB(), THREE
    yield lambda: bayes.BernoulliNB(binarize=0.5), TWO
    yield lambda: bayes.ComplementNB(), THREE
    yield lambda: make_pipeline(StandardScaler(), linear.SGDClassifier(random_state=0)), THREE
    yield lambda: make_pipeline(MinMaxScaler((-1, 1)), linear.LogisticRegression()), TWO
    yield (
        lambda: make_pipeline(MaxAbsScaler(), PolynomialFeatures(2), bayes.MultinomialNB()),
        THREE,
    )


def _sklearn() -> Iterator[Case]:
    for number, (build, y) in enumerate(_sklearn_models()):
        classes = None if y is NUMBERS else sorted(set(y.tolist()))
        options = lambda c=classes: AdapterOptions(dataset=Dataset(features=6, classes=c))  # noqa: E731
        name = f"{number}-{str(build()).splitlines()[0][:40]}"
        yield Case("sklearn", name, build, lambda y=y: (X, y), options, _sklearn_fit)


# --- Transformers ------------------------------------------------------------------------------


def _texts() -> Any:
    import torch

    rng = np.random.default_rng(1)
    rows = rng.integers(2, 30, size=(24, 7))
    return [
        {
            "input_ids": torch.tensor(row),
            "attention_mask": torch.ones(7, dtype=torch.long),
            "labels": torch.tensor(int(row[0] > 15)),
        }
        for row in rows
    ]


def _bert(dtype: str = "float32", lora: bool = True) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=2,
    )
    model = BertForSequenceClassification(config).to(getattr(torch, dtype))
    if not lora:
        return model
    options = LoraConfig(
        task_type="SEQ_CLS", r=2, lora_dropout=0.1, target_modules=["query", "value"]
    )
    return get_peft_model(model, options, autocast_adapter_dtype=False)


def _bert_fit(model: Any, data: Any) -> None:
    import torch
    from torch.utils.data import DataLoader

    generator = torch.Generator().manual_seed(CONTEXT.seed)
    loader = DataLoader(data, CONTEXT.batch_size, shuffle=True, generator=generator)
    optimizer = _optimizer_for(model)
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()


def _tied_gpt() -> Any:
    """A language model whose output shares the weights of its embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    )


def _sentences() -> Any:
    return [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in _texts()]


def _huggingface() -> Iterator[Case]:
    for dtype in ("float32", "float16", "bfloat16"):
        build = lambda d=dtype: _bert(d)  # noqa: E731
        options = lambda d=dtype: _options_for(d)  # noqa: E731
        yield Case("huggingface", f"lora {dtype}", build, _texts, options, _bert_fit)
    yield Case("huggingface", "whole model", lambda: _bert(lora=False), _texts, fit=_bert_fit)
    yield Case("huggingface", "tied language model", _tied_gpt, _sentences, fit=_bert_fit)


CASES = {
    "huggingface": _huggingface,
    "keras": _keras,
    "pytorch": _pytorch,
    "sklearn": _sklearn,
}
