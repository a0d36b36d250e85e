"""``fedops client evaluate``: fetch a version with the device's rights, evaluate it, keep the report here.

Works beside a running Client Manager: it takes no lock, and changes nothing that one uses.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fedops.api_client import DeviceClient, proxy_for, trust
from fedops.client.device.authority_pin import pinned_authorities
from fedops.client.device.data_dir import DataDir, Identity, load_identity, provided_identity
from fedops.client.device.device_config import DeviceConfig, load_device_config
from fedops.client.device.remembered_app import RememberedApp, remembered_app
from fedops.client.evaluation.messages import Evaluation, EvaluationArgs, EvaluationReport
from fedops.client.supervision.process_setup import child_env
from fedops.core.contracts import DeviceModelRead
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.server_authority import split_fingerprint
from fedops.processes.environment import describe_environment
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import clean_env, let_go, spawn
from fedops.scalize.flow.project import Project
from fedops.settings import ClientSettings
from fedops.storage.atomic_files import sha256_of, write_atomic

PROGRAM = "fedops.client.evaluation.process"
_TAIL = 15


def evaluate_version(
    settings: ClientSettings,
    version: str,
    *,
    task: str | None = None,
    app_dir: Path | None = None,
    overrides: Sequence[str] = (),
) -> EvaluationReport:
    """Evaluate a version on this device's validation data.

    Raises:
        NotFound: this device has not joined, or the task has no such version.
        Forbidden: it takes no part in the task.
        Invalid: it is not clear which task or app is meant, or the app cannot evaluate this model here.
        Unavailable: the server is out of reach, or what it sent is damaged.
    """
    home = DataDir(settings.home)
    identity = provided_identity(settings.credentials_directory) or load_identity(home)
    config = load_device_config(home.device_config)
    app = _app(home, app_dir, overrides)
    Project.open(Path(app.app_dir), app.overrides)  # if it is wrong, nothing is fetched
    url = split_fingerprint(settings.server or identity.server).url
    way = proxy_for(url, config.network.proxy)
    verify = trust(pinned_authorities(home, settings.ca_file))
    client = DeviceClient(url, token=identity.token, verify=verify, proxy=way)
    with client, tempfile.TemporaryDirectory(prefix="evaluation-", dir=home.path) as folder:
        model = client.model(task or _only_task(client, app), _version(version))
        file = _fetch(client, model, Path(folder) / "model.safetensors")
        args = EvaluationArgs(
            home=home.path,
            device=identity.name,
            app_dir=Path(app.app_dir),
            overrides=app.overrides,
            model=model,
            file=file,
            answer=Path(folder) / "answer.json",
        )
        answer = _run(args, config, Path(folder) / "output.txt", app.python or sys.executable)
    return keep_report(home, _report(identity, app, model, answer))


def _app(home: DataDir, app_dir: Path | None, overrides: Sequence[str]) -> RememberedApp:
    """The app that is named, else the one that the Client Manager runs or ran last, with its overrides."""
    noted = remembered_app(home)
    if app_dir is not None:
        return RememberedApp(str(app_dir.resolve()), list(overrides), noted.tasks if noted else [])
    if noted is None:
        raise Invalid(
            f"which app? No Client Manager has run on {home.path} yet: name the app's folder with --app"
        )
    return RememberedApp(noted.app_dir, [*noted.overrides, *overrides], noted.tasks, noted.python)


def _only_task(client: DeviceClient, app: RememberedApp) -> str:
    tasks = client.me().tasks or app.tasks
    if len(tasks) == 1:
        return tasks[0]
    there = (
        f"this device takes part in {', '.join(tasks)}" if tasks else "it takes part in none yet"
    )
    raise Invalid(f"which task? Name it with --task; {there}")


def _version(text: str) -> str:
    if not re.fullmatch(r"[vV]?\d{1,9}|[a-z][a-z0-9-]{0,62}", text):
        raise Invalid(f"'{text}' is no model version; write V3, 3 or an alias such as latest")
    return text


def _fetch(client: DeviceClient, model: DeviceModelRead, target: Path) -> Path:
    client.download_model(model.task, f"V{model.version}", target)
    if sha256_of(target) != model.sha256:
        raise Unavailable(
            f"V{model.version} of task '{model.task}' was damaged on its way here: try again"
        )
    return target


def _run(args: EvaluationArgs, config: DeviceConfig, output: Path, python: str) -> Evaluation:
    """Have the process evaluate, and take all that it started with it when it ends."""
    tree = f"evaluation-{args.answer.parent.name}"
    told = args.answer.with_name("args.json")  # in a file: an override may hold a secret
    told.write_text(args.model_dump_json(), encoding="utf-8")
    with output.open("wb") as file:
        child = spawn(
            [python, "-m", PROGRAM, str(told)],
            env=clean_env(child_env(config)),
            cwd=args.app_dir,
            tree=tree,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        code = child.wait()
    finally:
        end_named_tree(tree, grace=0.0)
        let_go(child)
        child.wait()
    return _answer(args.answer, output, code)


def _answer(file: Path, output: Path, code: int) -> Evaluation:
    try:
        answer = Evaluation.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tail = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        last = "\n  ".join(["its last words:", *tail]) if tail else "it said nothing"
        raise FedOpsError(f"the process that evaluates ended with code {code}; {last}") from None
    if answer.problem:
        raise Invalid(answer.problem)
    return answer


def _report(
    identity: Identity, app: RememberedApp, model: DeviceModelRead, answer: Evaluation
) -> EvaluationReport:
    return EvaluationReport(
        task=model.task,
        version=model.version,
        sha256=model.sha256,
        run_id=model.run_id,
        round=model.round,
        device=identity.name,
        app=app.app_dir,
        evaluated_at=time.time(),
        environment=describe_environment(),
        **answer.model_dump(exclude={"problem"}),
    )


def keep_report(home: DataDir, report: EvaluationReport) -> EvaluationReport:
    """Write it as JSON and as text, for this user only."""
    at = datetime.fromtimestamp(report.evaluated_at, UTC).strftime("%Y%m%dT%H%M%S")
    home.evaluations.mkdir(mode=0o700, exist_ok=True)
    file = _free(home.evaluations / f"{report.task}-V{report.version}-{at}.json")
    kept = report.model_copy(update={"path": str(file)})
    write_atomic(file, kept.model_dump_json(indent=2).encode() + b"\n", mode=0o600)
    write_atomic(file.with_suffix(".txt"), report_text(kept).encode() + b"\n", mode=0o600)
    return kept


def _free(file: Path) -> Path:
    """Two within a second do not take each other's place."""
    number, wanted = 2, file
    while file.exists():
        file, number = wanted.with_name(f"{wanted.stem}-{number}.json"), number + 1
    return file


def report_text(report: EvaluationReport) -> str:
    """The report for people."""
    data = f" of '{report.dataset}'" if report.dataset else ""
    where = f"run {report.run_id}, round {report.round}" if report.run_id else "no run"
    width = max((len(name) for name in report.metrics), default=0)
    rows = [f"  {name:<{width}}  {value:.4f}" for name, value in sorted(report.metrics.items())]
    return "\n".join(
        [
            f"V{report.version} of task '{report.task}' ({where}) on this device, '{report.device}':",
            f"{report.examples} validation examples{data}, {report.seconds:.1f} s",
            "",
            *rows,
            "",
            *(f"note: {note}" for note in report.notes),
            f"This report stays on this device: {report.path}",
        ]
    )
