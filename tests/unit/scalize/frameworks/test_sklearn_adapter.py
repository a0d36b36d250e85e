"""scikit-learn: what is sized, started, refused and forgotten."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from fedops.algorithms.aggregation import elementwise_max, weighted_mean
from fedops.config.schema import Dataset, Exchange
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import AdapterOptions, TrainContext, TrainResult
from fedops.scalize.adapter.random_state import seed_everything
from fedops.scalize.frameworks.sklearn import SklearnAdapter
from fedops.storage.tensors import Tensors

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 4))
Y = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int) + (X[:, 3] > 1)
CONTEXT = TrainContext(1, 9, 1, 16, 0.01)


def _options(**more: Any) -> AdapterOptions:
    return AdapterOptions(dataset=Dataset(features=4, classes=[0, 1, 2]), **more)


def test_arrays_exist_before_the_first_fit() -> None:
    tensors = SklearnAdapter(LogisticRegression(), _options()).get_tensors()
    assert {name: array.shape for name, array in tensors.items()} == {
        "coef_": (3, 4),
        "intercept_": (3,),
    }
    assert not any(array.any() for array in tensors.values())


def test_a_perceptron_begins_with_its_own_random_weights() -> None:
    seed_everything(4)
    drawn = SklearnAdapter(MLPClassifier((5,)), _options()).get_tensors()
    seed_everything(4)
    again = SklearnAdapter(MLPClassifier((5,)), _options()).get_tensors()
    seed_everything(5)
    other = SklearnAdapter(MLPClassifier((5,)), _options()).get_tensors()
    assert (drawn["coefs_.0"] == again["coefs_.0"]).all()
    assert (drawn["coefs_.0"] != other["coefs_.0"]).all()
    assert (drawn["coefs_.0"] != 0).all()


@pytest.mark.parametrize(
    "model", [MLPClassifier((5,), max_iter=3), MLPClassifier((5, 3), max_iter=3)]
)
def test_a_perceptron_without_a_seed_equals_a_plain_fit(model: MLPClassifier) -> None:
    seed_everything(CONTEXT.seed)
    plain = clone(model)
    with pytest.warns(UserWarning, match="iterations"):
        plain.fit(X, Y)
    seed_everything(CONTEXT.seed)
    adapter = SklearnAdapter(clone(model), _options())
    adapter.train((X, Y), CONTEXT)
    for mine, theirs in zip(adapter.model.coefs_, plain.coefs_, strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_the_size_can_come_from_the_data() -> None:
    calls: list[int] = []

    def sample() -> Any:
        calls.append(1)
        return X, np.array(["no", "yes", "maybe"])[Y]

    adapter = SklearnAdapter(LogisticRegression(), AdapterOptions(sample=sample))
    assert adapter.get_tensors()["coef_"].shape == (3, 4)
    assert "features = 4 and classes = ['maybe', 'no', 'yes']" in adapter.from_data
    SklearnAdapter(LogisticRegression(), _options(sample=sample))
    assert calls == [1], "the config says it all: the data is not needed"
    assert SklearnAdapter(LogisticRegression(), _options(sample=sample)).from_data == ""


def test_without_a_size_there_is_no_model() -> None:
    with pytest.raises(Invalid, match=r"features = <number of columns> and classes"):
        SklearnAdapter(LogisticRegression(), AdapterOptions())
    with pytest.raises(Invalid, match=r"features = <number of columns> under"):
        SklearnAdapter(Ridge(), AdapterOptions())


def test_a_device_without_a_class_still_takes_part() -> None:
    few = Y != 2
    for model in (
        SGDClassifier(loss="log_loss", random_state=0),
        LogisticRegression(),
        MLPClassifier((4,), max_iter=3, random_state=0),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ):
        adapter = SklearnAdapter(model, _options())
        before = adapter.get_tensors()
        result = adapter.train((X[few], Y[few]), CONTEXT)
        after = adapter.get_tensors()
        assert result.examples == few.sum()
        assert any((after[n] != before[n]).any() for n in after)
        assert all(np.isfinite(array).all() for array in after.values())
        assert adapter.evaluate((X, Y), CONTEXT).metrics["accuracy"] > 0.3


def test_a_label_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Invalid, match=r"label 7, which is none of the classes '0', '1', '2'"):
        SklearnAdapter(SGDClassifier(), _options()).train((X, Y + 7), CONTEXT)


def test_rounds_go_on_from_the_received_weights() -> None:
    adapter = SklearnAdapter(SGDClassifier(max_iter=1, tol=None, random_state=0), _options())
    scores = []
    for _ in range(4):
        adapter.train((X, Y), CONTEXT)
        scores.append(adapter.evaluate((X, Y), CONTEXT).metrics["accuracy"])
    assert scores[-1] > scores[0]
    assert adapter.model.warm_start is False, "only while training"


def _average(updates: list[Tensors], adapter: SklearnAdapter, weights: list[float]) -> Tensors:
    rules = {spec.name: spec.rule for spec in adapter.contract.parameters}
    mean = [name for name, rule in rules.items() if rule is ExchangeRule.MEAN]
    largest = [name for name, rule in rules.items() if rule is ExchangeRule.MAX]
    return {**weighted_mean(updates, weights, mean), **elementwise_max(updates, largest)}


def _scaled(scaler: Any, exchange: Exchange | None = None) -> list[SklearnAdapter]:
    exchange = exchange or Exchange()
    return [
        SklearnAdapter(
            make_pipeline(clone(scaler), LogisticRegression()), _options(exchange=exchange)
        )
        for _ in range(2)
    ]


HALVES = ((X[:60], Y[:60]), (X[60:] * 3 + 1, Y[60:]))


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler()])
def test_a_scaler_is_fitted_once_and_then_shared(scaler: Any) -> None:
    adapters = _scaled(scaler)
    for adapter, data in zip(adapters, HALVES, strict=True):
        adapter.train(data, CONTEXT)
    learnt = [a.model[0].scale_.copy() for a in adapters]
    assert (learnt[0] != learnt[1]).all(), "each on its own data"
    merged = _average([a.get_tensors() for a in adapters], adapters[0], [60, 60])
    for adapter, data in zip(adapters, HALVES, strict=True):
        adapter.set_tensors(merged)
        shared = adapter.model[0].scale_.copy()
        adapter.train(data, CONTEXT)
        assert (adapter.model[0].scale_ == shared).all(), "used as received"
    assert (adapters[0].model[0].scale_ == adapters[1].model[0].scale_).all()


def test_shared_ranges_are_those_of_all_the_data() -> None:
    adapters = _scaled(MinMaxScaler())
    for adapter, data in zip(adapters, HALVES, strict=True):
        adapter.train(data, CONTEXT)
    merged = _average([a.get_tensors() for a in adapters], adapters[0], [60, 60])
    adapters[0].set_tensors(merged)
    whole = MinMaxScaler().fit(np.vstack([HALVES[0][0], HALVES[1][0]]))
    for name in ("data_min_", "data_max_", "scale_", "min_"):
        assert (getattr(adapters[0].model[0], name) == getattr(whole, name)).all()


def test_a_scaler_can_stay_local() -> None:
    local = Exchange(float_buffers="local", integer_buffers="local")
    (adapter, _) = _scaled(StandardScaler(), local)
    travelling = [spec.name for spec in adapter.contract.federated]
    assert travelling == ["logisticregression.coef_", "logisticregression.intercept_"]


def test_counts_of_naive_bayes_add_up() -> None:
    counts = RNG.integers(0, 5, size=(60, 4))
    adapter = SklearnAdapter(MultinomialNB(), _options())
    adapter.evaluate((counts, Y[:60]), CONTEXT)  # before it knows anything
    adapter.train((counts, Y[:60]), CONTEXT)
    plain = MultinomialNB().fit(counts, Y[:60])
    assert (adapter.model.feature_count_ == plain.feature_count_).all()
    assert (adapter.model.predict_proba(counts) == plain.predict_proba(counts)).all()
    tensors = adapter.get_tensors()
    other = SklearnAdapter(MultinomialNB(), _options())
    other.set_tensors(tensors)
    assert (other.model.predict_proba(counts) == plain.predict_proba(counts)).all()


def test_texts_through_a_transformer_that_learns_nothing() -> None:
    texts = np.array(["good soup", "bad soup", "good bread", "bad wine"] * 10)
    labels = np.array([1, 0, 1, 0] * 10)
    model = make_pipeline(HashingVectorizer(n_features=16), SGDClassifier(random_state=0))
    adapter = SklearnAdapter(model, AdapterOptions(sample=lambda: (texts, labels)))
    adapter.train((texts, labels), CONTEXT)
    assert adapter.evaluate((texts, labels), CONTEXT).metrics["accuracy"] == 1.0


def test_a_data_frame_keeps_its_names() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    adapter = SklearnAdapter(model, AdapterOptions(sample=lambda: (frame, Y)))
    adapter.evaluate((frame, Y), CONTEXT)
    adapter.train((frame, Y), CONTEXT)
    plain = make_pipeline(StandardScaler(), SGDClassifier(random_state=0)).fit(frame, Y)
    assert adapter.get_tensors()["sgdclassifier.coef_"].tobytes() == plain[1].coef_.tobytes()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (DecisionTreeClassifier(), "DecisionTreeClassifier cannot be averaged"),
        (SGDClassifier(average=True), "keeps two sets of weights"),
        (make_pipeline(OneHotEncoder(), SGDClassifier()), "OneHotEncoder learns from the data"),
    ],
)
def test_what_cannot_be_averaged_is_refused(model: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        SklearnAdapter(model, _options())


def test_data_of_another_kind_is_refused() -> None:
    adapter = SklearnAdapter(SGDClassifier(), _options())
    with pytest.raises(Invalid, match=r"needs data as \(X, y\).*gave a list"):
        adapter.train([1, 2], CONTEXT)


def test_fedprox_is_refused() -> None:
    context = TrainContext(1, 9, 1, 16, 0.01, proximal_mu=0.1)
    with pytest.raises(Invalid, match="proximal term cannot be applied inside scikit-learn"):
        SklearnAdapter(SGDClassifier(), _options()).train((X, Y), context)


class _Own:
    """A train step that answers with another estimator."""

    def takes(self, key: str) -> bool:
        return False

    def __call__(self, offers: Mapping[str, Any], adopt: Any = None) -> TrainResult:
        assert adopt(clone(offers["model"]).fit(*offers["train_data"]))
        assert not adopt("a text")
        return TrainResult(1)


def test_an_estimator_that_is_returned_is_taken_over() -> None:
    adapter = SklearnAdapter(LogisticRegression(), _options(train=_Own()))
    adapter.train((X, Y), CONTEXT)
    plain = LogisticRegression().fit(X, Y)
    assert adapter.get_tensors()["coef_"].tobytes() == plain.coef_.tobytes()


@pytest.mark.parametrize("labels", [np.array([0.0, 1.0] * 20), np.array([True, False] * 20)])
def test_labels_are_told_as_the_config_can_hold_them(labels: Any) -> None:
    data = (np.random.default_rng(0).random((40, 3)), labels)
    adapter = SklearnAdapter(LogisticRegression(), AdapterOptions(sample=lambda: data))
    assert "classes = [0, 1] " in adapter.from_data
    adapter.train(data, TrainContext(1, 1, 1, 8, 0.1))
    assert adapter.evaluate(data, TrainContext(1, 1, 1, 8, 0.1)).metrics["accuracy"] >= 0.0
