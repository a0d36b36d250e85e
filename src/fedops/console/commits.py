"""Sources of tasks and their commits on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import coloured, fields, moment, table_of
from fedops.core import contracts as c


def source_fields(source: c.SourceRead) -> RenderableType:
    return fields(
        {
            "source": source.url,
            "ref": source.ref or "what the repository itself names",
            "folder": source.subfolder or ".",
            "looked at": f"every {source.poll_seconds:g} s" if source.poll_seconds else "when told",
            "commit": source.commit and source.commit[:12],
            "problem": source.problem,
        }
    )


def commits_table(commits: Sequence[c.CommitRead]) -> RenderableType:
    if not commits:
        return "No commit yet: 'fedops task source NAME --git URL' says where they come from."
    titles = ("COMMIT", "STATUS", "SEEN", "SUBJECT", "AUTHOR", "CHANGES", "REASON")
    rows = [
        (
            one.commit[:12],
            coloured(one.status),
            moment(one.seen_at),
            one.subject,
            one.author,
            _changes(one.changes),
            one.reason,
        )
        for one in commits
    ]
    return table_of(titles, rows, optional=("AUTHOR", "CHANGES", "REASON"))


def _changes(changes: c.CommitChanges) -> str:
    """``3 files, + scikit-learn>=1.5``."""
    if changes.since is None:
        return ""
    count = len(changes.files)
    files = [f"{count} file{'' if count == 1 else 's'}"] if count else []
    more = [f"{changes.more} more"] if changes.more else []
    return ", ".join([*files, *changes.dependencies, *more])
