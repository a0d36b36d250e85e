"""Instructions as rows: one for all that are told the same."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy.orm import Session

from fedops.core.errors import Invalid
from fedops.server.database import blob_rows
from fedops.server.database.tables import InstructionRow
from fedops.storage.payloads import blobs_of, check_document


def keep_instruction(session: Session, run_id: int | None, document: object, now: float) -> str:
    """Keep an instruction; the same one of a run is kept once. Returns its id.

    ``Invalid``: it is none, or there is no blob that it names.
    """
    checked = check_document(document)
    for blob in blobs_of(checked).values():
        if blob_rows.require_blob(session, blob.sha256, "blob of an instruction") != blob:
            raise Invalid(f"the blob {blob.sha256[:12]} of an instruction has another size")
    content = json.dumps(checked, separators=(",", ":"), allow_nan=False)
    id_ = hashlib.sha256(f"{run_id}\n{content}".encode()).hexdigest()
    row = session.get(InstructionRow, id_)
    if row is None:
        session.add(InstructionRow(id=id_, run_id=run_id, content=content, created_at=now))
        session.flush()
    elif run_id is None:
        row.created_at = now  # it goes a month after it was used last
    return id_
