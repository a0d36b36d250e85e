"""``fedops run rerun``: a run of an export once more: the same app, config, seed, model to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.redaction import redact
from fedops.results.files import read_export
from fedops.results.manifest import ExportedRun, Manifest

#: What is not compared: two machines differ in it, and no number does.
_NAMES_ONLY = frozenset({"platform"})


@dataclass(frozen=True)
class Rerun:
    """What is started, and what will be different from then."""

    task: str
    of: ExportedRun
    body: c.RunStart
    differences: list[str]


def plan_rerun(
    client: OperatorClient,
    source: Path,
    run_id: int | None,
    task: str | None,
    overrides: Sequence[str],
) -> Rerun:
    """Read the export and compare it with the server as it is now. Nothing is started.

    Raises:
        NotFound: there is no export, no such run in it, or no such task on the server.
        Invalid: the export is none, the server has not its app any more, or a secret is missing.
        Conflict: the server has another model where the run's start was.
    """
    manifest, configs = read_export(source)
    run = _choose(manifest, run_id, source)
    name = task or run.task
    known = _task(client, name, run)
    _require_secrets(run, overrides)
    version, more = _start(client, name, run)
    body = options.request(
        c.RunStart,
        config=configs[run.config_file],
        bundle=run.bundle,
        overrides=list(overrides),
        from_version=version,
        new_model=run.start.new_model and version is None,
    )
    _require_app(client, name, body, run)
    differences = [
        *more,
        *_library_differences(run.environment, client.info().environment),
        *_device_differences(manifest, client.devices(name)),
        *(f"overridden: {redact(override)}" for override in overrides),
    ]
    if known.bundle != run.bundle:
        differences.append("the task has another version of the app now; the exported one is used")
    return Rerun(name, run, body, differences)


def compare_rerun(client: OperatorClient, plan: Rerun, run: c.RunRead) -> tuple[bool | None, str]:
    """Whether a completed rerun made the very model that the exported run made, and that in words.

    None: one of the two made none.
    """
    of = plan.of
    if of.sha256 is None or run.version is None:
        return None, f"Run {of.run} of the export made no model to compare it with."
    made = client.model(run.task, f"V{run.version}").sha256
    if made == of.sha256:
        return True, f"It is the model of run {of.run} again, bit for bit (sha256 {made[:16]})."
    why = (
        "see above what differs"
        if plan.differences
        else "data, options or libraries of a device are not those of then, "
        "or its training is not deterministic"
    )
    return False, (
        f"It is not the model of run {of.run} (sha256 {of.sha256[:16]} then, {made[:16]} now): {why}."
    )


def _choose(manifest: Manifest, run_id: int | None, source: Path) -> ExportedRun:
    there = ", ".join(str(run.run) for run in manifest.runs)
    if run_id is None and len(manifest.runs) == 1:
        return manifest.runs[0]
    if run_id is None:
        raise Invalid(f"{source} holds the runs {there}: choose one with --run")
    for run in manifest.runs:
        if run.run == run_id:
            return run
    raise NotFound(f"{source} does not hold run {run_id}; it holds {there}")


def _task(client: OperatorClient, name: str, run: ExportedRun) -> c.TaskRead:
    try:
        return client.task(name)
    except NotFound as error:
        raise NotFound(
            f"{error.message}; make it from the app's files{_commit(run)}: 'fedops task create {name} "
            "--app FOLDER', or name another task with --task"
        ) from None


def _commit(run: ExportedRun) -> str:
    return f" at commit {run.commit}" if run.commit else ""


def _require_app(client: OperatorClient, task: str, body: c.RunStart, run: ExportedRun) -> None:
    """``Invalid`` when the server does not have the bundle, or refuses the rest of it."""
    try:
        client.forecast_run(task, body)
    except Invalid as error:
        if "no app bundle" not in error.message:
            raise
        raise Invalid(
            f"this server does not have the app of run {run.run} (bundle {run.bundle[:16]}): upload it from "
            f"the app's files{_commit(run)} with 'fedops task update {task} --app FOLDER'; the same files "
            "give the same bundle"
        ) from None


def _require_secrets(run: ExportedRun, overrides: Sequence[str]) -> None:
    given = {override.partition("=")[0].strip() for override in overrides}
    missing = [key for key in run.hidden if key not in given]
    if missing:
        raise Invalid(
            f"the export holds no value for {', '.join(missing)}, which it took for a secret: "
            f"give it with --set {missing[0]}=VALUE"
        )


def _start(client: OperatorClient, task: str, run: ExportedRun) -> tuple[int | None, list[str]]:
    """The version to start from, if it is one, and what is different about it."""
    if run.parent is not None:
        raise Invalid(
            f"run {run.run} goes on from run {run.parent}: export and rerun that one, then "
            "'fedops run extend' it"
        )
    start = run.start
    if start.version is None:
        return None, []
    versions = {one.version: one for one in client.models(task)}
    there = versions.get(start.version)
    if there is not None and there.sha256 == start.sha256:
        return there.version, []
    same = [one.version for one in versions.values() if one.sha256 == start.sha256]
    if same:
        return same[0], [f"the model of V{start.version} is V{same[0]} here"]
    if start.version == 0 and start.made_by_run == run.run:
        return _made_anew(task, run, versions)
    raise Conflict(
        f"run {run.run} started from V{start.version} (sha256 {str(start.sha256)[:16]}), and task '{task}' "
        "has no version with this model: rerun it on the server that has it"
    )


def _made_anew(
    task: str, run: ExportedRun, versions: Mapping[int, c.ModelVersionRead]
) -> tuple[int | None, list[str]]:
    """V0 was made by the run's own seed, which makes it again."""
    if not versions:
        return None, [f"the initial model is made anew, from seed {run.seed}"]
    raise Conflict(
        f"run {run.run} made its initial model (sha256 {str(run.start.sha256)[:16]}) from its seed, and task "
        f"'{task}' has another V0: rerun it in a task without models ('fedops task create', --task)"
    )


def _library_differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if not then:
        return ["what the FL server ran on then is not known"]
    names = sorted((then.keys() | now.keys()) - _NAMES_ONLY)
    return [
        f"{name} {then.get(name, 'not installed')} then, {now.get(name, 'not installed')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _device_differences(manifest: Manifest, devices: Sequence[c.DeviceRead]) -> list[str]:
    there = {device.name: device for device in devices}
    away = [name for name in manifest.devices if name not in there]
    new = [name for name in there if name not in manifest.devices]
    lines = [f"device '{name}' took part then and is not in the task now" for name in away]
    lines += [f"device '{name}' is in the task now and was not then" for name in new]
    return lines + [
        f"device '{name}': {key} {was or 'none'} then, {value or 'none'} now"
        for name, info in manifest.devices.items()
        if name in there
        for key, was, value in _info(info, there[name].info)
        if was != value
    ]


def _info(then: c.DeviceInfo, now: c.DeviceInfo) -> list[tuple[str, Any, Any]]:
    names = ("fedops", "python", "platform", "gpu")
    told = [(name, getattr(then, name), getattr(now, name)) for name in names]
    if not then.libraries or not now.libraries:  # an earlier FedOps does not tell them
        return told
    libraries = sorted((then.libraries.keys() | now.libraries.keys()) - {"fedops"})
    return told + [(name, then.libraries.get(name), now.libraries.get(name)) for name in libraries]
