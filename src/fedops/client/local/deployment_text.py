"""A deployment in words, for the owner of the device."""

from __future__ import annotations

from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.core.printable import printable

_SHOWN = 20


def deployment_rows(found: DeployedStatus | None) -> dict[str, str | None]:
    """For ``fedops client status``; nothing where the app was named at the start."""
    if found is None:
        return {}
    own = " (the owner's own folder)" if found.local else ""
    changed = " with changes" if found.dirty else ""
    return {
        "code wanted": found.desired,
        "code that runs": f"{found.active}{changed}{own}" if found.active else None,
        "deployment": f"{found.status.replace('_', ' ')}{' (stalled)' if found.stalled else ''}",
        "code, why": found.why,
    }


def awaited_text(found: AwaitedCommit) -> str:
    """What would run, and what is different from what runs now."""
    changes = found.changes
    since = f"since {changes.since[:12]}" if changes.since else "(all of it: nothing ran before)"
    lines = [
        f"commit {found.commit} of task '{found.task}'",
        f"  {found.subject or '(no subject)'}",
        f"  by {found.author or '(unknown author)'}",
        f"now runs: {found.active or 'nothing'}",
        f"files changed {since}:",
        *_listed(changes.files),
        "dependencies changed:",
        *_listed(changes.dependencies),
    ]
    more = [f"and {changes.more} more that the server does not name"] if changes.more else []
    return "\n".join(printable(line) for line in [*lines, *more])


def _listed(entries: list[str]) -> list[str]:
    if not entries:
        return ["  none"]
    rest = len(entries) - _SHOWN
    more = [f"  and {rest} more"] if rest > 0 else []
    return [f"  {entry}" for entry in entries[:_SHOWN]] + more
