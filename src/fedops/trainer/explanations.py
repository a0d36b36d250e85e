"""Explanations beside the rounds of a device: opened before any training, made in the background.

Imports nothing of ``fedops.explain`` until a config enables it.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedops.config.schema import Config, Xai
from fedops.core.errors import FedOpsError, Invalid
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.script_flow import NOT_EXPLAINED
from fedops.trainer.device_context import Reporter, RoundMoment

if TYPE_CHECKING:
    from fedops.explain.explainers.options import Limits
    from fedops.explain.explainers.report import ExplainReport
    from fedops.explain.service.background import Background
    from fedops.explain.service.explainer import Explainer

logger = logging.getLogger("fedops.explain")

#: Of a picture that leaves the device: what a record may hold, less what base64 adds.
PICTURE_BYTES = 180_000
_WITHOUT = " (or do without explanations: xai.enabled = false)"


@dataclass(frozen=True)
class _Opened:
    """An explainer at work, and what it was opened for."""

    key: str
    data: DataSplit
    explainer: Explainer
    beside: Background


def explainer_for(
    config: Config,
    adapter: ModelAdapter,
    data: DataSplit,
    base: Path,
    limits: Limits | None = None,
    *,
    kept: bool = True,
) -> Explainer | None:
    """What explains this model on this data, as ``[xai]`` says; None when it is off.

    Raises:
        Invalid: this model or this data cannot be explained so, with what to do.
    """
    from fedops.explain.service.start import open_explainer

    if config.script is not None:
        raise Invalid(f"[xai] {NOT_EXPLAINED}{_WITHOUT}")
    try:
        return open_explainer(
            config.xai,
            getattr(adapter, "model", None),
            data.validation if data.test is None else data.test,
            base=base,
            seed=config.random_seed,
            limits=limits,
            kept=kept,
        )
    except FedOpsError as error:
        raise Invalid(f"[xai] {error.message}{_WITHOUT}") from None
    except Exception as error:  # the app's own model and data are tried, and may raise anything
        logger.exception("the model cannot be explained")
        what = f"{type(error).__name__}: {error}"
        raise Invalid(f"[xai] the model cannot be explained: {what}{_WITHOUT}") from None


class RoundExplanations:
    """``trainer.device_context.Explanations`` of a device. What it writes lies below ``base``.

    ``upload`` is what may leave the device at most, by its owner's word. Only ``prepare`` and
    ``try_out`` raise.
    """

    def __init__(self, base: Path, report: Reporter, upload: str = "none") -> None:
        self._base, self._report, self._upload = base, report, upload
        self._opened: _Opened | None = None
        self._rounds = 1  # of the run
        self._begun: tuple[int, int, Any] | None = None  # run, round, the model at its begin
        self._next: Callable[[], object] | None = None  # what is to be explained
        self._said: set[str] = set()
        self._before_done = 0  # the run that was explained before its training

    # --- Explanations ------------------------------------------------------------------------------

    def prepare(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None:
        if not config.xai.enabled:
            self._close(0.0)
            return
        self._rounds = config.num_rounds
        key, now = _key(config), self._opened
        if now is None or now.key != key or now.data is not data:
            self._close(0.0)
            self._opened = self._open(key, config, adapter, data)

    def try_out(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None:
        if not config.xai.enabled:
            return
        now = self._opened
        if now is None:
            self.prepare(config, adapter, data)
        elif now.key != _key(config) or now.data is not data:
            from fedops.explain.explainers.options import Limits

            limits = Limits(upload=self._upload)
            explainer_for(config, adapter, data, self._base, limits, kept=False)

    def received(self, moment: RoundMoment) -> None:
        self._begun = None
        now = self._opened
        if now is None:
            return
        before = now.explainer.due(0, self._rounds) and self._before_done != moment.run_id
        if before or now.explainer.due(moment.round, self._rounds):
            model = self._snapshot(moment)
            self._begun = (moment.run_id, moment.round, model)
            if before and model is not None:
                self._before_done = moment.run_id
                self._next = partial(now.beside.submit, model, round=0, run=moment.run_id)

    def trained(self, moment: RoundMoment) -> None:
        now, begun, self._begun = self._opened, self._begun, None
        if now is None or begun is None or begun[:2] != (moment.run_id, moment.round):
            return
        model = self._snapshot(moment)
        if (
            now.explainer.due(moment.round, self._rounds)
            and begun[2] is not None
            and model is not None
        ):
            self._next = partial(
                now.beside.submit, begun[2], model, moment.round, run=moment.run_id
            )

    def idle(self) -> None:
        wanted, self._next = self._next, None
        try:
            if wanted is not None:
                wanted()
        except Exception as error:  # nothing here may end the node; most likely there is no memory
            logger.exception("a round is not explained")
            self._report.event("explanation_failed", f"{type(error).__name__}: {error}")

    def close(self, seconds: float) -> None:
        """Wait a while for what is being explained. Nothing is explained afterwards."""
        self._close(seconds)

    # --- inside ------------------------------------------------------------------------------------

    def _close(self, seconds: float) -> None:
        now, self._opened = self._opened, None
        if now is not None:
            now.beside.close(seconds)

    def _open(self, key: str, config: Config, adapter: ModelAdapter, data: DataSplit) -> _Opened:
        from fedops.explain.explainers.options import Limits

        limits = Limits(upload=self._upload)
        explainer = explainer_for(config, adapter, data, self._base, limits)
        assert explainer is not None
        self._say_cuts(config.xai, limits)
        from fedops.explain.service.background import Background

        logger.info("explaining by %s below %s", ", ".join(config.xai.methods), self._base)
        beside = Background(explainer, self._take)
        return _Opened(key, data, explainer, beside)

    def _say_cuts(self, xai: Xai, limits: Any) -> None:
        from fedops.explain.explainers.options import Options

        for line in Options.of(xai).within(limits)[1]:
            if line not in self._said:
                self._said.add(line)
                self._report.event("value_lowered", line)

    def _take(self, report: ExplainReport) -> None:
        """In the background: say what may be said of a round that was explained."""
        place: dict[str, Any] = {"run_id": report.run, "round": report.round}
        if report.failure is not None:
            self._report.event("explanation_failed", report.failure, **place)
            return
        if report.alarms:
            logger.warning("the explanations changed much: see %s", report.folder / "report.json")
        for name, value in report.outgoing_scores().items():
            self._report.metric(name, value, report.run, report.round)
        for text in report.alarms if report.upload != "none" else ():
            self._report.event("explanation_drift", text, **place)
        for path in report.outgoing_pictures():
            self._send(path, place)

    def _send(self, path: Path, place: dict[str, Any]) -> None:
        from fedops.explain.render.contact_sheet import small_png

        picture = small_png(path, PICTURE_BYTES)
        if picture is None:
            text = f"{path.name} is too large to be sent; it stays on the device"
            self._report.event("explanation_kept", text, **place)
            return
        encoded = base64.b64encode(picture).decode()
        self._report.event("explanation_picture", path.name, png=encoded, **place)

    def _snapshot(self, moment: RoundMoment) -> Any:
        """The model as it is: its tensors where they are the whole of it, else a copy if it can be had."""
        model = getattr(moment.adapter, "model", None)
        if hasattr(model, "state_dict"):
            return moment.tensors
        try:
            return copy.deepcopy(model)
        except Exception as error:  # whatever an app's own class does when it is copied
            text = f"the model cannot be copied: {type(error).__name__}: {error}"
            place = {"run_id": moment.run_id, "round": moment.round}
            self._report.event("explanation_failed", text, **place)
            return None


def _key(config: Config) -> str:
    """What an explainer depends on, beside the data."""
    parts = (config.xai.model_dump(mode="json"), config.model.model_dump(mode="json"))
    return json.dumps([config.random_seed, *parts])
