"""Where the code of tasks comes from, the commits that were found there, and the calls of Git hosts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from fastapi.concurrency import run_in_threadpool

from fedops.core.contracts import CommitRead, HookReply, HookSecret, SourceRead, SourceSet, TaskRead
from fedops.core.errors import Invalid
from fedops.server.access.permissions import PREFIX
from fedops.server.api.http import strict_json
from fedops.server.api.http.authentication import PERSON, Limit, Named, Server
from fedops.server.api.http.request_body import read_limited
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.commits import commit_states
from fedops.server.delivery.sources import hooks, task_sources
from fedops.server.jobs.delivery.delivery_jobs import private_folders
from fedops.server.services.services import Services
from fedops.server.tasks import tasks

router = api_router("sources", PERSON)
#: Git hosts sign what they send in place of having a token.
hooked = api_router("sources")
CommitName = Annotated[str, Path(pattern=r"^[0-9a-f]{7,64}$")]


@router.put("/tasks/{task}/source")
def set_source(task: Named, body: SourceSet, server: Server) -> SourceRead:
    """Say where the code of a task comes from. It is looked at at once, and its commits are checked."""
    private = private_folders(server.settings)
    with server.db.write() as session:
        made = task_sources.set_source(session, task, body, private, server.clock())
    server.wake_delivery()
    return made


@router.post("/tasks/{task}/source/look")
def look_at_source(task: Named, server: Server) -> SourceRead:
    """Have the source looked at now. The answer is how it is known before that."""
    with server.db.write() as session:
        found = task_sources.look_soon(session, task, server.clock())
    server.wake_delivery()
    return found


@router.post("/tasks/{task}/source/remove")
def remove_source(task: Named, server: Server) -> TaskRead:
    """From now on the task keeps the code that it has."""
    with server.db.write() as session:
        task_sources.remove_source(session, task, server.clock())
        return tasks.read_task(session, task)


@router.get("/tasks/{task}/source/hook")
def show_hook(task: Named, server: Server) -> HookSecret:
    """What a Git host is given so that it can tell of new commits: a URL, and a secret to sign with."""
    with server.db.read() as session:
        task_sources.require_source(session, task)
    url = f"{server.settings.url}{PREFIX}/hooks/git/{task}"
    return HookSecret(url=url, secret=server.hook_key.secret(task))


@router.get("/tasks/{task}/commits")
def list_commits(task: Named, server: Server, limit: Limit = 50) -> list[CommitRead]:
    """The commits that were found in the task's source, the newest first."""
    with server.db.read() as session:
        return commit_states.list_commits(session, task, limit)


@router.post("/tasks/{task}/commits/{commit}/check")
def check_commit(task: Named, commit: CommitName, server: Server) -> CommitRead:
    """Have a commit checked once more that was refused or passed over."""
    with server.db.write() as session:
        found = commit_states.check_again(session, task, commit, server.clock())
    server.wake_delivery()
    return found


@hooked.post("/hooks/git/{task}")
async def hear_git_host(task: Named, request: Request, server: Server) -> HookReply:
    """For Git hosts: something was pushed. Signed as GitHub, Gitea, Forgejo or GitLab do."""
    body = await read_limited(request, hooks.MOST_BYTES)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return await run_in_threadpool(_hear, task, headers, body, server)


def _hear(task: str, headers: dict[str, str], body: bytes, server: Services) -> HookReply:
    hooks.require_signed(server.hook_key.secret(task), headers, body)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise Invalid(
            "the Git host sends a form: set the content type of the hook to application/json"
        )
    heard = hooks.parse(strict_json.loads(body), body, headers)
    with server.db.write() as session:
        reply = hooks.hear(session, task, heard, server.clock())
    if reply.accepted:
        server.wake_delivery()
    return reply
