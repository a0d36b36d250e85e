"""Scripts that train Keras models by ``fit``, watched from inside."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from watched_scripts import Warm

from fedops.storage import tensors

DATA = """\
import keras
import numpy as np
import torch
torch.set_num_threads(1)
keras.utils.set_random_seed(0)
X = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
y = (X[:, 0] > 0).astype("float32")
"""

FIT = """
from keras.layers import BatchNormalization, Dense, Dropout
model = keras.Sequential([Dense(5), BatchNormalization(), Dropout(0.3), Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
best = keras.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
model.fit(X, y, epochs=3, batch_size=16, validation_data=(X[:20], y[:20]), verbose=0, callbacks=[best])
print("after")
"""

STEP = """
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
            grads = [w.value.grad for w in self.trainable_weights]
            self.optimizer.apply(grads, self.trainable_weights)
        return {"loss": loss}

from torch.utils.data import DataLoader, TensorDataset
data = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=20)
model = Own()
model.compile("sgd")
model.fit(data, epochs=1, verbose=0)
model.fit(data, epochs=1, verbose=0)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("keras"), ["keras"])
    yield process
    process.close()


def test_a_fit_is_told_and_its_end_is_seen_before_the_best_weights_come_back(
    warm: Warm, tmp_path: Path
) -> None:
    run = warm.run(FIT, DATA)
    seen = run.seen
    assert [(m.name, m.framework, m.where) for m in seen.models] == [
        ("Sequential", "keras", "main.py:13")
    ]
    kinds = {row.name: row.kind for row in seen.models[0].tensors}
    assert kinds["dense_1/kernel"] == "parameter"
    assert kinds["batch_normalization/moving_mean"] == "buffer"
    assert (seen.passes, seen.steps, seen.examples) == (3, 12, 150)
    assert {"loss", "mae", "val_loss", "val_mae"} == seen.metrics.keys()
    assert run.kinds == {"begins_anew": "difference", "other_weights_at_the_end": "question"}
    tensors.save(run.tensors("v0"), tmp_path / "own.safetensors")
    again = warm.again(
        run.place, model=tmp_path / "own.safetensors", result="script", evaluate=True
    )
    assert again.seen.used is True
    assert again.seen.evaluated.keys() == {"loss", "mae"}
    assert again.seen.evaluated_examples == 20
    for name, array in again.tensors("result").items():
        assert np.array_equal(array, run.tensors("script")[name]), name
        assert not np.array_equal(array, run.tensors("result")[name]), name


def test_another_model_is_trained_a_pass_on_a_part_and_drawn_towards_itself(
    warm: Warm, tmp_path: Path
) -> None:
    given = {"dense/kernel": np.full((4, 1), 9, "float32"), "dense/bias": np.ones(1, "float32")}
    tensors.save(given, tmp_path / "given.safetensors")
    script = (
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
        "model.compile(keras.optimizers.SGD(0.01), 'mse')\n"
        "model.fit(X, y, epochs=2, batch_size=5, verbose=0)\nprint('not reached')\n"
    )
    asked = {"model": tmp_path / "given.safetensors", "passes": 1, "part": (1, 2)}
    free = warm.run(script, DATA, **asked)
    assert (free.seen.used, free.seen.ended, free.seen.passes, free.seen.examples) == (
        True,
        "passes",
        1,
        25,
    )
    assert free.output == ""
    held = warm.run(script, DATA, **asked, proximal_mu=50.0)
    way = np.abs(free.tensors("result")["dense/kernel"] - 9).sum()
    assert 0 < np.abs(held.tensors("result")["dense/kernel"] - 9).sum() < way * 0.7


def test_an_own_train_step_is_fitted_in_two_calls(warm: Warm) -> None:
    run = warm.run(STEP, DATA)
    assert run.seen.models[0].kind == "__main__.Own"
    assert (run.seen.steps, run.seen.passes, run.seen.examples) == (6, 2, 100)
    assert run.kinds == {}
    mean = STEP.replace("return {", "self._loss_tracker.update_state(loss)\n        return {")
    arrays = mean.replace('"sgd")', '"sgd", "mse")').replace("fit(data", "fit(X, y, batch_size=20")
    assert warm.run(arrays, DATA).seen.examples == 100, "not one for each batch"
    other = "model.set_weights([w * 2 for w in model.get_weights()])\nmodel.fit(data, verbose=0)\n"
    assert warm.run(STEP + other, DATA).kinds == {"two_phases": "question"}


def test_a_look_does_not_end_a_short_run(warm: Warm) -> None:
    script = (
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(X, y, epochs=3, batch_size=25, verbose=0)\n"
        "model.fit(X, y, epochs=3, batch_size=25, verbose=0)\n"
    )
    seen = warm.run(script, DATA, passes=2, steps=3, earliest_end=60.0).seen
    assert (seen.ended, seen.passes, seen.steps, len(seen.loaders)) == ("script", 6, 12, 2)
    long = warm.run(script, DATA, passes=9, steps=3).seen
    assert (long.ended, long.passes, long.steps, long.examples) == ("steps", 2, 3, 75)


def test_a_loop_of_its_own_is_refused(warm: Warm) -> None:
    script = (
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\nmodel.train_on_batch(X, y)\nprint('not reached')\n"
    )
    run = warm.run(script, DATA)
    assert run.kinds == {"own_keras_loop": "refusal"}
    assert run.seen.notes[0].where == "main.py:10"
    assert run.output == "", "nobody waits for its end"


@pytest.mark.parametrize(("script", "known"), [(FIT, 50), (STEP, None)], ids=["arrays", "loader"])
def test_a_look_at_a_given_model_ends_before_it_is_trained(
    warm: Warm, script: str, known: int | None
) -> None:
    run = warm.run(script, DATA)
    look = warm.again(run.place, model=run.folder / "v0.safetensors", only_begin=True)
    assert (look.seen.ended, look.seen.used, look.seen.steps) == ("begun", True, 0)
    (loader,) = look.seen.loaders
    assert (loader.examples, loader.trains) == (known, True)
