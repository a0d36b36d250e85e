"""Whether a command printed what its page shows. Numbers, digests and widths may differ."""

from __future__ import annotations

import re

_GAP = "..."
#: The server's name, as pages write it where each reader has another one.
_SERVER, _HERE = "//SERVER:", "//127.0.0.1:"
_QUESTION = re.compile(r"(\[(?:y/N|Y/n)\]:) ?")
_TYPED = re.compile(r"\[(?:y/N|Y/n)\]: ?(\S+)$", re.MULTILINE)
_DIGEST = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b")
# How many tests passed is no measurement.
_NUMBER = re.compile(r"\d++(?:[.,:]\d+)*+(?! passed)")
_RULER = re.compile(r"[─━┏┓┗┛┃│┌┐└┘├┤┬┴┼╇╈┡┩╷╵╶╴-]{2,}")


def answers(shown: str) -> str:
    """What the page types at the questions that it shows."""
    return "".join(f"{answer}\n" for answer in _TYPED.findall(shown))


def difference(shown: str, printed: str) -> str | None:
    """What the page shows and the command did not print, if anything.

    The lines of the page stand in the output one after the other; at a line ``...`` others may stand
    between. ``...`` inside a line is any text.
    """
    # An answer is typed, not printed: what comes next stands behind the question on its line.
    rows = _QUESTION.sub(r"\1\n", printed).splitlines()
    lines = [_plain(row) for row in rows if row.strip()]
    place, gap = 0, True
    for line in (line for line in shown.splitlines() if line.strip()):
        if line.strip() == _GAP:
            gap = True
            continue
        found = _find(_pattern(line), lines, place, anywhere=gap)
        if found is None:
            return f"the page shows:\n  {line.strip()}\nthe command printed:\n{printed}"
        place, gap = found + 1, False
    return None


def _find(pattern: re.Pattern[str], lines: list[str], start: int, *, anywhere: bool) -> int | None:
    last = len(lines) if anywhere else start + 1
    return next((n for n in range(start, min(last, len(lines))) if pattern.match(lines[n])), None)


def _pattern(line: str) -> re.Pattern[str]:
    line = _TYPED.sub(lambda asked: asked[0].removesuffix(asked[1]), line)
    parts = (re.escape(_plain(part)) for part in line.replace(_SERVER, _HERE).split(_GAP))
    return re.compile(".*".join(parts) + "$")


def _plain(text: str) -> str:
    text = _DIGEST.sub("#", text)
    text = _RULER.sub(" ", _NUMBER.sub("#", text))
    return " ".join(text.split())
