"""Where a project trains: the backward passes, fits and trainers in its code, and what its loss adds up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fedops.scalize.discovery.training.scopes import Scope

#: Methods that train whatever they are called on.
_TRAINING = {
    "backward": ".backward()",
    "manual_backward": ".manual_backward()",
    "apply_gradients": ".apply_gradients()",
    "fit_one_cycle": ".fit_one_cycle()",
    "fit_generator": ".fit_generator()",
    "train_on_batch": ".train_on_batch()",
    "partial_fit": ".partial_fit()",
    "fit": ".fit()",
}
#: Trainers of libraries: their ``train`` or ``fit`` is the loop.
_TRAINERS = re.compile(r"(transformers|trl|lightning|pytorch_lightning)\..*Trainer$")
_LIKE_TRAINERS = re.compile(r"(\w+\.)*\w*Trainer$")
#: What is fitted and is no model that anybody federates.
_NO_MODEL = re.compile(
    r"scal|vector|encod|pca|imput|token|label|binari|select|normali|transf|tfidf|reduc|umap|tsne|"
    r"preproc|standard|^le$|^ss$|^sc$|kde|curve",
    re.IGNORECASE,
)


def training_in(scope: Scope) -> list[tuple[ast.Call, str]]:
    """The calls in a scope that train a model, each with its words."""
    if "training" not in scope.kept:
        scope.kept["training"] = list(_training_in(scope))
    found: list[tuple[ast.Call, str]] = scope.kept["training"]
    return found


def _training_in(scope: Scope) -> Iterator[tuple[ast.Call, str]]:
    trainers = set(made_by(scope, _TRAINERS))
    likely = set(made_by(scope, _LIKE_TRAINERS)) - trainers
    for call in calls_in(scope):
        name, on = called(call), receiver(call)
        if name in {"train", "fit"} and on in trainers:
            yield call, f"Trainer.{name}()"
        elif name == "train" and on in likely:
            yield call, f"{on}.train()"
        elif name == "partial_fit" or name == "fit":
            if on and not _NO_MODEL.search(on) and on not in trainers and _takes_data(call):
                yield call, f"{on}.{name}()"
        elif name in _TRAINING and isinstance(call.func, ast.Attribute):
            yield call, _TRAINING[name]


def _takes_data(call: ast.Call) -> bool:
    return bool(call.args or call.keywords)


def made_by(scope: Scope, kind: re.Pattern[str]) -> Iterator[str]:
    """The variables of a scope that hold what a call of ``kind`` makes."""
    for node in scope.nodes:
        made = node.value if isinstance(node, ast.Assign) else None
        if isinstance(made, ast.Call) and kind.match(scope.source.names.dotted(made.func)):
            yield from (t.id for t in _targets(node) if isinstance(t, ast.Name))


def _targets(node: ast.AST) -> list[ast.expr]:
    """What an assignment of any kind assigns to."""
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign) else []


def calls_in(scope: Scope) -> list[ast.Call]:
    if "calls" not in scope.kept:
        scope.kept["calls"] = [node for node in scope.nodes if isinstance(node, ast.Call)]
    found: list[ast.Call] = scope.kept["calls"]
    return found


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def receiver(call: ast.Call) -> str:
    """The last name before the dot: ``model`` in ``self.model.fit()``; '' for none."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(value, ast.Attribute):
        return value.attr
    if isinstance(value, ast.Call):
        return called(value)
    return value.id if isinstance(value, ast.Name) else ""


def penalties_in(scope: Scope) -> Iterator[ast.AST]:
    """Where something is added to the loss that is differentiated: a penalty, or a second loss."""
    losses = set()
    for call in calls_in(scope):
        if called(call) != "backward" or not isinstance(call.func, ast.Attribute):
            continue
        of = call.args[0] if receiver(call) in _GIVEN_THE_LOSS and call.args else call.func.value
        if _is_sum(of):
            yield of
        if isinstance(of, ast.Call) and of.args:  # scaler.scale(loss)
            of = of.args[0]
        losses |= {of.id} if isinstance(of, ast.Name) else set()
    for node in scope.nodes:
        targets = {t.id for t in _targets(node) if isinstance(t, ast.Name)}
        adds = isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add)
        if targets & losses and (adds or (isinstance(node, ast.Assign) and _is_sum(node.value))):
            yield node


_GIVEN_THE_LOSS = {"accelerator", "fabric", "autograd"}


def _is_sum(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        inner = _is_sum(node.left) or _is_sum(node.right)
        return isinstance(node.op, ast.Add | ast.Sub) or inner
    return False
