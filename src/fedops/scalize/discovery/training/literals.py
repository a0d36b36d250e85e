"""Numbers and parts that a project writes where it makes its optimizer, its loss and its loaders."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedops.scalize.discovery.source.definitions import plain_value
from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.discovery.training.findings import Chosen, Finding
from fedops.scalize.discovery.training.loops import called, calls_in, training_in
from fedops.scalize.discovery.training.parts import LOSS
from fedops.scalize.discovery.training.scopes import Scope, Scopes

_OPTIMIZER = re.compile(r"torch\.optim\.[A-Z]\w+")
_LOADER = re.compile(r"torch\.utils\.data\.(dataloader\.)?DataLoader")
#: What torch takes for a learning rate that is not given; 0.001 for those not listed.
_RATES = {"RMSprop": 0.01, "Adagrad": 0.01, "Rprop": 0.01, "NAdam": 0.002, "Adamax": 0.002,
          "Adadelta": 1.0, "LBFGS": 1.0, "ASGD": 0.01, "Adafactor": 0.01}  # fmt: skip
_TRAINING_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "per_device_train_batch_size": "batch_size",
}
_EPOCHS = ("epochs", "max_epochs", "num_train_epochs", "nb_epoch")


@dataclass
class ReadOff:
    """What was read off, and what could not be."""

    #: Key of the config -> value and where it was seen.
    settings: dict[str, tuple[Any, str]] = field(default_factory=dict)
    #: Settings that are written there but cannot be read.
    unread: dict[str, Finding] = field(default_factory=dict)
    optimizer: Mapping[str, Any] | None = None
    loss: Mapping[str, Any] | None = None
    differences: list[Finding] = field(default_factory=list)
    used: set[int] = field(default_factory=set)  #: ids of the expressions that were read
    loops: bool = True  #: whether the framework trains in epochs at all


@dataclass(frozen=True)
class _Place:
    scope: Scope
    call: ast.Call
    kind: str  #: dotted name of what is called

    @property
    def where(self) -> str:
        return self.scope.place(self.call)

    @property
    def short(self) -> str:
        return self.kind.rpartition(".")[2]


class Reader:
    """Reads the literal arguments of the calls by which a project trains."""

    def __init__(self, seen: Survey, scopes: Scopes, chosen: Chosen, run: set[str]) -> None:
        self.seen, self.scopes, self.chosen = seen, scopes, chosen
        self.run = run  #: names of the scopes that belong to the project's own run
        self.reached = scopes.reached(chosen.names)
        self.found = ReadOff()
        self._calls = [
            _Place(scope, call, seen.real_name(scope.source.names.dotted(call.func)))
            for scope in scopes
            for call in calls_in(scope)
        ]

    def read(self, optimizer: bool, loss: bool) -> ReadOff:
        """``optimizer``, ``loss``: whether the config has to name them."""
        if optimizer:
            self._read_optimizer()
        if loss:
            self._read_loss()
        self._read_training_arguments()
        self._read_batch_size()
        self._read_epochs()
        return self.found

    # --- the optimizer -----------------------------------------------------------------------------

    def _read_optimizer(self) -> None:
        places = self._places(_OPTIMIZER.fullmatch)
        if not places:
            return
        place, *others = places
        call = place.call
        self.found.optimizer = self._part(place, without=("lr", "params"))
        given = _argument(call, 1, "lr")
        if given is None:
            rate: Any = _RATES.get(place.short, 0.001)
            where = f"{place.short}'s own, {place.where}"
        else:
            rate, where = self.value(given, place.scope), place.where
        if _is_number(rate) and rate > 0:
            self.found.settings["learning_rate"] = float(rate), where
        elif given is not None:
            self.found.unread["learning_rate"] = _unread(place, "lr", given, "learning_rate")
        self._look_at_parameters(place)
        for other in others:
            if other.scope.name in self.run and ast.dump(other.call) != ast.dump(call):
                text = f"another optimizer is made here ({_short(other.call)}); one is used, of {place.where}"
                self._differ("optimizer", text, other.where)

    def _look_at_parameters(self, place: _Place) -> None:
        given = _argument(place.call, 0, "params")
        if given is not None and not _all_parameters(given):
            text = f"{place.short} gets {_short(given)}, and will get all that is trainable"
            self._differ("parameter_groups", text, place.where)

    # --- the loss ----------------------------------------------------------------------------------

    def _read_loss(self) -> None:
        places = self._places(LOSS.fullmatch)
        trains = {scope.name for scope in self.scopes if any(training_in(scope))}
        places.sort(key=lambda p: (p.scope.name not in trains, _summed(p.call)))
        if not places:
            return
        place, *_ = places
        self.found.loss = self._part(place, without=("input", "target", "reduction"))
        if _summed(place.call):
            self._differ("loss", f"{place.short} is summed here, and will be a mean", place.where)
        self._other_losses(place, [p for p in places if p.scope.name in trains])

    def _other_losses(self, place: _Place, places: list[_Place]) -> None:
        for other in places:
            near = other.scope.name in self.run - self.reached
            if other.kind != place.kind and near:
                text = f"{other.short} is part of the loss here; only {place.short} is used"
                self._differ("loss", text, other.where)

    # --- numbers -----------------------------------------------------------------------------------

    def _read_training_arguments(self) -> None:
        """Of a Trainer of Transformers."""
        for place in self._places(lambda name: name.endswith("TrainingArguments")):
            for keyword in place.call.keywords:
                key = _TRAINING_ARGUMENTS.get(keyword.arg or "")
                value: Any = self.value(keyword.value, place.scope) if key else None
                if key and _is_number(value) and value > 0:
                    self.found.settings.setdefault(key, (value, place.where))

    def _read_batch_size(self) -> None:
        loaders = self._places(_LOADER.fullmatch)
        if any(place.scope.name in self.reached for place in loaders):
            return  # the project's own data or train step makes its loaders
        fits = [p for p in self._places(lambda name: name.endswith(".fit")) if _sized(p.call)]
        train = [place for place in loaders if self._is_for_training(place)]
        for place in [*train, *fits, *loaders]:
            given = _argument(place.call, 1 if place in loaders else 99, "batch_size")
            if given is None and any(k.arg in (None, "batch_sampler") for k in place.call.keywords):
                continue  # it may be among what is handed on as **kwargs
            size = 1 if given is None else self.value(given, place.scope)
            where = place.where if given is not None else f"DataLoader's own, {place.where}"
            if isinstance(size, int) and not isinstance(size, bool) and size > 0:
                self.found.settings.setdefault("batch_size", (size, where))
                return
            if given is not None:
                self.found.unread["batch_size"] = _unread(place, "batch_size", given, "batch_size")
                return

    def _is_for_training(self, place: _Place) -> bool:
        shuffle = _argument(place.call, 2, "shuffle")
        if isinstance(shuffle, ast.Constant) and shuffle.value is True:
            return True
        text = ast.unparse(place.call.args[0]) if place.call.args else ""
        return "train" in text.lower() or any(
            place.call in ast.walk(call)
            for call in calls_in(place.scope)
            if place.scope.source.names.dotted(call.func) == self.chosen.train
        )

    def _read_epochs(self) -> None:
        for place in self._places(lambda name: True):
            for keyword in place.call.keywords:
                if keyword.arg in _EPOCHS and called(place.call) != "add_argument":
                    number = self.value(keyword.value, place.scope)
                    if isinstance(number, int) and number > 0:
                        self.found.settings.setdefault("num_epochs", (number, place.where))

    # --- helpers -----------------------------------------------------------------------------------

    def _places(self, fits: Callable[[str], Any]) -> list[_Place]:
        """The calls whose dotted names fit; those of the project's own run first."""
        found = [place for place in self._calls if fits(place.kind)]
        near = {*self.run, *self.reached}
        return sorted(found, key=lambda place: place.scope.name not in near)

    def _part(self, place: _Place, without: tuple[str, ...]) -> dict[str, Any]:
        part: dict[str, Any] = {"_target_": place.kind}
        for keyword in place.call.keywords:
            if keyword.arg is None:
                self._differ(
                    "argument",
                    f"**{_short(keyword.value)} of {place.short} cannot be read",
                    place.where,
                )
            elif keyword.arg not in without:
                value = self.value(keyword.value, place.scope)
                if value is not None:
                    part[keyword.arg] = value
                    self.found.used.add(id(keyword.value))
                elif not _is_none(keyword.value):
                    what = f"{keyword.arg}={_short(keyword.value)} of {place.short}"
                    self._differ("argument", f"{what} cannot be read, and is left out", place.where)
        return part

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """The plain value of an expression where it stands."""
        if isinstance(node, ast.Tuple | ast.List):
            items = [self.value(item, scope) for item in node.elts]
            return None if None in items else items
        return self.seen.value_of(node, scope.place_of_names)

    def _differ(self, kind: str, text: str, where: str) -> None:
        self.found.differences.append(Finding(kind=kind, text=text, where=where))


def _argument(call: ast.Call, index: int, name: str) -> ast.expr | None:
    given = next((k.value for k in call.keywords if k.arg == name), None)
    return call.args[index] if given is None and index < len(call.args) else given


def _sized(call: ast.Call) -> bool:
    return any(k.arg == "batch_size" for k in call.keywords)


def _summed(call: ast.Call) -> bool:
    return any(k.arg == "reduction" and plain_value(k.value) == "sum" for k in call.keywords)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all_parameters(given: ast.expr) -> bool:
    """Whether it is ``model.parameters()``, or those of them that can be trained."""
    calls = [n for n in ast.walk(given) if isinstance(n, ast.Call) and called(n) == "parameters"]
    if len(calls) != 1 or isinstance(given, ast.List | ast.Dict | ast.BinOp):
        return False
    owner = calls[0].func.value if isinstance(calls[0].func, ast.Attribute) else None
    if isinstance(owner, ast.Attribute):
        return isinstance(owner.value, ast.Name) and owner.value.id == "self"
    return isinstance(owner, ast.Name | ast.Call)


def _unread(place: _Place, name: str, given: ast.expr, key: str) -> Finding:
    text = f"{name}={_short(given)} of {place.short} cannot be read: {key} of config.toml is used"
    return Finding(kind=key, text=text, where=place.where)


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."
