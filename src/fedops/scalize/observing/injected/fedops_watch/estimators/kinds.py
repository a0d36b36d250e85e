"""Which of scikit-learn's estimators go on from given arrays, how they are read, and why others cannot."""

from __future__ import annotations

import sys
from typing import Any, Dict

Arrays = Dict[str, Any]

#: Linear models whose ``fit`` starts from ``coef_`` where ``warm_start`` is set.
_WARM = {
    "LogisticRegression",
    "Lasso",
    "ElasticNet",
    "MultiTaskLasso",
    "MultiTaskElasticNet",
    "PoissonRegressor",
    "GammaRegressor",
    "TweedieRegressor",
}
_TREES = ("Forest", "Tree", "Boosting", "Bagging", "AdaBoost", "IsolationForest")
_SEARCHES = ("BaseSearchCV", "LogisticRegressionCV", "LinearModelCV", "_BaseRidgeCV", "RFE")
_ENSEMBLES = ("_BaseHeterogeneousEnsemble", "CalibratedClassifierCV", "OneVsRestClassifier")
#: Transformers that give columns of the same meaning everywhere, whatever they learnt.
_SAME_COLUMNS = {
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "PowerTransformer",
    "QuantileTransformer",
    "SimpleImputer",
    "LabelEncoder",
    "LabelBinarizer",
}
INSTEAD = (
    "of scikit-learn, SGDClassifier, SGDRegressor, LogisticRegression, Perceptron, Lasso, ElasticNet, "
    "MLPClassifier and MLPRegressor can be"
)


def names_of(estimator: Any) -> set[str]:
    """The names of its classes that scikit-learn defines."""
    return {
        kind.__name__
        for kind in type(estimator).__mro__
        if kind.__module__.split(".")[0] == "sklearn"
    }


def is_pipeline(estimator: Any) -> bool:
    return "Pipeline" in names_of(estimator)


def is_perceptron(estimator: Any) -> bool:
    return "BaseMultilayerPerceptron" in names_of(estimator)


def is_sgd(estimator: Any) -> bool:
    return "BaseSGD" in names_of(estimator)


def starts_warm(estimator: Any) -> bool:
    return bool(_WARM & names_of(estimator))


def reason_against(estimator: Any) -> str:
    """Why it cannot be federated by its fit, with what can be done; "" if it can."""
    name, kinds = type(estimator).__name__, names_of(estimator)
    if any(part in kind for kind in kinds for part in _TREES):
        return f"{name} grows trees, which differ by device and have no mean; {INSTEAD}"
    if any(kind in kinds for kind in _SEARCHES):
        return (
            f"{name} chooses its settings by the data of each device, so the models would differ; "
            "write the best settings into the estimator itself and fit that"
        )
    if any(kind in kinds for kind in _ENSEMBLES):
        return f"{name} fits several estimators, which are not averaged; fit one of them alone"
    if getattr(estimator, "average", False) and is_sgd(estimator):
        return f"{name}(average=...) keeps two sets of weights; use average=False"
    if getattr(estimator, "solver", "") == "liblinear" and starts_warm(estimator):
        return f"{name}(solver='liblinear') never starts from a given model; use solver='lbfgs'"
    if is_perceptron(estimator) or (is_sgd(estimator) and "SGDOneClassSVM" not in kinds):
        return ""
    return "" if starts_warm(estimator) else _starts_anew(estimator)


def _starts_anew(estimator: Any) -> str:
    name, fitted = type(estimator).__name__, vars(estimator)
    if "coef_" in fitted or "class_count_" in fitted or hasattr(estimator, "fit_intercept"):
        return (
            f"{name} computes its weights from the data alone and never starts from a given model, so rounds "
            "cannot build on each other; use SGDRegressor, SGDClassifier or LogisticRegression, or let a "
            "function return the estimator and run 'fedops init .' without a command"
        )
    return f"{name} cannot be averaged over devices; {INSTEAD}"


def read(estimator: Any) -> Arrays:
    """Its arrays by their names, as views: ``coef_``, ``intercept_`` or ``coefs_.0``, ``intercepts_.0``..."""
    numpy: Any = sys.modules["numpy"]
    if is_perceptron(estimator):
        if getattr(estimator, "coefs_", None) is None:
            return {}
        found: Arrays = {}
        for number, (weights, biases) in enumerate(zip(estimator.coefs_, estimator.intercepts_)):
            found[f"coefs_.{number}"] = weights
            found[f"intercepts_.{number}"] = biases
        return found
    if getattr(estimator, "coef_", None) is None:
        return {}
    return {name: numpy.asarray(getattr(estimator, name)) for name in ("coef_", "intercept_")}


def copies(arrays: Arrays) -> Arrays:
    numpy: Any = sys.modules["numpy"]
    return {name: numpy.array(array) for name, array in arrays.items()}


def put(estimator: Any, arrays: Arrays) -> str:
    """Write over the arrays that the estimator has; "" or how they do not fit."""
    mine = read(estimator)
    for name in arrays:
        if name not in mine or mine[name].size != arrays[name].size:
            here = "none" if name not in mine else "x".join(map(str, mine[name].shape))
            given = "x".join(map(str, arrays[name].shape))
            return f"{name} is {here} here and {given} in the model"
    for name, array in arrays.items():
        mine[name].reshape(-1)[...] = array.reshape(-1)
    return ""


def give(estimator: Any, arrays: Arrays) -> None:
    """Let an estimator that has no arrays yet have these."""
    for name, array in copies(arrays).items():
        setattr(estimator, name, array if array.ndim else array[()])


def misfit(estimator: Any, arrays: Arrays, x: Any, y: Any) -> str:
    """How the data does not fit linear weights; "" if it does."""
    numpy: Any = sys.modules["numpy"]
    coef = arrays["coef_"]
    if hasattr(x, "shape") and coef.shape[-1] != x.shape[1]:
        return f"the data has {x.shape[1]} columns, the model {coef.shape[-1]}"
    if (
        getattr(estimator, "_estimator_type", "") == "classifier"
        or "Logistic" in type(estimator).__name__
    ):
        classes = len(numpy.unique(numpy.asarray(y)))
        wanted = coef.shape[0] if coef.shape[0] > 1 else 2
        if classes != wanted:
            return f"the data has examples of {classes} classes, the model {wanted}"
    return ""


def learns(transformer: Any) -> bool:
    """Whether a transformer that was fitted holds something of the data."""
    numpy: Any = sys.modules["numpy"]
    held = {n: v for n, v in vars(transformer).items() if n.endswith("_") and n[0] != "_"}
    held.pop("feature_names_in_", None)
    kinds = (numpy.ndarray, numpy.floating, dict, list)
    return any(isinstance(value, kinds) and numpy.size(value) for value in held.values())


def same_columns(transformer: Any) -> bool:
    return bool(_SAME_COLUMNS & names_of(transformer))


def settings(estimator: Any) -> dict[str, Any]:
    found = estimator.get_params(deep=False)
    kinds = (bool, int, float, str)
    return {name: value for name, value in found.items() if isinstance(value, kinds)}


def numbered(name: str, taken: list[str]) -> str:
    """``name``, with a number from the second on."""
    number, full = 1, name
    while full in taken:
        number += 1
        full = f"{name}{number}"
    return full
