"""What a project's own train or evaluate function returned, understood as metrics.

A mapping speaks for itself. Bare numbers are named by the expressions of the function's last return
statement (``return test_loss, accuracy``), else by custom: loss before accuracy.
"""

from __future__ import annotations

import ast
import inspect
import logging
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import EvalResult, TrainResult

log = logging.getLogger("fedops.scalize")
#: Of a longer list only the last number is kept.
_LONGEST_LIST = 100
_MOST_SAID = 1_000
_said: set[tuple[str, str]] = set()
_COUNTS = ("examples", "num_examples", "num-examples", "n_examples", "samples", "num_samples")


def as_train_result(
    value: Any, examples: int, function: Callable[..., Any], label: str
) -> TrainResult:
    """A train function may return metrics, or nothing: what counts is the trained model."""
    if isinstance(value, TrainResult):
        return value
    if value is None:
        log.warning("%s returned nothing: there will be no training metrics", label)
        return TrainResult(examples)
    metrics, counted = _metrics(value, function)
    return TrainResult(counted or examples, metrics)


def as_eval_result(
    value: Any, examples: int, function: Callable[..., Any], label: str
) -> EvalResult:
    """An evaluate function must return at least one number.

    Raises:
        Invalid: it returned nothing that can be understood as a metric.
    """
    if isinstance(value, EvalResult):
        return value
    metrics, counted = _metrics(value, function)
    if not metrics:
        kind = "nothing" if value is None else f"a {type(value).__name__} without numbers"
        raise Invalid(
            f"{label} returned {kind}; it must return metrics, such as {{'loss': 0.3, 'accuracy': 0.9}}"
        )
    return EvalResult(counted or examples, metrics)


def _metrics(value: Any, function: Callable[..., Any]) -> tuple[dict[str, float], int]:
    value = getattr(value, "history", value)  # Keras
    parts = list(value) if isinstance(value, tuple) else [value]
    names = _names(function, len(parts))
    found: dict[str, Any] = {}
    for name, part in zip(names, parts, strict=True):
        found.update(_flat("", part) if isinstance(part, Mapping) else _flat(name, part))
    metrics = {
        key: number for key, item in found.items() if (number := _kept(key, item)) is not None
    }
    counted = next((metrics.pop(name) for name in _COUNTS if name in metrics), 0.0)
    return metrics, int(counted)


def _flat(name: str, value: Any) -> dict[str, Any]:
    """The scalars in it, by dotted names. A list (a history, say) has its last under its own name too."""
    if isinstance(value, Mapping):
        within = [_flat(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
        return {key: item for part in within for key, item in part.items()}
    if (
        isinstance(value, list | tuple)
        and value
        and all(_number(item) is not None for item in value)
    ):
        each = {f"{name}.{index}": item for index, item in enumerate(value)}
        return {name: value[-1], **(each if 1 < len(each) <= _LONGEST_LIST else {})}
    return {name: value}


def _kept(key: str, value: Any) -> float | None:
    """The number that is kept; None, and said once, when there is none."""
    number = _number(value)
    if number is None:
        _say_once(
            key, f"is {_described(value)}: only numbers, and lists and dicts of numbers, are kept"
        )
    elif not math.isfinite(number):
        _say_once(key, f"is {number} and is left out")
        return None
    return number


def _number(value: Any) -> float | None:
    """A number, or an array of one."""
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of shape {list(shape)}"
    if value is None:
        return "None"
    return f"text ('{value[:20]}')" if isinstance(value, str) else f"a {type(value).__name__}"


def metrics_left_out() -> list[str]:
    """What was said of metrics that were returned so far in this process and are not kept."""
    return [f"the metric '{key}' {what}" for key, what in sorted(_said)]


def _say_once(key: str, what: str) -> None:
    """Each round returns the same: it is said the first time."""
    if (key, what) not in _said and len(_said) < _MOST_SAID:
        _said.add((key, what))
        log.warning("the metric '%s' %s", key, what)


def _names(function: Callable[..., Any], length: int) -> list[str]:
    returned = _returned(function)
    if len(returned) == length and len(set(returned)) == length:
        return returned
    if length == 1:
        return [_canonical(getattr(function, "__name__", ""), "score")]
    return ["loss", "accuracy", *(f"metric_{index}" for index in range(3, length + 1))][:length]


def returned_variables(function: Callable[..., Any]) -> list[str]:
    """The names of the variables that the last ``return`` lists; "" for what is none."""
    elements = _elements(function)
    return [node.id if isinstance(node, ast.Name) else "" for node in elements]


def _returned(function: Callable[..., Any]) -> list[str]:
    """What the last return statement is about; empty when the source does not tell."""
    names = [_name(element) for element in _elements(function)]
    return names if all(names) else []


def _elements(function: Callable[..., Any]) -> list[ast.expr]:
    """What the last return statement lists; empty when there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    body = tree.body[0].body if isinstance(tree.body[0], ast.FunctionDef) else []
    value = next((node.value for node in reversed(body) if isinstance(node, ast.Return)), None)
    return list(value.elts) if isinstance(value, ast.Tuple) else [value] if value else []


def _name(expression: ast.AST) -> str:
    """The name an expression is about: its first name or attribute that says loss or accuracy."""
    words = [
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expression)
        if isinstance(node, ast.Name | ast.Attribute)
    ]
    telling = [name for word in words if (name := _canonical(word, ""))]
    plain = words if isinstance(expression, ast.Name) else []
    return (telling or plain or [""])[0]


def _canonical(word: str, otherwise: str) -> str:
    folded = word.lower()
    if "loss" in folded:
        return "loss"
    if "acc" in folded or "correct" in folded:
        return "accuracy"
    return otherwise
