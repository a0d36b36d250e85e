"""Scripts whose loop is a framework's: Keras and scikit-learn, each brought in and proven."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from proven_scripts import EQUAL, Prover

KERAS = """
import keras
import numpy as np
import torch

keras.utils.set_random_seed(4)
X = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
y = (X[:, 0] > 0).astype("float32")
"""
SKLEARN = """
import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X = np.random.default_rng(0).normal(size=(60, 4))
y = np.digitize(X[:, 0], [-0.5, 0.5])
"""


@pytest.fixture(scope="module")
def prover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prover]:
    modules = ("keras", "sklearn.linear_model", "sklearn.neural_network", "sklearn.pipeline")
    made = Prover(tmp_path_factory.mktemp("fits"), *modules)
    yield made
    made.close()


def test_keras_fit_with_its_callbacks(prover: Prover) -> None:
    script = (
        KERAS
        + """
from keras import callbacks, layers
model = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dropout(0.2), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
best = callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
kept = callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)
model.fit(X, y, epochs=3, batch_size=16, validation_split=0.25, callbacks=[best, kept], verbose=0)
model.save("model.keras")
print(model.evaluate(X, y, verbose=0))
"""
    )
    done = prover.prove(script)
    assert [(m.name, m.framework, m.where) for m in done.seen.models] == [
        ("Sequential", "keras", "main.py:15")
    ]
    assert (done.seen.passes, done.seen.examples, done.script.passes) == (3, 108, 1)
    assert done.proof == EQUAL
    assert done.kinds == {"begins_anew", "other_weights_at_the_end"}


def test_a_keras_model_with_its_own_train_step(prover: Prover) -> None:
    script = (
        KERAS
        + """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20)

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(x)

    def train_step(self, batch):
        x, y = batch
        self.zero_grad()
        loss = ((self(x, training=True)[:, 0] - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            weights = self.trainable_weights
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        return {"loss": loss}

model = Own()
model.compile(keras.optimizers.SGD(0.05))
model.fit(X, y, epochs=parser.parse_args().epochs, batch_size=12, verbose=0)
"""
    )
    done = prover.prove(script, "--epochs", "2")
    assert done.seen.models[0].kind == "__main__.Own"
    assert done.script.command == ["python", "main.py", "--epochs", "1"]
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_an_estimator_that_is_fitted_in_a_pipeline(prover: Prover) -> None:
    script = SKLEARN + (
        "net = MLPClassifier((5,), max_iter=3, random_state=0)\n"
        "print(make_pipeline(StandardScaler(), net).fit(X, y).score(X, y))\n"
    )
    done = prover.prove(script)
    assert [(m.name, m.framework) for m in done.seen.models] == [("MLPClassifier", "sklearn")]
    assert done.proof == EQUAL
    assert done.kinds == {"learns_locally"}


def test_an_estimator_that_is_fitted_batch_by_batch(prover: Prover) -> None:
    script = SKLEARN + (
        "model = SGDClassifier(random_state=0)\n"
        "for epoch in range(3):\n"
        "    for start in range(0, 60, 20):\n"
        "        some = slice(start, start + 20)\n"
        "        model.partial_fit(X[some], y[some], classes=[0, 1, 2])\n"
    )
    done = prover.prove(script)
    assert (done.models, done.seen.steps) == (["SGDClassifier"], 9)
    assert (done.proof, done.kinds) == (EQUAL, set())
