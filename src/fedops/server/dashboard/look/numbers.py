"""Numbers with their units, as a page shows them. What is not there is "–"."""

from __future__ import annotations

import math

NONE = "–"
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
#: Metrics that are shares of one, shown in percent.
_SHARES = ("accuracy", "recall", "precision", "f1", "auc", "iou", "dice")


def size(value: float | None) -> str:
    """Bytes: ``4.2 GB`` (a kB has 1,000)."""
    if value is None:
        return NONE
    amount, unit = float(value), 0
    while abs(amount) >= 999.5 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1_000, unit + 1
    digits = 0 if unit == 0 or abs(amount) >= 100 else 1
    return f"{amount:,.{digits}f} {_SIZES[unit]}"


def number(value: float | None, digits: int = 3) -> str:
    """A real number: ``0.907``. Very large and very small ones have an exponent."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:,.{digits}f}"


def count(value: int | None) -> str:
    """``1,204``."""
    return NONE if value is None else f"{value:,}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share of one: ``90.7 %``."""
    return NONE if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def metric(value: float | None, name: str = "") -> str:
    """A metric by its name: accuracies in percent, the rest as numbers."""
    return percent(value) if is_share(name) and value is not None else number(value)


def is_share(name: str) -> bool:
    """Whether a metric of this name lies between 0 and 1."""
    return any(part in name.lower() for part in _SHARES)


def short(digest: str | None, length: int = 8) -> str:
    """The beginning of a digest or commit."""
    return NONE if not digest else digest[:length]
