"""``fedops init`` of a FedOps 1 project, whose own programs name its steps."""

from __future__ import annotations

from pathlib import Path

import typer

from fedops.cli.output import show
from fedops.scalize.discovery.source.source_files import python_files
from fedops.scalize.legacy.migration import propose_migration, write_migration


def init_fedops_1(path: Path, *, yes: bool, as_json: bool) -> None:
    """Propose, ask, and write. Raises as ``propose_migration`` and ``write_migration`` do."""
    project = path.expanduser().resolve()
    plan = propose_migration(project, python_files(project))
    if not (yes or as_json):
        show(None, False, *plan.lines())
        typer.confirm(f"Write {plan.folder}?", abort=True)
    written = write_migration(plan)
    document = {
        "folder": str(plan.folder),
        "files": [str(file) for file in written],
        "steps": dict(plan.steps),
        "problems": list(plan.problems),
        "remarks": list(plan.remarks),
    }
    told = [f"Written: {plan.folder}", f"Now try it: fedops check {plan.project}"]
    show(document, as_json, *(plan.lines() if yes else ()), *told)
