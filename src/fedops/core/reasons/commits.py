"""How commits are named in sentences, and what is said of devices that run another than a run uses."""

from __future__ import annotations

#: As Git shortens them.
_SHORT = 7
_RUNS, _FOLDER = "runs ", "its owner's own folder "


def short_commit(commit: str | None) -> str:
    """``1a2b3c4``; ``no commit`` for none."""
    return commit[:_SHORT] if commit else "no commit"


def runs_other_commit(actual: str | None, used: str | None, wanted: str | None) -> str:
    """Why a device is not invited that runs another commit than the run uses.

    ``wanted``: what it is to run. None: nothing is asked of it.
    """
    runs = f"{_RUNS}commit {short_commit(actual)}" if actual else f"{_RUNS}no commit yet"
    uses = f"the run uses {short_commit(used)}" if used else "the run uses an app of no commit"
    if wanted is None:
        return f"{runs}, {uses}; nothing is asked of it"
    if wanted == used:
        return f"{runs}, {uses}; it switches by itself"
    return f"{runs}, {uses}; it is to run {short_commit(wanted)}, which a later run may use"


def other_folder(actual: str | None, used: str | None, *, dirty: bool, contract: bool) -> str:
    """The same of a device whose owner gave it a folder. ``contract``: that is what differs."""
    if contract:
        return f"{_FOLDER}has another parameter contract than the run"
    changed = " with changes" if dirty else ""
    return f"{_FOLDER}is at {short_commit(actual)}{changed}, the run uses {short_commit(used)}"


def is_about_code(why: str) -> bool:
    """Whether a device is not invited because of the code that it runs."""
    return why.startswith((_RUNS, _FOLDER))
