"""What went wrong with a round's scores, as one sentence that fits into a note."""

from __future__ import annotations

from pydantic import ValidationError

from fedops.core.errors import FedOpsError

_LONGEST = 400


def error_sentence(error: Exception) -> str:
    """On one line, without what only whoever wrote the code can use."""
    if isinstance(error, FedOpsError):
        text = error.message
    elif isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST]
