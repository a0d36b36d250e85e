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
    metrics: dict[str, float] = {}
    for name, part in zip(names, parts, strict=True):
        metrics.update(_part(name, part))
    counted = next((metrics.pop(name) for name in _COUNTS if name in metrics), 0.0)
    return metrics, int(counted)


def _part(name: str, part: Any) -> dict[str, float]:
    if isinstance(part, Mapping):
        pairs = [(str(key), _number(item)) for key, item in part.items()]
    else:
        pairs = [(name, _number(part))]
    for key, number in pairs:
        if number is not None and not math.isfinite(number):
            log.warning("the metric '%s' is %s and is left out", key, number)
    return {key: n for key, n in pairs if n is not None and math.isfinite(n)}


def _number(value: Any) -> float | None:
    """A number, an array of one, or the last of a list of numbers (a history over epochs)."""
    if isinstance(value, str | bytes):
        return None
    if isinstance(value, list):
        return _number(value[-1]) if value else None
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _names(function: Callable[..., Any], length: int) -> list[str]:
    returned = _returned(function)
    if len(returned) == length and len(set(returned)) == length:
        return returned
    if length == 1:
        return [_canonical(getattr(function, "__name__", ""), "score")]
    return ["loss", "accuracy", *(f"metric_{index}" for index in range(3, length + 1))][:length]


def _returned(function: Callable[..., Any]) -> list[str]:
    """The names in the last return statement; empty when the source does not tell."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    body = tree.body[0].body if isinstance(tree.body[0], ast.FunctionDef) else []
    value = next((node.value for node in reversed(body) if isinstance(node, ast.Return)), None)
    elements = value.elts if isinstance(value, ast.Tuple) else [value] if value else []
    names = [_name(element) for element in elements]
    return names if all(names) else []


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
