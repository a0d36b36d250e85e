"""Who looks at what, and what they are sent: each change is drawn once for all who see the same."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fedops.core.errors import FedOpsError, Unavailable
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.message import RELOAD, Message, news_of
from fedops.server.dashboard.live.page import Drawn, Page, draw_anew
from fedops.server.dashboard.web.view import View
from fedops.server.database.database import ReadSession
from fedops.server.events.news import EventNews, events_after, events_that_tell, newest_event
from fedops.server.measures.measures import Level
from fedops.server.services.services import Services

logger = logging.getLogger("fedops.server")

#: How often the database is asked for new events; how soon a page is drawn again at the earliest and, with
#: events, at the latest. Seconds.
LOOK_SECONDS, SOONEST_SECONDS, LATEST_SECONDS = 0.2, 0.25, 0.85
#: In between, it is drawn so often that it takes this share of a core; a message costs this for each viewer.
PAGE_SHARE, MESSAGE_SECONDS = 0.02, 0.0003
#: What is no event (progress, logs, time) is looked for this often, or so that it takes this share of a core.
SWEEP_SECONDS, SWEEP_SHARE = 2.0, 0.015
#: Whoever is further behind begins anew; whoever does not read so many messages comes back later.
MOST_EVENTS, MOST_WAITING = 1_000, 40
#: As fresh as this, what was drawn is good for who comes new. Seconds.
FRESH_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """What a page shows: which page, of what, and for whom. Who ask the same share what is drawn."""

    page: Page
    path: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]
    roles: tuple[str, ...]
    tasks: frozenset[str] | None
    #: None, where nothing on the page is of one user alone.
    user_id: int | None

    @classmethod
    def of(
        cls, page: Page, path: Mapping[str, str], query: Mapping[str, str], who: Principal
    ) -> Asked:
        return cls(
            page,
            tuple(sorted(path.items())),
            tuple(sorted(query.items())),
            tuple(role.value for role in who.roles),
            who.tasks,
            who.user_id if page.personal else None,
        )


class Viewer:
    """One open page."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue(MOST_WAITING)
        #: It reads too slowly: what it missed it gets when it comes back.
        self.left_behind = False

    def send(self, message: Message) -> None:
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            self.left_behind = True


@dataclass
class Watched:
    """What some viewers look at, as it was drawn last."""

    asked: Asked
    who: Principal
    viewers: set[Viewer] = field(default_factory=set)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    concerns: Callable[[EventNews], bool] = lambda event: True
    #: Events that were not told yet.
    news: list[EventNews] = field(default_factory=list)
    #: When the last drawing began, and the last of all of it, not only of what events concern.
    drawn_at: float = float("-inf")
    swept_at: float = float("-inf")
    #: Of the last drawing, and of the last one of all of it. Seconds.
    cost: float = 0.0
    whole_cost: float = 0.0

    @property
    def due_at(self) -> float:
        """When it is drawn again for its news."""
        cost = self.cost + MESSAGE_SECONDS * len(self.viewers)
        return self.drawn_at + min(max(SOONEST_SECONDS, cost / PAGE_SHARE), LATEST_SECONDS)


class LiveHub:
    """Used in the event loop of the process; drawing is done beside it, one page at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watched: dict[Asked, Watched] = {}
        self._pen = ThreadPoolExecutor(1, thread_name_prefix="pages")
        #: Up to this event all are told or kept in ``news``.
        self._seen = 0
        self._task: asyncio.Task[None] | None = None
        self._drawing = asyncio.Lock()
        self._draws = self._messages = 0

    def close(self) -> None:
        """Draw nothing more."""
        if self._task is not None:
            self._task.cancel()
        self._pen.shutdown(wait=False, cancel_futures=True)

    def levels(self) -> Iterator[Level]:
        """How much is looked at, and what that cost since the process began."""
        watched = list(self._watched.values())
        open_pages = sum(len(one.viewers) for one in watched)
        yield Level("fedops_open_pages", "Pages that are open in browsers.", value=open_pages)
        about = "Open pages that differ from each other."
        yield Level("fedops_different_pages", about, value=len(watched))
        about = "How often an open page was drawn again."
        yield Level("fedops_pages_drawn", about, value=self._draws, counts=True)
        about = "Messages to open pages, beside signs of life."
        yield Level("fedops_page_messages", about, value=self._messages, counts=True)

    async def join(
        self, asked: Asked, who: Principal, seq: int, digests: Mapping[str, str]
    ) -> Viewer:
        """A page was opened, or came back: it is sent what has changed since event ``seq``."""
        viewer = Viewer()
        async with self._drawing:
            if not self._is_going:
                self._seen = await self._beside(self._newest)
            watched = self._watched.get(asked) or Watched(asked, who)
            if self._now() - watched.swept_at > FRESH_SECONDS or watched.news:
                await self._draw(watched, self._now())
            missed = await self._beside(self._missed, watched, seq)
            self._messages += 1
            viewer.send(_catch_up(watched, digests, self._seen, missed, self._services.clock()))
            watched.viewers.add(viewer)
            self._watched[asked] = watched
            if not self._is_going:
                self._task = asyncio.create_task(self._go())
        return viewer

    def leave(self, asked: Asked, viewer: Viewer) -> None:
        """A page was closed."""
        watched = self._watched.get(asked)
        if watched is None:
            return
        watched.viewers.discard(viewer)
        if not watched.viewers:
            del self._watched[asked]

    @property
    def _is_going(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _go(self) -> None:
        """While anybody looks: hear what happens, draw what it changes."""
        while self._watched:
            try:
                async with self._drawing:
                    await self._look()
            except (
                FedOpsError
            ) as error:  # such as a database that is away: pages say that they wait
                logger.debug("pages are not kept up to date: %s", error.message)
            except Exception:
                logger.exception("pages could not be kept up to date")
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """How long to wait: while every page has news and none is due, hearing of more changes nothing."""
        watched = list(self._watched.values())
        if not watched or not all(one.news for one in watched):
            return LOOK_SECONDS
        due = min(one.due_at for one in watched) - self._now()
        return min(max(due, 0.01), LATEST_SECONDS)

    async def _look(self) -> None:
        events = await self._beside(self._news)
        for watched in list(self._watched.values()):
            watched.news += [event for event in events if watched.concerns(event)]
        if events:
            self._seen = events[-1].id
        costs = sum(one.whole_cost for one in self._watched.values())
        sweep, now = max(SWEEP_SECONDS, costs / SWEEP_SHARE), self._now()
        for watched in list(self._watched.values()):
            if now - watched.swept_at >= sweep:
                await self._draw(watched, now)
            elif watched.news and now >= watched.due_at:
                await self._draw(watched, now, watched.news)

    async def _draw(
        self, watched: Watched, now: float, events: list[EventNews] | None = None
    ) -> None:
        """Draw again what these events concern (None: all of it), and send what looks different.

        ``now``: of the look that this belongs to, so that its pages are due together again.
        """
        news, watched.news = watched.news, []
        self._draws += 1
        watched.drawn_at = now
        try:
            drawn, ids = await self._beside(self._drawn, watched, events, news)
        except Unavailable:
            watched.news = news + watched.news
            raise
        except (
            FedOpsError
        ):  # of this page alone, such as that what it shows is gone: it says so itself
            self._send(watched, RELOAD)
            return
        except Exception:  # of one page: the others go on
            logger.exception("the page %s cannot be drawn", watched.asked.page.path)
            drawn, ids = {}, [event.id for event in news]
        if events is None:
            watched.swept_at = now
        changed = {
            name: one
            for name, one in drawn.items()
            if name not in watched.drawn or watched.drawn[name].digest != one.digest
        }
        watched.drawn |= drawn
        if changed or ids:
            self._send(watched, news_of(self._seen, ids, changed, self._services.clock()))

    def _send(self, watched: Watched, message: Message) -> None:
        self._messages += len(watched.viewers)
        for viewer in watched.viewers:
            viewer.send(message)

    def _drawn(
        self, watched: Watched, events: list[EventNews] | None, news: list[EventNews]
    ) -> tuple[dict[str, Drawn], list[int]]:
        """In the thread that draws: the panels, and which events their viewers may know of."""
        began = time.thread_time()
        with self._services.db.read() as session:
            view = self._view(watched, session)
            if events is None:
                watched.concerns = watched.asked.page.concerns(view)
            drawn = draw_anew(watched.asked.page.panels(view), view, events, watched.drawn)
            told = events_that_tell(session, (event.id for event in news), view.tasks)
        watched.cost = time.thread_time() - began
        if events is None:
            watched.whole_cost = watched.cost
        return drawn, sorted(told)

    def _missed(self, watched: Watched, seq: int) -> list[int] | None:
        """The events after ``seq`` that concern this page. None: they are too many to tell."""
        if seq >= self._seen:
            return []
        with self._services.db.read() as session:
            events = events_after(session, seq, MOST_EVENTS + 1)
            if len(events) > MOST_EVENTS:
                return None
            ids = [e.id for e in events if e.id <= self._seen and watched.concerns(e)]
            return sorted(events_that_tell(session, ids, watched.who.tasks))

    def _view(self, watched: Watched, session: ReadSession) -> View:
        asked, services = watched.asked, self._services
        path, query = dict(asked.path), dict(asked.query)
        return View(services, session, watched.who, path, query, services.clock())

    def _newest(self) -> int:
        with self._services.db.read() as session:
            return newest_event(session)

    def _news(self) -> list[EventNews]:
        with self._services.db.read() as session:
            return events_after(session, self._seen, MOST_EVENTS)

    async def _beside(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pen, work, *args)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _catch_up(
    watched: Watched, digests: Mapping[str, str], seq: int, missed: list[int] | None, now: float
) -> Message:
    """What a page lacks that has these panels."""
    if missed is None or not digests.keys() <= watched.drawn.keys():
        return RELOAD
    lacking = {n: one for n, one in watched.drawn.items() if digests.get(n) != one.digest}
    return news_of(seq, missed, lacking, now)
