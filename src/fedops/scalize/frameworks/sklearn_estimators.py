"""The stateful parts of a scikit-learn model, each as named arrays that can be read and written.

An estimator has no arrays before its first ``fit``. It is fitted once on made-up rows of the right width,
which gives every array its shape, and then put back to where a first ``fit`` would start: zero for
linear models and counts, the estimator's own random initialisation for perceptrons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import clone
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.utils import check_random_state, get_tags

from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import TensorInfo
from fedops.scalize.adapter.protocol import AdapterOptions
from fedops.scalize.flow.datasets import is_pair

Arrays = dict[str, npt.NDArray[Any]]
#: So small that adding it to a count changes no count but zero.
_ALMOST_NOTHING = 5e-324


def classifies(model: Any) -> bool:
    """Whether a model predicts classes rather than numbers."""
    return bool(get_tags(model).estimator_type == "classifier")


@dataclass(frozen=True)
class Inputs:
    """What a model is sized by."""

    features: int
    classes: tuple[Any, ...] | None = None
    columns: tuple[Any, ...] | None = None  #: of a data frame
    text: bool = False

    def rows(self) -> tuple[Any, npt.NDArray[Any]]:
        """Made-up examples with every class among the labels."""
        rng = np.random.default_rng(0)
        kinds = len(self.classes or ())
        x: Any = rng.random((max(12, 4 * kinds), self.features))
        y = np.resize(np.array(self.classes), len(x)) if self.classes else rng.random(len(x))
        if self.text:
            x = np.array([f"word{index % 3} and word{index % 5}" for index in range(len(x))])
        elif self.columns:
            import pandas  # where there is a data frame, there is pandas

            x = pandas.DataFrame(x, columns=list(self.columns))
        return x, y


def inputs_from(options: AdapterOptions, classifier: bool) -> Inputs:
    """From ``[dataset]`` where it says it, else from this machine's training data.

    Raises:
        Invalid: neither tells.
    """
    features, classes = options.dataset.features, options.dataset.classes
    if features and (classes or not classifier):
        return Inputs(features, tuple(classes) if classifier and classes else None)
    if options.sample is None:
        raise Invalid(
            "a scikit-learn model has no arrays before it has seen data; write features = <number of columns>"
            f"{' and classes = [<all labels>]' if classifier else ''} under [dataset] in the config"
        )
    data = options.sample()
    if not is_pair(data):
        raise Invalid(
            f"scikit-learn needs data as (X, y); the data step gave a {type(data).__name__}"
        )
    return _inputs_of(data[0], data[1], classifier, classes)


def _inputs_of(x: Any, y: Any, classifier: bool, classes: Any) -> Inputs:
    columns = tuple(x.columns) if hasattr(x, "columns") else None
    text = len(x.shape) == 1
    seen = [_plain(label) for label in np.unique(np.asarray(y)).tolist()] if classifier else None
    known = tuple(classes or seen or ()) if classifier else None
    return Inputs(1 if text else int(x.shape[1]), known, columns, text)


def _plain(label: Any) -> Any:
    """A label as ``[dataset] classes`` can hold it: true and 1.0 equal 1."""
    whole = isinstance(label, bool) or (isinstance(label, float) and label.is_integer())
    return int(label) if whole else label


@dataclass
class Part:
    """An estimator with plain array attributes: linear models, and scalers by way of ``Scaler``."""

    estimator: Any
    prefix: str
    names: tuple[str, ...]
    buffers: tuple[str, ...] = ()
    #: Arrays of which the elementwise largest is taken instead of the mean.
    largest: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        return name.startswith(self.prefix) and name.removeprefix(self.prefix) in self.names

    def infos(self) -> list[TensorInfo]:
        return [
            TensorInfo(self.prefix + n, a.shape, a.dtype.name, buffer=n in self.buffers)
            for n, a in self.read().items()
        ]

    def read(self) -> Arrays:
        return {name: np.asarray(getattr(self.estimator, name)) for name in self.names}

    def write(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, array in arrays.items():
            setattr(self.estimator, name, array.copy() if array.ndim else array[()])

    def fit(self, x: Any, y: Any, missing: list[Any], inputs: Inputs) -> None:
        """Go on from the arrays; classes without an example take part with weight zero."""
        if not missing:
            self.estimator.fit(x, y)
            return
        zeros = np.zeros((len(missing), x.shape[1]))
        stack = sparse.vstack if sparse.issparse(x) else np.vstack
        weights = np.r_[np.ones(x.shape[0]), np.zeros(len(missing))]
        labels = np.concatenate([np.asarray(y), missing])
        self.estimator.fit(stack([x, zeros]), labels, sample_weight=weights)

    def fit_whole(self, pipeline: Any, x: Any, y: Any, inputs: Inputs) -> None:
        """The first fit of a pipeline that ends here."""
        pipeline.fit(x, y)


class Scaler(Part):
    """A transformer that learns statistics; untouched until it has seen an example."""

    @property
    def fitted(self) -> bool:
        return bool(np.any(self.estimator.n_samples_seen_))


class MinMax(Scaler):
    """Its range travels as two maxima, of which the other arrays follow."""

    def read(self) -> Arrays:
        e = self.estimator
        return {
            "n_samples_seen_": np.asarray(e.n_samples_seen_),
            "data_max_": np.asarray(e.data_max_),
            "minus_data_min": -np.asarray(e.data_min_),
        }

    def write(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        e, (low, high) = self.estimator, self.estimator.feature_range
        e.n_samples_seen_ = int(arrays["n_samples_seen_"])
        e.data_max_ = np.array(arrays["data_max_"])
        e.data_min_ = -np.asarray(arrays["minus_data_min"])
        e.data_range_ = e.data_max_ - e.data_min_
        constant = e.data_range_ < 10 * np.finfo(e.data_range_.dtype).eps
        e.scale_ = (high - low) / np.where(constant, 1.0, e.data_range_)
        e.min_ = low - e.data_min_ * e.scale_


class Perceptrons(Part):
    """MLPClassifier and MLPRegressor: a list of weights and one of biases."""

    def read(self) -> Arrays:
        e = self.estimator
        pairs = enumerate(zip(e.coefs_, e.intercepts_, strict=True))
        return {
            f"{kind}.{i}": np.asarray(array)
            for i, both in pairs
            for kind, array in zip(("coefs_", "intercepts_"), both, strict=True)
        }

    def write(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, array in arrays.items():
            kind, _, index = name.partition(".")
            getattr(self.estimator, kind)[int(index)] = array.copy()


class Bayes(Part):
    """Naive Bayes: counts (or moments) that ``partial_fit`` goes on from."""

    def write(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super().write(arrays)
        e = self.estimator
        if isinstance(e, GaussianNB):
            total = e.class_count_.sum()
            even = np.full_like(e.class_count_, 1.0 / len(e.class_count_))
            e.class_prior_ = (
                np.array(e.priors)
                if e.priors is not None
                else (e.class_count_ / total if total else even)
            )
            return
        zeros = np.zeros((len(e.classes_), e.n_features_in_))
        with np.errstate(all="ignore"):  # any numbers may be written here, negative counts too
            e.partial_fit(zeros, e.classes_, sample_weight=np.full(len(zeros), _ALMOST_NOTHING))
        super().write(arrays)

    def fit(self, x: Any, y: Any, missing: list[Any], inputs: Inputs) -> None:
        self.estimator.partial_fit(x, y, classes=np.array(inputs.classes))


# --- recognising and sizing --------------------------------------------------------------------


def parts_of(model: Any, inputs: Inputs | None) -> list[Part]:
    """The stateful parts in order, the predictor last. With ``inputs`` they are made blank.

    Raises:
        Invalid: something in it cannot be averaged.
    """
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    x, y = inputs.rows() if inputs else (None, None)
    parts: list[Part] = []
    for name, step in steps[:-1]:
        if step in (None, "passthrough"):
            continue
        if part := _transformer(step, f"{name}.", x, y):
            parts.append(part)
        x = step.transform(x) if inputs else None
    name, last = steps[-1]
    if inputs:
        blank(last, x, y)
    return [*parts, _predictor(last, f"{name}." if name else "")]


_MOMENTS = ("n_samples_seen_", "mean_", "var_", "scale_")
_RANGES = ("n_samples_seen_", "data_max_", "minus_data_min")
_PEAKS = ("n_samples_seen_", "max_abs_", "scale_")


def _transformer(step: Any, prefix: str, x: Any, y: Any) -> Part | None:
    if x is not None and not isinstance(step, str):
        step.fit(x, y)
    if isinstance(step, StandardScaler):
        names = tuple(n for n in _MOMENTS if getattr(step, n, None) is not None)
        part: Part = Scaler(step, prefix, names, names)
    elif isinstance(step, MinMaxScaler):
        part = MinMax(step, prefix, _RANGES, _RANGES, largest=_RANGES[1:])
    elif isinstance(step, MaxAbsScaler):
        part = Scaler(step, prefix, _PEAKS, _PEAKS, largest=_PEAKS[1:])
    elif isinstance(step, PolynomialFeatures) or not get_tags(step).requires_fit:
        return None
    else:
        raise Invalid(
            f"{type(step).__name__} learns from the data what cannot be averaged over devices; do this in "
            "the data step, or use StandardScaler, MinMaxScaler, MaxAbsScaler or one that learns nothing "
            "(for texts HashingVectorizer)"
        )
    if x is not None:
        part.write({n: _neutral(n, a) for n, a in part.read().items()})
    return part


def _neutral(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    ones = name in ("var_", "scale_", "max_abs_", "data_max_")
    return np.ones_like(array) if ones else np.zeros_like(array)


def _predictor(estimator: Any, prefix: str) -> Part:
    if isinstance(estimator, MLPClassifier | MLPRegressor):
        layers = range(len(estimator.coefs_))
        names = tuple(f"{kind}.{i}" for i in layers for kind in ("coefs_", "intercepts_"))
        return Perceptrons(estimator, prefix, names)
    if isinstance(estimator, GaussianNB):
        return Bayes(estimator, prefix, ("class_count_", "theta_", "var_", "epsilon_"))
    if isinstance(estimator, MultinomialNB | BernoulliNB | ComplementNB):
        return Bayes(estimator, prefix, ("class_count_", "feature_count_"))
    if _is_linear(estimator):
        steps = ("t_",) if hasattr(estimator, "t_") else ()
        return Part(estimator, prefix, ("coef_", "intercept_", *steps), steps)
    raise Invalid(
        f"{type(estimator).__name__} cannot be averaged over devices; of scikit-learn these can: linear "
        "models (coef_ and intercept_), MLPClassifier, MLPRegressor, GaussianNB, MultinomialNB, "
        "BernoulliNB, ComplementNB, also at the end of a Pipeline"
    )


def _is_linear(estimator: Any) -> bool:
    if getattr(estimator, "average", False):
        raise Invalid(
            f"{type(estimator).__name__}(average={estimator.average}) keeps two sets of weights; use "
            "average=False, since federated learning averages already"
        )
    return {"coef_", "intercept_"} <= set(vars(estimator))


def blank(estimator: Any, x: Any, y: Any) -> None:
    """Give an estimator its arrays, as they are before a first fit."""
    if isinstance(estimator, MLPClassifier | MLPRegressor):
        _blank_perceptrons(estimator, x, y)
        return
    try:
        estimator.fit(x, y)
    except (ValueError, TypeError, AttributeError) as error:
        first = str(error).strip().splitlines()[0]
        raise Invalid(f"{type(estimator).__name__} cannot be sized: {first}") from None
    for name in ("coef_", "intercept_", "theta_", "epsilon_", "class_count_", "feature_count_"):
        if name in vars(estimator):
            value = np.zeros_like(np.asarray(getattr(estimator, name)))
            setattr(estimator, name, value if value.ndim else value[()])
    if isinstance(estimator, GaussianNB):
        estimator.var_ = np.ones_like(estimator.var_)
    if "t_" in vars(estimator):
        estimator.t_ = 1.0


def _blank_perceptrons(estimator: Any, x: Any, y: Any) -> None:
    probe = _initialised(estimator, x, y, check_random_state(estimator.random_state))
    params = estimator.get_params(deep=False)
    vars(estimator).clear()
    vars(estimator).update(vars(probe))
    estimator.set_params(**params)
    vars(estimator).pop("_optimizer", None)
    early = estimator.early_stopping
    estimator.n_iter_, estimator.t_, estimator._no_improvement_count = 0, 0, 0
    estimator.loss_curve_ = []
    estimator.best_loss_ = None if early else np.inf
    estimator.validation_scores_ = [] if early else None
    estimator.best_validation_score_ = -np.inf if early else None


def _initialised(estimator: Any, x: Any, y: Any, random_state: Any) -> Any:
    """A clone with its random initial weights: one step of vanishing size, nothing shuffled."""
    probe = clone(estimator).set_params(
        solver="sgd",
        learning_rate_init=1e-300,
        batch_size="auto",
        shuffle=False,
        early_stopping=False,
        random_state=random_state,
    )
    if classifies(probe):
        return probe.partial_fit(x, y, classes=np.unique(y))
    return probe.partial_fit(x, y)


@contextmanager
def started(part: Part, inputs: Inputs) -> Iterator[None]:
    """While the block runs, ``fit`` goes on from the arrays.

    A perceptron's ``fit`` draws its initial weights and then the order of the examples from one random
    state. The weights are given here, so the state is moved on as if they had been drawn.
    """
    estimator = part.estimator
    params = estimator.get_params(deep=False)
    changed: dict[str, Any] = {"warm_start": True} if "warm_start" in params else {}
    if isinstance(part, Perceptrons):
        state = check_random_state(estimator.random_state)
        labels = inputs.rows()[1]
        zeros = np.zeros((len(labels), estimator.n_features_in_))
        _initialised(estimator, zeros, labels, state)
        changed["random_state"] = state
    estimator.set_params(**changed)
    try:
        yield
    finally:
        estimator.set_params(**{name: params[name] for name in changed})
