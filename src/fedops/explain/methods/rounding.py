"""Numbers as a report shows them."""

from __future__ import annotations

from collections.abc import Mapping


def rounded(measures: Mapping[str, float]) -> dict[str, float]:
    """Six digits are enough for a person and cheap to send."""
    return {name: round(float(value), 6) for name, value in measures.items()}
