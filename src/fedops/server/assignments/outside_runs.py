"""Work for single devices that is of no run: benchmarks, and looks at their data. Its results are small."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from fedops.core.contracts import INLINE_BYTES
from fedops.core.states import AssignmentStatus
from fedops.server.assignments import open_work
from fedops.server.database.tables import AssignmentRow

#: It waits for the round that its device works in, and then takes a minute or so. Seconds.
DEADLINE_SECONDS = 3_600.0


def assignment(kind: str, task: str, device_id: str, instruction: str, now: float) -> AssignmentRow:
    """An offer to one device, to be added."""
    id_ = uuid.uuid4().hex
    return AssignmentRow(
        id=id_,
        device_id=device_id,
        kind=kind,
        task=task,
        work_key=f"{kind}-{id_}",
        instruction=instruction,
        encodings=["none"],
        max_bytes=INLINE_BYTES,
        status=AssignmentStatus.OFFERED,
        offered_at=now,
        deadline_at=now + DEADLINE_SECONDS,
        upload_grace=0.0,
        stage="waiting",
        stage_text="",
    )


def devices_at(session: Session, kind: str, task: str) -> set[str]:
    """The devices whose work of this kind for the task is open."""
    rows = open_work.open_rows(session, AssignmentRow.task == task, AssignmentRow.kind == kind)
    return {row.device_id for row in rows if row.run_id is None}
