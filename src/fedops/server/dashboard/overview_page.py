"""The first page: devices, and the newest run with its curve, updating by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from nicegui import ui

from fedops.console.federation import INSECURE
from fedops.core.contracts import DeviceRead, ModelVersionRead, RoundRead, RunRead
from fedops.server.access.principal import Principal
from fedops.server.dashboard import formatting, sign_in_page
from fedops.server.dashboard.page_gate import COOKIE, SIGN_IN, PageGate
from fedops.server.dashboard.queries import DashboardSource
from fedops.server.services.services import Services

REFRESH_SECONDS = 1.0
_SIGN_OUT = '<form method="post" action="/sign-out"><button>Sign out</button></form>'
STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def mount(app: FastAPI, services: Services) -> None:
    """Add the dashboard to the Server Manager's app: ``/``, and the page on which one signs in."""
    source = DashboardSource(services)
    app.include_router(sign_in_page.router)
    app.add_middleware(PageGate, tokens=services.token_cache, public_url=services.settings.url)

    async def root(request: Request) -> None:
        ui.add_css(STYLE)
        if source.insecure:
            ui.label(f"INSECURE: {INSECURE}").classes("fo-insecure")
        Home(source, request.cookies.get(COOKIE)).build()

    ui.run_with(app, root=root, title="FedOps", show_welcome_message=False, favicon="🌐")


class Home:
    """One browser's view: it asks the source each second and redraws what changed."""

    def __init__(self, source: DashboardSource, session: str | None) -> None:
        self._source = source
        self._session = session
        self._drawn: dict[str, Any] = {}
        self._chosen: int | None = None

    def build(self) -> None:
        with ui.row().classes("fo-top"):
            ui.label("FedOps").classes("fo-brand")
            self._summary = ui.label().classes("fo-hint")
            ui.space()
            ui.link("API", "/api/docs", new_tab=True)
            self._who = ui.label().classes("fo-hint")
            ui.html(_SIGN_OUT, sanitize=False)
        with ui.element("div").classes("fo-grid"):
            self._device_card = ui.column().classes("fo-card")
            with ui.column().classes("fo-card"):
                self._run_head = ui.column().classes("w-full gap-1")
                self._chart = ui.echart(formatting.curve([])).classes("fo-chart")
                self._rounds = ui.column().classes("w-full")
            self._run_list = ui.column().classes("fo-card")
            self._model_card = ui.column().classes("fo-card")
        self._timer = ui.timer(REFRESH_SECONDS, self.refresh, immediate=True)

    async def refresh(self) -> None:
        who = await self._source.principal(self._session)
        if who is None:  # signed out, perhaps elsewhere
            self._timer.deactivate()
            ui.navigate.to(SIGN_IN)
            return
        self._who.set_text(f"{who.user}, {who.roles[0].value}")
        devices, runs = await asyncio.to_thread(self._read, who)
        shown = next((run for run in runs if run.id == self._chosen), runs[0] if runs else None)
        rounds = await asyncio.to_thread(self._source.rounds, shown) if shown else []
        versions = await asyncio.to_thread(self._source.versions, shown) if shown else []
        online = sum(device.online for device in devices)
        self._summary.set_text(f"{online} of {len(devices)} devices online")
        self._redraw(self._device_card, "devices", devices, self._draw_devices)
        self._redraw(self._run_head, "run", shown, self._draw_run)
        self._redraw(self._rounds, "rounds", rounds, self._draw_rounds)
        self._redraw(self._run_list, "runs", runs, self._draw_runs)
        self._redraw(self._model_card, "models", versions, self._draw_models)

    def _read(self, who: Principal) -> tuple[list[DeviceRead], list[RunRead]]:
        return self._source.devices(who), self._source.runs(who, 20)

    def _redraw(self, place: ui.column, key: str, value: Any, draw: Callable[[Any], None]) -> None:
        if self._drawn.get(key, ...) == value:
            return
        self._drawn[key] = value
        place.clear()
        with place:
            draw(value)

    def _draw_devices(self, devices: list[DeviceRead]) -> None:
        ui.label("Devices").classes("fo-title")
        if not devices:
            ui.label("No device yet. Create a join token with: fedops token create").classes(
                "fo-hint"
            )
        for device in devices:
            with ui.row().classes("fo-device"):
                ui.element("span").classes("fo-dot").style(
                    f"background:{formatting.device_colour(device)}"
                )
                with ui.column().classes("gap-0 grow"):
                    ui.label(device.name).classes("fo-strong")
                    ui.label(device.why).classes("fo-hint")
                ui.label(formatting.device_doing(device)).classes("fo-state")

    def _draw_run(self, run: RunRead | None) -> None:
        if run is None:
            ui.label("No run yet").classes("fo-title")
            ui.label("Start one with: fedops run start TASK").classes("fo-hint")
            return
        with ui.row().classes("items-center w-full"):
            ui.label(formatting.run_title(run)).classes("fo-title")
            ui.label(run.status).classes("fo-chip").style(
                f"background:{formatting.run_colour(run.status)}"
            )
            ui.space()
            ui.label(f"round {run.committed_rounds} of {run.rounds}").classes("fo-hint")
        share = run.committed_rounds / max(run.rounds, 1)
        ui.linear_progress(share, show_value=False).props("rounded").classes("w-full")
        ui.label(run.why)
        if run.gate.startswith("no gate"):
            ui.label(run.gate).classes("fo-hint")

    def _draw_rounds(self, rounds: list[RoundRead]) -> None:
        self._chart.options.clear()
        self._chart.options.update(formatting.curve(rounds))
        self._chart.update()
        names = ("round", "accuracy", "loss", "clients", "seconds", "notes")
        columns = [{"name": n, "label": n, "field": n, "align": "left"} for n in names]
        ui.table(columns=columns, rows=formatting.round_rows(rounds), row_key="round").props(
            "flat dense hide-pagination no-data-label='No round committed yet'"
        ).classes("w-full")

    def _draw_runs(self, runs: list[RunRead]) -> None:
        ui.label("Runs").classes("fo-title")
        for run in runs:
            with ui.row().classes("fo-run").on("click", lambda _, r=run: self._choose(r.id)):
                ui.label(formatting.run_title(run)).classes("fo-strong")
                ui.label(run.status).classes("fo-chip").style(
                    f"background:{formatting.run_colour(run.status)}"
                )
                ui.space()
                ui.label(formatting.percent(run.metrics.get("accuracy")))

    def _draw_models(self, versions: list[ModelVersionRead]) -> None:
        ui.label("Global model versions").classes("fo-title")
        for version in reversed(versions):
            with ui.row().classes("fo-run"):
                ui.label(f"V{version.version}").classes("fo-strong")
                for alias in version.aliases:
                    ui.label(alias).classes("fo-chip").style(f"background:{formatting.GREEN}")
                if version.quarantine:
                    chip = ui.label("quarantined").classes("fo-chip")
                    chip.style(f"background:{formatting.RED}").tooltip(version.quarantine)
                ui.space()
                ui.label(formatting.percent(version.metrics.get("accuracy")))
                ui.label(version.sha256[:10]).classes("fo-hint")

    def _choose(self, run_id: int) -> None:
        self._chosen = run_id
