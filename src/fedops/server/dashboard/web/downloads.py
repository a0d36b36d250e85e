"""Files that a page lets one download: their names, and cells that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def headers(name: str) -> dict[str, str]:
    """Of an answer that a browser keeps as a file of this name."""
    disposition = f'attachment; filename="{name}"'
    return {"content-disposition": disposition, "cache-control": "no-store"}


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV. Texts that a spreadsheet would take for formulas are made harmless."""
    out = io.StringIO()
    csv.writer(out).writerows([_cell(one) for one in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
