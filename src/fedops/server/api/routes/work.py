"""What a device does for its work, with its token: the long poll, instructions, progress, results.

A plain ASGI app: these calls are most of what the server does, so they go by no framework, and the database
is asked only where something must be durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from fedops import __version__
from fedops.api_client import LONG_POLL_SECONDS, PREFIX
from fedops.core import contracts as c
from fedops.core.contracts import PROTOCOL_HEADER, RELEASE_HEADER
from fedops.core.errors import FedOpsError, Invalid, NotFound
from fedops.failpoints import reached
from fedops.server.access import rules
from fedops.server.api.http import strict_json
from fedops.server.api.http.error_responses import describe
from fedops.server.assignments import assignments
from fedops.server.delivery import device_polls
from fedops.server.devices.wanted.desired_state import Wanted
from fedops.server.events.notifications import OpenWork, WorkOver
from fedops.server.protocol import error_replies
from fedops.server.protocol.protocol_version import require_protocol
from fedops.server.protocol.refusals import Gone, TooLarge
from fedops.server.rounds.held_work import Listener, News
from fedops.server.runs import stopping
from fedops.server.services.services import Services

logger = logging.getLogger("fedops.server")
MOUNT = PREFIX + "/work"
#: A poll, progress or an end is smaller. Bytes.
_SMALL = 256 << 10
_JSON = b"application/json"
B = TypeVar("B", bound=BaseModel)
Answer = tuple[int, bytes]
DONE: Answer = (204, b"")


class WorkApp:
    """Everything below ``/api/v1/work``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._calls: Mapping[tuple[str, str], tuple[int, Callable[..., Awaitable[Answer]]]] = {
            ("GET", "instruction"): (0, self._instruction),
            ("POST", "progress"): (_SMALL, self._progress),
            ("POST", "end"): (_SMALL, self._end),
            ("POST", "result"): (c.INLINE_BYTES, self._result),
            ("POST", "slot"): (_SMALL, self._slot),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._answer(scope, receive)
            headers: list[tuple[bytes, bytes]] = []
        except FedOpsError as error:
            status, body, headers = _refusal(error)
        except Exception as error:
            status, body, headers = _failure(scope, error)
        headers.append((b"content-length", str(len(body)).encode()))
        if body:
            headers.append((b"content-type", _JSON))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers = {name: value for name, value in scope["headers"] if name in _WANTED}
        said, release = (headers.get(name, b"").decode("latin-1") for name in _VERSIONS)
        require_protocol(said, release)
        device_id = await self._device(headers.get(b"authorization", b"").decode("latin-1"))
        method, rest = scope["method"], scope["path"].rpartition(MOUNT)[2].strip("/").split("/")
        if rest == [""] and method == "POST":
            body = await _read(receive, headers, _SMALL)
            return await self._poll(device_id, _parse(c.WorkPoll, body))
        limit, call = self._calls.get((method, rest[-1]), (0, None))
        if call is None or len(rest) != 2:
            raise NotFound(f"there is nothing at {method} {scope['path']}; see /api/docs")
        self._services.presence.heard(device_id, self._services.clock())
        await self._services.others.learn(device_id, [rest[0]])
        data = await _read(receive, headers, limit) if limit else b""
        return await call(device_id, rest[0], data)

    async def _device(self, authorization: str) -> str:
        """The device that calls."""
        tokens = self._services.token_cache
        principal = await tokens.principal_of(authorization, "the token of a device")
        rules.require_allowed(principal, rules.DEVICE)
        return principal.device_id or ""

    # --- the long poll -------------------------------------------------------------------------

    async def _poll(self, device_id: str, body: c.WorkPoll) -> Answer:
        services, now = self._services, self._services.clock()
        hub, presence = services.hub, services.presence
        twins = services.twins.heard(device_id, body.life)
        await services.others.learn(device_id, [one.id for one in body.held])
        poll = hub.polled(device_id, body.held)
        if presence.polled(device_id, body, twins, now):
            interval = presence.interval
            approved = await services.writer.submit(
                lambda session: device_polls.record_poll(
                    session, device_id, body, interval, now, twins=twins
                )
            )
            presence.wrote(device_id, body, twins, now, settled=approved)
        await self._release(now)
        held = frozenset(one.id for one in body.held)
        listener = Listener(device_id, body.life, held, poll, takes_offers=not twins)
        after = await self._after(device_id, body.after)
        news = await hub.wait(listener, after, min(body.wait, presence.interval))
        still_open = await services.others.still_open([offer.id for offer in news.offers])
        offers = [offer for offer in news.offers if offer.id in still_open]
        wanted = await services.wanted.get(device_id, news.revision)
        said = self._work(replace(news, offers=offers), wanted)
        return 200, said.model_dump_json().encode()

    async def _after(self, device_id: str, told: int) -> int:
        """The revision of ours that a device has which was told this one."""
        services = self._services
        ours = services.hub.revision(device_id)
        if told == ours:
            return ours
        wanted = await services.wanted.get(device_id, ours)
        return ours if told == services.others.revision(ours, wanted) else told

    async def _release(self, now: float) -> None:
        """Devices are not at some of what was cancelled any more: who waits for that may go on."""
        hub, settings = self._services.hub, self._services.settings
        released = hub.take_released()
        if not released:
            return
        try:
            await self._services.writer.submit(
                lambda session: stopping.confirm_released(session, released, settings, now)
            )
        except BaseException:  # a caller that goes away, too: doing it twice is harmless
            hub.give_back(released)
            raise

    def _work(self, news: News, wanted: Wanted) -> c.Work:
        services = self._services
        return c.Work(
            revision=services.others.revision(news.revision, wanted),
            enrolment=wanted.enrolment,
            name=wanted.name,
            tasks=wanted.tasks,
            runs=wanted.runs,
            problems=wanted.problems,
            serving=wanted.serving,
            offers=news.offers,
            cancel=news.cancel,
            forget=news.forget,
            deployments=wanted.deployments,
            poll_seconds=services.presence.interval,
            fedops=__version__,
            upgrade=wanted.upgrade.release,
            upgrade_attempt=wanted.upgrade.attempt,
            telemetry_seconds=services.settings.telemetry_seconds,
        )

    # --- one assignment ------------------------------------------------------------------------

    async def _instruction(self, device_id: str, id_: str, _: bytes) -> Answer:
        """Fetching it accepts the assignment."""
        services = self._services
        work = services.hub.accept(device_id, id_)
        if not isinstance(work, OpenWork):
            return await self._over(device_id, id_, work)
        instructed = await services.instructions.get(work.instruction)
        head = c.Instruction(
            id=work.id,
            kind=work.kind,
            task=work.task,
            run_id=work.run_id,
            attempt=work.attempt,
            round=work.round,
            group_id=work.group_id,
            retry=work.retry,
            work_key=work.work_key,
            content={},
            encodings=list(work.encodings),
            max_bytes=work.max_bytes,
            seconds_left=max(work.deadline_at - services.clock(), 0.0),
        )
        # The content is as large as all the rest, and the same for all: it is put in as it is kept.
        text = head.model_dump_json(exclude={"content"}).encode()
        return 200, b'{"content":' + instructed.content + b"," + text[1:]

    async def _progress(self, device_id: str, id_: str, data: bytes) -> Answer:
        body = _parse(c.Progress, data)
        if not self._services.hub.progress(device_id, id_, body):
            return await self._over(device_id, id_, self._services.hub.ended(device_id, id_))
        return DONE

    async def _end(self, device_id: str, id_: str, data: bytes) -> Answer:
        body, now = _parse(c.WorkEnd, data), self._services.clock()
        await self._services.writer.submit(
            lambda session: assignments.end_assignment(session, device_id, id_, body, now)
        )
        self._services.slots.release(id_)
        reached("server.work.end.after")
        return DONE

    async def _result(self, device_id: str, id_: str, data: bytes) -> Answer:
        if not data:
            raise Invalid("the result is empty: send the payload file as the body")
        since, now = self._services.hub.sending_since(device_id, id_), self._services.clock()
        result = assignments.Result(size=len(data), inline=data, sending_at=since)
        await self._services.writer.submit(
            lambda session: assignments.deliver_result(session, device_id, id_, result, now)
        )
        self._services.slots.release(id_)
        reached("server.work.result.after")
        return DONE

    async def _slot(self, device_id: str, id_: str, data: bytes) -> Answer:
        """Stand in line for leave to upload. Who does is late only after the upload's grace."""
        body, hub = _parse(c.SlotRequest, data), self._services.hub
        if hub.open_assignment(device_id, id_) is None:
            return await self._over(device_id, id_, hub.ended(device_id, id_))
        hub.wants_to_send(device_id, id_, body.size)
        slot = await self._services.slots.acquire(id_, min(body.wait, LONG_POLL_SECONDS))
        return 200, slot.model_dump_json().encode()

    async def _over(self, device_id: str, id_: str, known: WorkOver | None) -> Answer:
        """Say why there is nothing to do for an assignment: 404 or 410."""
        if known is not None:
            how = known.cancelled or "it was delivered or ended"
            raise Gone(f"the assignment is over: {how}; drop what there is of it")
        await asyncio.to_thread(self._raise_over, device_id, id_)
        raise NotFound(f"this device has no assignment {id_[:40]}")

    def _raise_over(self, device_id: str, id_: str) -> None:
        with self._services.db.read() as session:
            assignments.raise_gone(session, device_id, id_)


_VERSIONS = (PROTOCOL_HEADER.encode(), RELEASE_HEADER.encode())
_WANTED = (b"authorization", b"content-length", *_VERSIONS)


def _parse(kind: type[B], data: bytes) -> B:
    try:
        return kind.model_validate(strict_json.loads(data))
    except ValidationError as error:
        mistakes = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise Invalid(describe(mistakes)) from None


async def _read(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body. ``TooLarge`` as soon as it is known to be."""
    announced = headers.get(b"content-length", b"")
    size = int(announced) if announced.isdigit() else 0
    blocks: list[bytes] = []
    more = size <= limit
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the request broke off in the middle of its body")
        blocks.append(message.get("body", b""))
        size = sum(map(len, blocks))
        more = message.get("more_body", False) and size <= limit
    if size > limit:
        raise TooLarge(f"the body is larger than the {limit:,} bytes that this call takes")
    return b"".join(blocks)


def _failure(scope: Scope, error: Exception) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """An error that is none of the five kinds: of this machine, or a bug of ours."""
    if (lacking := error_replies.as_shortage(error)) is not None:
        return _refusal(lacking)
    logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return 500, error_replies.INTERNAL.model_dump_json().encode(), []


def _refusal(error: FedOpsError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    error_replies.log_trouble(error)
    headers = error_replies.HEADERS.get(error.http_status, {})
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return error.http_status, c.ErrorReply.of(error).model_dump_json().encode(), encoded
