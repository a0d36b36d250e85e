"""The dashboard over a large database: each page's data, its first paint, many open pages, their memory.

1,000 devices, 200 rounds of all of them in one run, 10,000 runs, 50 tasks, 5,000,000 metrics; SQLite. The
open pages are WebSockets of another process on this machine, which writes 50 events a second, too.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import many_rows
import many_sizes
import numpy as np
import psutil
from common import HERE, options, report, say
from open_pages import Events, Heard, look, session_of

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import ChannelKind, Role, TokenKind
from fedops.processes.spawn import clean_env, spawn, tethered
from fedops.server.access import tokens
from fedops.server.access.principal import Principal
from fedops.server.app import create_app
from fedops.server.dashboard.live.page import Page, draw
from fedops.server.dashboard.mounting import PAGES
from fedops.server.dashboard.web.view import View
from fedops.server.notifications import channels
from fedops.server.services.services import Services
from fedops.settings import ServerSettings
from fedops.testing import FakeEngines

MUST_DATA_MS, MUST_CPU, MUST_MB, MUST_WAIT_MS, MUST_METRICS_MS = 300.0, 10.0, 1.0, 1_000.0, 50.0
#: From the navigation to the first paint.
MUST_PAINT_MS = {"/": 500.0, "/runs/{run_id}": 1_000.0}
MUST_OTHER_PAINT_MS = 2_000.0
PAGES_OPEN, EVENTS_A_SECOND, SOAK_PAGES = 100, 50.0, 20
#: How much memory may grow from the second quarter of a soak to its end. MB.
MUST_GROW_MB = 10.0
_LOOKS, _WARM_SECONDS, _SAMPLE_SECONDS = 7, 10.0, 5.0
PARTS = ("data", "paint", "live")
_COLUMNS = ("What", "Median", "Worst", "Unit", "Must", "Kept")
_MB = 1e6
_CHANNEL = "ops"


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--soak", action="store_true", help="20 pages for 30 minutes (quick: 2)")
    parser.add_argument("--home", type=Path, help="keep the database here, or use the one there")
    parser.add_argument("--only", choices=PARTS, help="one part; default: all three")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedops-dashboard-") as made:
        home = (given.home or Path(made)).resolve()
        paths = _prepare(home)
        rows = _soak(home, given) if given.soak else _all(home, paths, given)
    missed = [row["what"] for row in rows if row["kept"] == "no"]
    result = {
        "benchmark": "dashboard",
        "what": "pages over 1,000 devices, 10,000 runs and 5,000,000 metrics",
        "rows": rows,
        "ok": not missed,
        "notes": [f"missed: {', '.join(missed) or 'nothing'}; load {_load()}"],
    }
    report(result, given.json, _COLUMNS)
    sys.exit(0 if result["ok"] else 1)


def _all(home: Path, paths: dict[str, str], given: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = PARTS if given.only is None else (given.only,)
    rows = list(_data(home, paths)) if "data" in wanted else []
    if "paint" in wanted:
        with _server(home) as server:
            rows += _paint(server, paths)
    if "live" in wanted:
        with _server(home) as server:
            rows += _live(server, 20.0 if given.quick else 60.0)
    return rows


def _load() -> str:
    return f"{psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores"


def _row(what: str, median: float, worst: float, unit: str, must: float) -> dict[str, Any]:
    kept = "yes" if worst <= must else "no"
    return {
        "what": what,
        "median": median,
        "worst": worst,
        "unit": unit,
        "must": must,
        "kept": kept,
    }


# --- the database -----------------------------------------------------------------------------


@contextmanager
def _services(home: Path) -> Iterator[Services]:
    app = create_app(ServerSettings(home=home), FakeEngines(), workers=False, dashboard=True)
    manager = app.state.manager
    manager.open()
    try:
        yield manager.services
    finally:
        app.state.pages.close()
        manager.services.db.close()


def _prepare(home: Path) -> dict[str, str]:
    """Fill the database, unless it is; what the paths of pages name."""
    fresh = not (home / "fedops.db").exists()
    with _services(home) as services:
        if fresh:
            many_rows.fill(services.db, time.time())
        with services.db.write() as session:
            if all(one.name != _CHANNEL for one in channels.list_channels(session)):
                url = "http://127.0.0.1:9/"
                body = c.ChannelCreate(name=_CHANNEL, kind=ChannelKind.WEBHOOK, url=url)
                channels.add_channel(session, body, "", services.clock())
            token = tokens.create_join_token(session, c.TokenCreate(uses=1), services.clock())
    return {
        "run_id": str(many_sizes.BIG_RUN),
        "task": many_sizes.BIG_TASK,
        "device": "device-0001",
        "version": "V2",
        "other": "V1",
        "channel": _CHANNEL,
        "token_id": str(token.id),
    }


# --- the data of each page ---------------------------------------------------------------------


def _data(home: Path, paths: dict[str, str]) -> Iterator[dict[str, Any]]:
    """How long all panels of each page take, without a browser."""
    roles = (Role.ADMIN,)
    who = Principal(TokenKind.PERSONAL, 1, user_id=1, user="admin", roles=roles)
    with _services(home) as services:
        for page in PAGES:
            yield _page_row(services, who, page, paths)
        yield _time("/metrics", lambda: services.measures.page(""), MUST_METRICS_MS)


def _page_row(
    services: Services, who: Principal, page: Page, paths: dict[str, str]
) -> dict[str, Any]:
    def once() -> None:
        with services.db.read() as session:
            view = View(services, session, who, paths, {}, services.clock())
            page.title(view)
            page.around(view)
            for panel in page.panels(view):
                draw(panel, view)

    try:
        return _time(f"data {page.path}", once, MUST_DATA_MS)
    except (FedOpsError, KeyError) as error:
        say(f"{page.path} is not measured: {error}")
        return {**_row(f"data {page.path}", 0.0, 0.0, "ms", MUST_DATA_MS), "kept": "no"}


def _time(what: str, work: Callable[[], Any], must: float) -> dict[str, Any]:
    """Warm: the first one does not count."""
    times = []
    for _ in range(_LOOKS + 1):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    say(f"{what}: {statistics.median(times[1:]):.0f} ms, the first time {times[0]:.0f} ms")
    return _row(what, statistics.median(times[1:]), max(times[1:]), "ms", must)


# --- a server ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Server:
    """A process that serves the pages of the database."""

    url: str
    home: Path
    process: psutil.Process

    @property
    def token(self) -> str:
        return ServerSettings(home=self.home).admin_token_file.read_text().strip()

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss) / _MB


@contextmanager
def _server(home: Path) -> Iterator[_Server]:
    command = [sys.executable, str(HERE / "page_server.py"), str(home)]
    child = spawn(tethered(command, grace=2.0), env=clean_env({}), stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        root = psutil.Process(child.pid)
        serving = next(
            (one for one in [root, *root.children(recursive=True)] if _serves(one)), root
        )
        yield _Server(url, home, serving)
    finally:
        child.terminate()
        child.wait()


def _serves(process: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))


# --- browsers ----------------------------------------------------------------------------------


def _paint(server: _Server, paths: dict[str, str]) -> list[dict[str, Any]]:
    browser = shutil.which("chromium")
    if browser is None:
        say("there is no Chromium here: the first paint is not measured")
        return []
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_context(viewport={"width": 1280, "height": 900}).new_page()
        tab.goto(f"{server.url}/sign-in")
        tab.fill("[name=secret]", server.token)
        tab.click("#with-secret button")
        tab.wait_for_url(f"{server.url}/")
        devtools = tab.context.new_cdp_session(tab)
        devtools.send("Performance.enable")
        for page in PAGES:
            rows += _painted(server, tab, devtools, page, paths)
        opened.close()
    return rows


def _painted(
    server: _Server, tab: Any, devtools: Any, page: Page, paths: dict[str, str]
) -> Iterator[dict[str, Any]]:
    times = []
    for _ in range(4):
        tab.goto(server.url + page.path.format(**paths), wait_until="load")
        tab.wait_for_function(f"() => {_PAINTED}.length > 0")
        times.append(float(tab.evaluate(f"{_PAINTED}[0].startTime")))
    devtools.send("HeapProfiler.collectGarbage")  # what earlier pages left
    heap = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    megabytes = heap["JSHeapUsedSize"] / _MB
    say(f"paint {page.path}: {statistics.median(times):.0f} ms, JS heap {megabytes:.1f} MB")
    must = MUST_PAINT_MS.get(page.path, MUST_OTHER_PAINT_MS)
    yield _row(f"paint {page.path}", statistics.median(times), max(times), "ms", must)
    yield _row(f"heap {page.path}", megabytes, megabytes, "MB", 50.0)


_PAINTED = "performance.getEntriesByName('first-contentful-paint')"


# --- open pages --------------------------------------------------------------------------------


@contextmanager
def _opened(server: _Server, count: int) -> Iterator[Heard]:
    """So many pages, most of them of the large run, while events come."""
    heard, cookie = Heard(), session_of(server.url, server.token)
    kinds = [f"/runs/{many_sizes.BIG_RUN}"] * 6 + ["/"] * 3 + ["/devices"]
    at = [kinds[number % len(kinds)] for number in range(count)]
    with _services(server.home) as services, ThreadPoolExecutor(1) as pool:
        events = Events(services.db, EVENTS_A_SECOND)
        loop, over = asyncio.new_event_loop(), asyncio.Event()
        done = pool.submit(
            lambda: loop.run_until_complete(look(server.url, cookie, at, events, heard, over))
        )
        events.start()
        try:
            yield heard
        finally:
            loop.call_soon_threadsafe(over.set)
            done.result()
            events.over.set()
            events.join()


def _live(server: _Server, seconds: float) -> list[dict[str, Any]]:
    session_of(server.url, server.token)  # what the first request brings into memory
    with _opened(server, 1):
        time.sleep(_WARM_SECONDS)
    alone = server.megabytes()
    with _opened(server, PAGES_OPEN) as heard:
        time.sleep(_WARM_SECONDS)
        heard.waits.clear()
        messages, size, cpu, began = heard.messages, heard.bytes, server.cpu(), time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - began
        share = 100 * (server.cpu() - cpu) / lasted
        waits, open_now = np.array(heard.waits) * 1e3, heard.open
        each = (server.megabytes() - alone) / PAGES_OPEN
        rate = (heard.messages - messages) / lasted / PAGES_OPEN
        kilobytes = (heard.bytes - size) / lasted / PAGES_OPEN / 1e3
    say(f"{open_now} pages: {rate:.1f} messages and {kilobytes:.1f} kB a second each")
    half, nearly_all = np.percentile(waits, [50, 99])
    return [
        _row("100 pages: CPU of a core", share, share, "%", MUST_CPU),
        _row("100 pages: memory a page", each, each, "MB", MUST_MB),
        _row("100 pages: event to message, p99", half, nearly_all, "ms", MUST_WAIT_MS),
        _row("100 pages: not open", 0.0, PAGES_OPEN - open_now, "pages", 0.0),
        _row("100 pages: connections lost", 0.0, heard.lost, "times", 0.0),
    ]


def _soak(home: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    minutes = 2.0 if given.quick else 30.0
    with _server(home) as server, _opened(server, SOAK_PAGES) as heard:
        samples: list[float] = []
        until, said = time.monotonic() + 60 * minutes, -1
        while time.monotonic() < until:
            time.sleep(_SAMPLE_SECONDS)
            samples.append(server.megabytes())
            left = int((until - time.monotonic()) // 60)
            if left != said:
                say(f"{samples[-1]:.0f} MB; {left} minutes to go")
                said = left
        return _soaked(samples, heard)


def _soaked(samples: Sequence[float], heard: Heard) -> list[dict[str, Any]]:
    quarter = max(len(samples) // 4, 1)
    before = statistics.median(samples[quarter : 2 * quarter] or samples)
    after = statistics.median(samples[-quarter:])
    grown = after - before
    return [
        _row("20 pages: memory at the end", after, max(samples), "MB", 1_000.0),
        _row("20 pages: memory grew by", grown, grown, "MB", MUST_GROW_MB),
        _row("20 pages: connections lost", 0.0, heard.lost, "times", 0.0),
    ]


if __name__ == "__main__":
    main()
