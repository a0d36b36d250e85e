"""What a task's next runs use: the app and config of the commit that its devices run."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.errors import Invalid
from fedops.core.reasons.commits import short_commit
from fedops.server.database.tables import CommitRow, TaskRow
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.tasks.tasks import ConfigOf, effective_config


def adopt(session: Session, commit: CommitRow, config_of: ConfigOf, change: Change) -> None:
    """The task's next run uses this commit. Runs that go on keep what they began with.

    ``config_of`` has read the commit's config before: no file is opened here. ``Invalid`` when the task's
    overrides do not fit it.
    """
    row = session.get_one(TaskRow, commit.task)
    if commit.bundle is None or row.bundle == commit.bundle:
        return
    try:
        config = effective_config(config_of(commit.bundle), row.overrides, row.name)
    except Invalid as error:
        raise Invalid(
            f"the overrides of task '{row.name}' do not fit commit {short_commit(commit.commit)}: "
            f"{error.message}; change them with 'fedops task update {row.name} --set KEY=VALUE'"
        ) from None
    row.bundle, row.config, row.updated_at = commit.bundle, config, change.at
    text = f"runs use commit {short_commit(commit.commit)} from now on: {change.why}"
    subject = f"task {row.name}"
    event_log.append_event(session, change.at, change.who, subject, "task.updated", text)
    session.flush()
