"""``fedops run export``: what the server tells of runs, gathered for the files of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fedops.api_client import OperatorClient
from fedops.core.contracts import DeviceInfo, RunRead
from fedops.core.errors import Invalid
from fedops.core.states import RUN_TERMINAL
from fedops.results.files import require_parquet, write_export
from fedops.results.manifest import describe_runs
from fedops.results.tables import RunFacts, make_tables

Kind = Literal["csv", "parquet"]


def export_runs(
    client: OperatorClient, run_ids: Sequence[int], study: int | None, kind: Kind, out: Path | None
) -> dict[str, Any]:
    """Write the export; returns what was written.

    Raises:
        NotFound: there is no such run or study.
        Invalid: nothing is named, or both are.
        Conflict: there is something already where the export would be.
        Unavailable: parquet files cannot be written here.
    """
    if (study is None) == (not run_ids):
        raise Invalid("name the runs to export, or a study (--study N), and not both")
    if kind == "parquet":
        require_parquet()
    if study is None:
        runs = [client.run(run_id) for run_id in dict.fromkeys(run_ids)]
    else:
        runs = client.study(study).runs
    facts = [_facts(client, run) for run in runs]
    manifest, configs = describe_runs(facts, _devices(client, runs), kind)
    tables = make_tables(facts)
    written = write_export(out or _place(run_ids, study), manifest, configs, tables)
    return {
        "path": str(written),
        "kind": kind,
        "runs": [run.id for run in runs],
        "rows": {table.name: len(table.rows) for table in tables},
        "hidden": {str(run.run): run.hidden for run in manifest.runs if run.hidden},
        "unfinished": [run.id for run in runs if run.status not in RUN_TERMINAL],
    }


def export_lines(done: dict[str, Any]) -> list[str]:
    """The same for people."""
    rows = ", ".join(f"{name} {count}" for name, count in done["rows"].items())
    runs = ", ".join(map(str, done["runs"]))
    what = "run" if len(done["runs"]) == 1 else "runs"
    lines = [f"Exported {what} {runs} to {done['path']}. Rows: {rows}."]
    for run, keys in done["hidden"].items():
        lines.append(f"note: run {run}: taken out as secrets: {', '.join(keys)}")
    for run in done["unfinished"]:
        lines.append(f"note: run {run} is not over: its export holds what there is now")
    return lines


def _place(run_ids: Sequence[int], study: int | None) -> Path:
    if study is not None:
        return Path(f"study-{study}")
    first, last = min(run_ids), max(run_ids)
    return Path(f"run-{first}" if first == last else f"runs-{first}-{last}")


def _facts(client: OperatorClient, run: RunRead) -> RunFacts:
    wanted = {run.from_version, run.version}
    versions = [one for one in client.models(run.task) if one.version in wanted]
    return RunFacts(run, client.rounds(run.id), client.metrics(run.id), versions)


def _devices(client: OperatorClient, runs: Sequence[RunRead]) -> dict[str, DeviceInfo]:
    """Of the tasks of these runs, and so at least of those that took part and are still known."""
    return {d.name: d.info for task in {run.task for run in runs} for d in client.devices(task)}
