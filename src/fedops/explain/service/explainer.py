"""The façade: open once at start-up, then explain a round.

    explainer = Explainer.open(model, config.xai, test_data, folder=home / "outputs", seed=42)
    report = explainer.run(global_weights, local_weights, round=3)

``open`` finds every mistake in the configuration before any training. ``run`` works on a private copy
of the model. ``attempt`` is ``run`` for use beside training: it never raises.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.explain.explainers import probe_sets
from fedops.explain.explainers.image_explainer import ImageExplainer
from fedops.explain.explainers.options import Limits, Options
from fedops.explain.explainers.report import ExplainReport
from fedops.explain.explainers.tabular_explainer import TableExplainer
from fedops.explain.methods import instrumented_model
from fedops.explain.methods.registry import canonical
from fedops.explain.methods.tabular import predicts_numbers
from fedops.explain.methods.time_budget import Budget, Pace
from fedops.explain.quality.drift import DriftRow, Watch
from fedops.explain.quality.faithfulness import FULL, LIGHT, Effort
from fedops.explain.quality.history import MAPS, Archive, Place, Snapshot, prepare_folder
from fedops.explain.render import round_images

log = logging.getLogger("fedops.explain")
_BRIEF = (
    "brief, to keep within xai.max_share of the time: no single pictures, quality as measured last"
)
Engine = ImageExplainer | TableExplainer
#: Pictures of the findings: folder, title, engine, findings, names of classes or features, and whether
#: there is time for single ones.
Draw = Callable[[Path, str, Any, Any, Sequence[str], bool], round_images.Album]


class Explainer:
    """Explains one task's model on this device's probes."""

    def __init__(
        self,
        engine: Engine,
        draw: Draw,
        archive: Archive | None,
        names: Sequence[str],
        notes: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self.options = engine.options
        self._engine, self._draw, self._archive = engine, draw, archive
        self._names, self._notes, self._clock = tuple(names), list(notes), clock
        self._watch, self._pace = Watch(archive), Pace(engine.options.max_share, clock)
        self._quality: dict[str, Any] = {}

    @classmethod
    def open(
        cls,
        model: Any,
        xai: Any,
        data: Any,
        *,
        folder: Path | None = None,
        seed: int = 42,
        limits: Limits | None = None,
        names: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> Explainer:
        """Check everything and choose the probes.

        ``xai`` is the config's section (or ``Options``), ``data`` local test data, ``folder`` where
        rounds and the drift series are kept (None: every ``run`` says where). ``names`` are those of
        the classes, or of a table's features.

        Raises:
            Invalid: an unknown method or layer, a model or data that cannot be explained.
            Unavailable: the folder cannot be written to.
        """
        options = xai if isinstance(xai, Options) else Options.of(xai, seed)
        options, cuts = options.within(limits or Limits())
        methods = tuple(canonical(name) for name in options.methods)
        options = Options(**{**vars(options), "methods": methods})
        archive = Archive(folder, options.keep_rounds) if folder else None
        with instrumented_model.kept_randomness():
            engine, draw = _engine(model, options, data)
        return cls(engine, draw, archive, names, cuts, clock)

    @property
    def kind(self) -> str:
        """``image`` or ``table``."""
        return "image" if isinstance(self._engine, ImageExplainer) else "table"

    @property
    def layer(self) -> str:
        """The layer that maps are taken from; empty when no method needs one."""
        return self._engine.layer

    @property
    def thread_safe(self) -> bool:
        """Whether ``run`` may go on beside training without touching the process's random state."""
        return "shap" not in self.options.methods

    def due(self, round: int, of: int) -> bool:
        """Whether the config asks for an explanation after this round (0: before any training)."""
        return self.options.enabled and self.options.due(round, of)

    def run(
        self,
        model_global: Any = None,
        model_local: Any = None,
        round: int = 0,
        out_dir: Path | None = None,
        deadline: float | None = None,
        *,
        run: int = 0,
        full: bool = False,
        keep_randomness: bool = True,
    ) -> ExplainReport:
        """Explain a round and write it down.

        Models are modules of the architecture given to ``open`` or named arrays of their weights.
        ``deadline`` is a moment of the clock; ``xai.max_seconds`` holds besides. ``full`` measures
        the quality on all samples, else on a few. A round that would make explaining take more than
        its share of the time (``max_share``) goes without single pictures, and its report repeats the
        quality measured last. ``out_dir`` takes the files of this run instead of the folder of the
        round; nothing is then compared with earlier rounds.

        Raises:
            Invalid: the weights do not fit, or no sample can be explained.
            Unavailable: the files cannot be written.
        """
        begin, place = self._clock(), Place(run, round)
        brief = not (self._pace.begin() or full or out_dir is not None)
        effort = None if brief else FULL if full else LIGHT
        weights = self._chosen(model_global, model_local)
        folder = self._folder(place, out_dir)
        seconds = self.options.max_seconds
        if deadline is not None:
            seconds = max(0.0, min(seconds, deadline - begin))
        report = self._blank(place, folder)
        with instrumented_model.kept_randomness() if keep_randomness else nullcontext():
            try:
                budget = Budget(seconds, self._clock)
                self._explain(report, weights, budget, effort, out_dir is None)
            except OSError as error:
                raise Unavailable(f"explanations cannot be written to {folder}: {error}") from None
            finally:
                self._pace.spend(self._clock() - begin)
        return report

    def attempt(
        self,
        model_global: Any = None,
        model_local: Any = None,
        round: int = 0,
        deadline: float | None = None,
        *,
        run: int = 0,
        full: bool = False,
        keep_randomness: bool = True,
    ) -> ExplainReport:
        """``run`` that never raises: what went wrong is the report's ``failure``."""
        begin = self._clock()
        try:
            return self.run(
                model_global,
                model_local,
                round,
                None,
                deadline,
                run=run,
                full=full,
                keep_randomness=keep_randomness,
            )
        except FedOpsError as error:
            failure = error.message
        except Exception as error:  # an app's own model may raise anything; training goes on
            log.debug("explanation of round %s", round, exc_info=True)
            failure = f"{type(error).__name__}: {error}"
        log.warning("round %s was not explained: %s", round, failure)
        report = self._blank(Place(run, round), Path())
        report.failure, report.complete = failure, False
        report.seconds["total"] = self._clock() - begin
        return report

    # --- inside ------------------------------------------------------------------------------

    def _chosen(self, model_global: Any, model_local: Any) -> dict[str, Any]:
        given = {"global": model_global, "local": model_local}
        found = {
            name: model
            for name, model in given.items()
            if model is not None and self.options.models in (name, "both")
        }
        if not found:
            raise Invalid(f"there is no model to explain: xai.models = '{self.options.models}'")
        return found

    def _folder(self, place: Place, out_dir: Path | None) -> Path:
        if out_dir is not None:
            prepare_folder(out_dir)
            return out_dir
        if self._archive is None:
            raise Invalid("say where the explanations go: open with a folder, or run with out_dir")
        return self._archive.place(place)

    def _blank(self, place: Place, folder: Path) -> ExplainReport:
        found = self._engine.probes
        return ExplainReport(
            self.kind,
            place.run,
            place.round,
            folder,
            self.options.upload,
            self.layer,
            list(self.options.methods),
            {
                "digest": found.digest,
                "count": len(found),
                "indices": list(found.indices),
                "labels": found.labels.tolist(),
                "seed": self.options.seed,
            },
            notes=[*self._notes, *found.notes],
        )

    def _explain(
        self,
        report: ExplainReport,
        weights: dict[str, Any],
        budget: Budget,
        effort: Effort | None,
        kept: bool,
    ) -> None:
        found: Any = self._engine.compute(weights, budget, effort)
        report.seconds["compute"] = budget.spent
        title, singles = _title(report), effort is not None
        drawn = self._draw(report.folder, title, self._engine, found, self._names, singles)
        report.seconds["draw"] = budget.spent - report.seconds["compute"]
        report.sheets, report.files, report.samples = drawn.sheets, drawn.files, drawn.samples
        report.complete = found.complete
        report.quality = self._known_quality(found.quality, report.round)
        report.notes += found.notes
        self._remember(report, self._engine.snapshot(found), kept)
        report.seconds["total"] = budget.spent
        if effort is None:
            report.notes.append(_BRIEF)
        if not report.complete:
            report.notes.append(
                f"the time was over after {budget.seconds:.3g} s; the rest is left out"
            )
        report.write()
        if kept and self._archive:
            self._archive.prune()

    def _known_quality(self, new: dict[str, Any], round: int) -> dict[str, Any]:
        """The newest measures of every model, and the round they are of."""
        for model, methods in new.items():
            self._quality[model] = {
                method: {**measures, "round": round} for method, measures in methods.items()
            }
        return dict(self._quality)

    def _remember(self, report: ExplainReport, snapshot: Snapshot, kept: bool) -> None:
        snapshot.save(report.folder / MAPS)
        watch, place = self._watch if kept else Watch(None), Place(report.run, report.round)
        report.drift = watch.look(place, snapshot, self._engine.yardstick)
        report.alarms = [_alarm(row) for row in report.drift if row.alarm]


def _engine(model: Any, options: Options, data: Any) -> tuple[Engine, Draw]:
    """What explains this kind of model and data, and what draws its findings."""
    if data is None:
        raise Invalid(
            "XAI needs local test data, and this device has none; give [dataset] validation_split a "
            "value above 0, or set xai.enabled = false"
        )
    numbers = predicts_numbers(model, probe_sets.pool_of(data).labels())
    first = probe_sets.choose_probes(data, options.samples, options.seed, classes=not numbers)
    if probe_sets.kind(first) == "table":
        from fedops.explain.render import feature_bars  # matplotlib's figures load slowly

        return TableExplainer(model, options, data, numbers), feature_bars.draw_feature_bars
    if not isinstance(model, nn.Module):
        raise Invalid(
            f"XAI explains images with PyTorch models; this one is a {type(model).__name__}. "
            "Set xai.enabled = false for this task"
        )
    return ImageExplainer(model, options, first), round_images.draw_round_images


def _title(report: ExplainReport) -> str:
    run = f"run {report.run}, " if report.run else ""
    return f"{run}round {report.round}" if report.round or run else "explanation"


def _alarm(row: DriftRow) -> str:
    what = (
        "the local model looks elsewhere than the global one"
        if row.series == "local to global"
        else f"the {row.series.split()[0]} model looks elsewhere than in round {row.since[1]}"
    )
    return (
        f"round {row.round}: {what} for some samples ({row.method} maps of the true class: mean cosine "
        f"{row.cosine:.2f}, {1 - row.worst:.2f} for the samples that changed most)"
    )
