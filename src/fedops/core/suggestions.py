"""Words of messages that several modules share: nearest spellings and short lists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that ``word`` is most likely a misspelling of, if any comes near."""
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing, to be put behind what is wrong."""
    guess = nearest(word, choices)
    return f"; did you mean '{guess}'?" if guess is not None else ""


def comma_list(words: Iterable[str]) -> str:
    """``'a', 'b', 'c'``: choices as a message shows them."""
    return ", ".join(f"'{word}'" for word in words)
