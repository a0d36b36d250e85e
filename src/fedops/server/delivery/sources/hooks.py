"""Calls of Git hosts that say "there is something new": signed, heard once, for one branch."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from fedops.core.contracts import HookReply
from fedops.core.errors import Forbidden, Invalid
from fedops.core.printable import printable
from fedops.server.database.tables import HookRow, SourceRow, TaskRow
from fedops.server.events import event_log
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.server.delivery")

#: The longest call. Bytes.
MOST_BYTES = 1 << 20
#: For so long a copy of a call is not heard, and its digest is kept. Seconds.
REPLAY_SECONDS, KEPT_SECONDS = 86_400.0, 2 * 86_400.0
_KEY_BYTES = 32
_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_REFUSED = (
    "the call is not signed with the secret of this task: 'fedops task source TASK --show-hook' shows it and "
    "the URL"
)


# --- secrets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class HookKey:
    """The key that the secrets of all tasks are made from: a file that only the server reads."""

    file: Path

    def secret(self, task: str) -> str:
        """What the Git host of this task's source is given."""
        return hmac.digest(self._key(), f"hook of task {task}".encode(), "sha256").hex()

    def _key(self) -> bytes:
        try:
            return self._read()
        except FileNotFoundError:
            pass
        made = secrets.token_bytes(_KEY_BYTES)
        draft = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        write_atomic(draft, made, 0o600)
        try:
            os.link(draft, self.file)  # whoever is first makes it
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        return self._read()

    def _read(self) -> bytes:
        key = self.file.read_bytes()
        if len(key) < _KEY_BYTES:
            raise Invalid(
                f"{self.file} is too short for a key: remove it, and give the Git hosts their new secrets"
            )
        return key


def require_signed(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """``Forbidden`` unless the call carries a signature or token that fits. ``headers``: lower case.

    GitHub, Gitea and Forgejo sign the body; GitLab sends the secret itself.
    """
    expected = hmac.digest(secret.encode(), body, "sha256").hex()
    signed = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
    signed = (
        signed or headers.get("x-forgejo-signature", "") or headers.get("x-gitea-signature", "")
    )
    token = headers.get("x-gitlab-token", "")
    right = _same(signed, expected) if signed else _same(token, secret)
    if not right:
        raise Forbidden(_REFUSED)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


# --- what is said ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """What a call says, once it is known who says it."""

    #: Tells a copy from another call.
    digest: str
    size: int
    #: The branch or tag that was pushed to; "": it tells of something else.
    ref: str = ""
    #: The branch that the repository itself names, if it is said.
    default_branch: str = ""


def parse(document: Any, body: bytes, headers: Mapping[str, str]) -> Heard:
    """What a document of a Git host says. What is not understood says nothing."""
    said: dict[str, Any] = document if isinstance(document, dict) else {}
    about = [said[key] for key in ("repository", "project") if isinstance(said.get(key), dict)]
    branch = next((one["default_branch"] for one in about if one.get("default_branch")), "")
    ref = said.get("ref", "")
    # A token signs nothing: what tells GitLab's calls apart is beside the body.
    apart = headers.get("x-gitlab-event-uuid", "") if "x-gitlab-token" in headers else ""
    return Heard(
        digest=hashlib.sha256(apart.encode("utf-8", "replace") + b"\0" + body).hexdigest(),
        size=len(body),
        ref=ref[:500] if isinstance(ref, str) else "",
        default_branch=branch[:255] if isinstance(branch, str) else "",
    )


def hear(session: Session, task: str, heard: Heard, now: float) -> HookReply:
    """A signed call. If it tells of the source's branch, the source is looked at at once.

    ``Forbidden``: there is no such task. Nobody learns that who has no secret.
    """
    if session.get(TaskRow, task) is None:
        raise Forbidden(_REFUSED)
    known = session.get(HookRow, (task, heard.digest))
    if known is not None and now - known.at < REPLAY_SECONDS:
        return HookReply(accepted=False, why="heard already")
    session.merge(HookRow(task=task, digest=heard.digest, at=now, size=heard.size))
    source = session.get(SourceRow, task)
    why = _why_not(source, heard)
    if why or source is None:
        return HookReply(accepted=False, why=why)
    source.look_at = now
    text = f"{printable(heard.ref)} was pushed"
    event_log.append_event(session, now, "Git host", f"task {task}", "source.hook", text)
    return HookReply(accepted=True, why="the source is looked at now")


def _why_not(source: SourceRow | None, heard: Heard) -> str:
    if not heard.ref:
        return "this is no push: nothing to do"
    if source is None:
        return "the task has no source"
    wanted = source.ref or heard.default_branch
    names = (wanted, f"{_BRANCH}{wanted}", f"{_TAG}{wanted}")
    if wanted and heard.ref not in names:
        return f"the source is at '{printable(wanted)}', not at what was pushed"
    return ""


def forget_old(session: Session, now: float) -> None:
    """Calls that were heard long ago: a copy of one is only an unneeded look."""
    session.execute(delete(HookRow).where(HookRow.at < now - KEPT_SECONDS))
