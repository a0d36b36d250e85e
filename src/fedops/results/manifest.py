"""``manifest.json`` of an export: where its numbers come from, and what a rerun needs beside the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from fedops.core.contracts import DeviceInfo, ModelVersionRead, Reply, RunRead
from fedops.core.redaction import HIDDEN, redact
from fedops.processes.environment import describe_environment
from fedops.results.tables import LAYOUTS, RunFacts

FORMAT: Literal["fedops-run-export"] = "fedops-run-export"
FORMAT_VERSION: Literal[1] = 1


class ExportedStart(Reply):
    """What a run began with."""

    #: The version, its digest, and the run that made it (for V0: the run whose seed made it).
    version: int | None = None
    sha256: str | None = None
    made_by_run: int | None = None
    #: An initial model of the run's own, made from its seed.
    new_model: bool = False


class ExportedAttempt(Reply):
    """What one FL server of the run ran on, as it said itself."""

    attempt: int
    status: str
    environment: dict[str, str] | None


class ExportedRun(Reply):
    run: int
    task: str
    study: int | None
    parent: int | None
    seed: int
    status: str
    why: str
    rounds: int
    committed_rounds: int
    #: The app: sha256 of its bundle, and the Git commit that its files were at, where it is known.
    bundle: str
    commit: str | None
    start: ExportedStart
    #: The version that the run made.
    version: int | None
    sha256: str | None
    overrides: list[str]
    #: The file with the config that the run really used, and the keys whose values were taken out of it.
    config_file: str
    hidden: list[str]
    attempts: list[ExportedAttempt]
    created_at: float
    started_at: float | None
    ended_at: float | None

    @property
    def environment(self) -> dict[str, str]:
        """What the last FL server of the run ran on."""
        known = [one.environment for one in self.attempts if one.environment]
        return known[-1] if known else {}


class Manifest(Reply):
    format: Literal["fedops-run-export"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    #: Of the FedOps that wrote the export.
    exported_by: str
    kind: Literal["csv", "parquet"]
    runs: list[ExportedRun]
    #: What the devices said of themselves when they last started, without the names of their machines.
    devices: dict[str, DeviceInfo]
    #: The columns of each table.
    tables: dict[str, list[str]]
    #: sha256 of each file beside this one.
    files: dict[str, str] = Field(default_factory=dict)


def describe_runs(
    facts: Sequence[RunFacts],
    devices: Mapping[str, DeviceInfo],
    kind: Literal["csv", "parquet"],
) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """The manifest, and by the names of their files the configs, without secrets."""
    ordered = sorted(facts, key=lambda one: one.run.id)
    configs: dict[str, dict[str, Any]] = {}
    runs = []
    for one in ordered:
        name = "config.toml" if len(ordered) == 1 else f"config-run-{one.run.id}.toml"
        configs[name], hidden = without_secrets(one.run.config)
        runs.append(_describe(one, name, hidden))
    manifest = Manifest(
        exported_by=describe_environment()["fedops"],
        kind=kind,
        runs=runs,
        devices={
            name: info.model_copy(update={"hostname": ""}) for name, info in sorted(devices.items())
        },
        tables={name: [c.name for c in layout.columns] for name, layout in LAYOUTS.items()},
    )
    return manifest, configs


def _describe(one: RunFacts, config_file: str, hidden: list[str]) -> ExportedRun:
    run = one.run
    made = _version(one.versions, run.version)
    return ExportedRun(
        run=run.id,
        task=run.task,
        study=run.study,
        parent=run.parent,
        seed=run.seed,
        status=run.status.value,
        why=run.why,
        rounds=run.rounds,
        committed_rounds=run.committed_rounds,
        bundle=run.bundle,
        commit=made.lineage.get("commit") if made else None,
        start=_start(run, one.versions),
        version=run.version,
        sha256=made.sha256 if made else None,
        overrides=[redact(text) for text in run.overrides],
        config_file=config_file,
        hidden=hidden,
        attempts=[
            ExportedAttempt(attempt=a.number, status=a.status.value, environment=a.environment)
            for a in run.attempts
        ],
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def _start(run: RunRead, versions: Sequence[ModelVersionRead]) -> ExportedStart:
    origin = _version(versions, run.from_version)
    sha256 = run.start_model or (origin.sha256 if origin else None)
    return ExportedStart(
        version=run.from_version,
        sha256=sha256,
        made_by_run=origin.run_id if origin else None,
        new_model=run.new_model,
    )


def _version(versions: Sequence[ModelVersionRead], number: int | None) -> ModelVersionRead | None:
    return next((one for one in versions if one.version == number), None)


def without_secrets(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The config as it may be handed on, and the keys whose values were taken out."""
    hidden: list[str] = []
    return _clean(config, "", hidden), hidden


def _clean(table: Mapping[str, Any], prefix: str, hidden: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found[key] = _clean(value, f"{path}.", hidden)
        else:
            found[key] = _clean_value(key, value)
            if found[key] != value:
                hidden.append(path)
    return found


def _clean_value(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_clean_value(key, item) for item in value]
    if not isinstance(value, str):
        return value
    named = redact(f"{key}={value}")
    return HIDDEN if named == f"{key}={HIDDEN}" else redact(value)
