"""Why a watched command did not come to its training, in one sentence with what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fedops.scalize.observing.records import Note, Seen

_GPU = re.compile(
    r"not compiled with CUDA|No CUDA GPUs|NVIDIA driver|CUDA (is not|error)|invalid device|"
    r"not linked with support for mps|torch\.cuda\.is_available\(\) is False",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"URLError|ConnectionError|Max retries|Name or service not known|name resolution|HTTPError|"
    r"LocalEntryNotFound|OfflineMode|Network is unreachable|Connection refused|ConnectTimeout|gaierror|"
    r"couldn't connect",
    re.IGNORECASE,
)
#: Of an error that is shown.
_MOST_CHARACTERS = 600
#: What the error says -> what to do about it. The first that fits counts.
_ADVICE: Sequence[tuple[re.Pattern[str], str]] = (
    (
        _GPU,
        "it needs a GPU that this machine does not have: give it an option for the CPU, or run init where "
        "it trains",
    ),
    (
        _NETWORK,
        "it needs something from the network: fetch it once by hand, so that the command finds it on disk",
    ),
    (
        re.compile(r"name 'get_ipython' is not defined"),
        "it was exported from a notebook, and that line needs Jupyter: give init the notebook itself "
        "(fedops init . -- train.ipynb), or take the line out",
    ),
    (re.compile(r"EOFError"), "it asks for input: pass what it asks for as options"),
    (
        re.compile(r"ModuleNotFoundError"),
        "install that module for the Python that the command runs",
    ),
    (
        re.compile(r"FileNotFoundError"),
        "put that file in its place, or name the right one in the command",
    ),
    (
        re.compile(r"MemoryError|out of memory", re.IGNORECASE),
        "let it use less memory, such as by a smaller batch",
    ),
)


def failure_of(seen: Seen, command: str) -> str:
    """Why the run is of no use; empty if it trained."""
    failed = seen.ended == "failed" or bool(seen.error)
    refused = any(note.weight == "refusal" for note in seen.notes)
    trained = any(model.steps for model in seen.models)
    ended_badly = failed or (seen.ended == "script" and seen.exit_code not in (0, None))
    broken = trained and ended_badly and seen.unfinished and seen.passes <= 1
    if (trained and not broken) or (refused and not failed):
        return ""
    if failed or broken:
        advice = next((text for pattern, text in _ADVICE if pattern.search(seen.error)), "")
        when = "in its first pass over the training data" if broken else "before it trained"
        return f"'{command}' failed {when}: {_error(seen)}{f'; {advice}' if advice else ''}"
    return (
        f"'{command}' {_ending(seen)}, and no training was seen in it: no optimizer of PyTorch took a step, "
        "and no fit of Keras or scikit-learn was called; give init the command that trains"
    )


def late_failure(seen: Seen) -> Note | None:
    """What happened after a training that was seen whole."""
    if not seen.models or not (seen.error or seen.exit_code):
        return None
    if seen.ended in ("passes", "steps"):
        return None  # by us
    if any(note.kind == "failed_within_training" for note in seen.notes):
        return None  # which says more
    text = f"after its training the command {_ending(seen)}; the result is taken before that"
    return Note(kind="failed_after_training", text=text, weight="fact")


def _ending(seen: Seen) -> str:
    if seen.error:
        return f"failed: {_error(seen)}"
    return f"ended with {seen.exit_code}" if seen.exit_code else "ended by itself"


def _error(seen: Seen) -> str:
    place = f" ({seen.error_where})" if seen.error_where else ""
    said = " ".join(seen.error.split())  # some frameworks say it in a page, the reason last
    if len(said) > _MOST_CHARACTERS:
        said = f"{said[: _MOST_CHARACTERS // 4]} ... {said[-_MOST_CHARACTERS * 3 // 4 :]}"
    return f"{said or f'exit status {seen.exit_code}'}{place}"
