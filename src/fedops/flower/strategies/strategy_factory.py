"""Making a strategy from ``[server.strategy]``, by its current or its former Flower name and arguments."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.serverapp import strategy as flower

from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.flower.strategies.fltrust import FLTrust
from fedops.flower.strategies.robust_limits import unset_defence
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.scalize.flow.target_import import resolve

logger = logging.getLogger("fedops.strategy")
WHERE = "[server.strategy]"
PACKAGES = ("flwr.serverapp.strategy", "flwr.server.strategy")
#: Former arguments and what they are called now.
RENAMED = {
    "fraction_fit": "fraction_train",
    "min_fit_clients": "min_train_nodes",
    "min_evaluate_clients": "min_evaluate_nodes",
    "min_available_clients": "min_available_nodes",
    "num_malicious_clients": "num_malicious_nodes",
    "num_clients_to_keep": "num_nodes_to_select",
    "q_param": "q",
    "qffl_learning_rate": "client_learning_rate",
}
#: Former arguments that change nothing here: a lost client never fails a round.
DROPPED = ("accept_failures", "inplace")
#: Arguments that the round engine decides, or that no config file can give.
OURS = (
    "weighted_by_key",
    "arrayrecord_key",
    "configrecord_key",
    "train_metrics_aggr_fn",
    "evaluate_metrics_aggr_fn",
    "selection_rule",
    "accountant",
    "train_loss_key",
    "root_update",
)
TREES = ("FedXgbBagging", "FedXgbCyclic")
_NO_STRATEGIES = ("Result", "Strategy", *TREES)
NAMES = tuple(name for name in flower.__all__ if name not in _NO_STRATEGIES)
#: What Flower lacks, by the name alone.
OURS_BY_NAME = {"FLTrust": FLTrust}
#: What former classes took when nothing was given, where there is no default any more.
FORMER_DEFAULTS: dict[str, dict[str, Any]] = {"QFedAvg": {"q": 0.2, "client_learning_rate": 0.1}}


def make_strategy(
    target: str, arguments: Mapping[str, Any], roots: Sequence[Path] = ()
) -> RunStrategy:
    """The strategy that a config names.

    Raises:
        Invalid: no such strategy or argument (the valid ones are listed), or a value it does not take.
    """
    return RunStrategy(_build(target, arguments, roots, WHERE))


def strategy_of(app_dir: Path) -> Callable[[Config], RunStrategy]:
    """What makes the strategy that a config of this app names."""

    def make(config: Config) -> RunStrategy:
        chosen = config.server.strategy
        return make_strategy(chosen.target, chosen.kwargs, [app_dir])

    return make


def _build(
    target: str, arguments: Mapping[str, Any], roots: Sequence[Path], where: str
) -> flower.Strategy:
    package, _, name = target.rpartition(".")
    of_flower = not package or any(f"{package}.".startswith(f"{p}.") for p in PACKAGES)
    given = _current(arguments)
    if of_flower:
        name, given = _former_class(name, given, f"{package}.".startswith("flwr.server."))
        cls = OURS_BY_NAME.get(name) or _flower_class(name, where)
        _check_arguments(cls, given, where)
        given = {**_own_defaults(cls), **given}
    else:
        cls = _own_class(target, roots, where)
    given = {key: _value(value, roots, f"{where} {key}") for key, value in given.items()}
    try:
        made: flower.Strategy = cls(**given)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{where}: {name} cannot be made: {error}") from None
    if getattr(made, "num_malicious_nodes", 0) < 0:
        raise Invalid(f"{where}: num_malicious_nodes = {made.num_malicious_nodes}: 0 or more")  # type: ignore[attr-defined]
    if unset := unset_defence(made):
        logger.warning("%s: %s", where, unset)
    return made


def _current(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by their current names."""
    given: dict[str, Any] = {}
    for key, value in arguments.items():
        new = RENAMED.get(key, key)
        if key in DROPPED:
            logger.warning("%s %s has no effect", WHERE, key)
        elif new in given:
            raise Invalid(f"{WHERE}: '{key}' is given twice: it is called '{new}' now")
        else:
            given[new] = value
    return given


def _former_class(name: str, given: dict[str, Any], former: bool) -> tuple[str, dict[str, Any]]:
    if not former:
        return name, given
    if name == "Krum" and given.get("num_nodes_to_select"):
        return "MultiKrum", given
    if name == "Krum":
        given = {key: value for key, value in given.items() if key != "num_nodes_to_select"}
    return name, {**FORMER_DEFAULTS.get(name, {}), **given}


def _flower_class(name: str, where: str) -> Any:
    if name in TREES:
        raise Invalid(
            f"{where}: {name} joins boosted trees, and this engine aggregates tensors;"
            f" the strategies for tensors are {comma_list(NAMES)}"
        )
    if name not in NAMES:
        guess = did_you_mean(name, [*NAMES, *OURS_BY_NAME])
        raise Invalid(
            f"{where}: Flower has no strategy '{name}'{guess or ';'} it has {comma_list(NAMES)},"
            f" and FedOps adds {comma_list(OURS_BY_NAME)}"
        )
    return getattr(flower, name)


def _own_class(target: str, roots: Sequence[Path], where: str) -> Any:
    found = resolve(target, where, roots)
    if not (inspect.isclass(found) and issubclass(found, flower.Strategy)):
        raise Invalid(f"{where}: '{target}' is no subclass of flwr.serverapp.strategy.Strategy")
    return found


def _check_arguments(cls: Any, given: Mapping[str, Any], where: str) -> None:
    parameters = inspect.signature(cls).parameters
    valid = [name for name in parameters if name not in OURS]
    for key in given:
        if key not in valid:
            guess = did_you_mean(key, [*valid, *RENAMED])
            raise Invalid(
                f"{where}: {cls.__name__} takes no '{key}'{guess or ';'} it takes {comma_list(valid)}"
            )
    empty = inspect.Parameter.empty
    missing = [n for n in valid if parameters[n].default is empty and n not in given]
    if missing:
        raise Invalid(f"{where}: {cls.__name__} needs {comma_list(missing)}")


def _own_defaults(cls: Any) -> dict[str, Any]:
    """Flower's default of two available clients would overrule ``clients_per_round = 1``."""
    known = inspect.signature(cls).parameters
    return {"min_available_nodes": 1} if "min_available_nodes" in known else {}


def _value(value: Any, roots: Sequence[Path], where: str) -> Any:
    """A table with a ``_target_`` is a strategy to be wrapped."""
    if isinstance(value, Mapping) and "_target_" in value:
        inner = {key: item for key, item in value.items() if key != "_target_"}
        return _build(str(value["_target_"]), inner, roots, where)
    return value
