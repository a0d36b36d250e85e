"""Takes secrets out of what is logged. Used wherever a line leaves the program that wrote it."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
_SECRETS = re.compile(
    r"""
      (?P<token>\bfo_(?:admin|join|device|attempt)_)[A-Za-z0-9_-]{8,}
    | (?P<bearer>\b[Bb]earer\s+)[A-Za-z0-9._~+/=-]{8,}
    | (?P<user>://[^\s:/@]*:)[^\s/@]+(?=@)
    | (?P<named>\b[\w-]*(?:api[_-]?key|token|password|passwd|secret)["']?\s*[=:]\s*["']?)
      (?!\s|fo_)[^\s"',;&)}\]]{6,}
    | (?P<wandb>\bwandb\.key\s*=\s*["']?)[^\s"']+
    """,
    re.VERBOSE | re.IGNORECASE,
)


_NAMES = re.compile(
    r"(^|_)(password|passwd|secret|credentials?|api_?key|secret_?key|access_?key)$|"
    r"^(token|(auth|access|api|hf|bearer|wandb|user)_?token|wandb_?key)$",
    re.IGNORECASE,
)


def names_a_secret(name: str) -> bool:
    """Whether a setting of this name is one that nobody else may see."""
    return bool(_NAMES.search(name))


def redact(text: str) -> str:
    """The text with tokens, passwords and keys replaced by ``***``. What names them stays."""
    return _SECRETS.sub(lambda m: f"{m[m.lastgroup or 0]}{HIDDEN}", text)
