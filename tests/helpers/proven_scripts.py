"""What init and check say of a small script, each of its runs a child of a warm process."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watched_scripts import Warm

from fedops.config.script_table import Script
from fedops.scalize.check.script_examination import examine_script
from fedops.scalize.discovery.observed.app_files import write_app
from fedops.scalize.discovery.observed.looks import Watching, look_at
from fedops.scalize.discovery.observed.proposal import ScriptProposal, propose_script
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.script_flow import make_script_adapter
from fedops.scalize.observing.notebooks import runnable
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.script.script_adapter import ScriptAdapter

#: A script's own data, small enough that a run takes no time.
POINTS = textwrap.dedent(
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    torch.manual_seed(3)
    points = torch.rand(24, 4)
    target = points.sum(1, keepdim=True)
    loader = DataLoader(TensorDataset(points, target), batch_size=8, shuffle=True)
    """
)


@dataclass(frozen=True)
class Proven:
    """A project that went through both."""

    proposal: ScriptProposal
    report: Mapping[str, Any]

    @property
    def seen(self) -> Seen:
        return self.proposal.look.seen

    @property
    def script(self) -> Script:
        assert self.proposal.script is not None
        return self.proposal.script

    @property
    def models(self) -> list[str]:
        """Those that are federated."""
        return [model.name for model in self.proposal.models]

    @property
    def proof(self) -> dict[str, bool]:
        """What was shown, by the kind of the step; an own start of two runs as ``seeded``."""
        steps = self.report["proof"]
        return {step["kind"]: step["ok"] for step in steps}

    @property
    def kinds(self) -> set[str]:
        """What the last line calls different."""
        return {one["kind"] for one in self.report["differences"]}


EQUAL = {"repeats": True, "equal": True, "used": True}


class Prover:
    """Brings projects in, one after the other. ``modules``: what its scripts import, done once."""

    def __init__(self, folder: Path, *modules: str) -> None:
        self._folder = folder
        self._warm = Warm(folder, modules)

    def close(self) -> None:
        self._warm.close()

    def look(
        self,
        files: Mapping[str, str],
        command: Sequence[str] = ("python", "main.py"),
        answers: Mapping[str, str] | None = None,
    ) -> ScriptProposal:
        """What would be written; nothing is."""
        project = self._folder / f"project-{uuid.uuid4().hex[:6]}" / "points"
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        how = Watching(project.parent / "records", 60.0, by=self._watch)
        return propose_script(look_at(project, list(command), how), answers or {})

    def prove(
        self,
        main: str,
        *options: str,
        answers: Mapping[str, str] | None = None,
        **files: str,
    ) -> Proven:
        """Of ``main.py`` with these options."""
        command = ("python", "main.py", *options)
        return self.prove_files({"main.py": main, **files}, command, answers)

    def prove_files(
        self,
        files: Mapping[str, str],
        command: Sequence[str],
        answers: Mapping[str, str] | None = None,
    ) -> Proven:
        proposal = self.look(files, command, answers)
        assert proposal.problems == ()
        write_app(proposal)
        report: dict[str, Any] = {"problems": [], "notes": [], "differences": []}
        app = proposal.look.project / "federated"
        examine_script(Project.open(app), report, lambda line: None, self._watch)
        return Proven(proposal, report)

    def adapter(self, proposal: ScriptProposal) -> ScriptAdapter:
        """What trains on a device."""
        write_app(proposal)
        project = Project.open(proposal.look.project / "federated")
        return make_script_adapter(project.manifest, project.config, self._watch)

    def _watch(
        self,
        command: Sequence[str],
        cwd: Path,
        job: Job,
        *,
        env: Mapping[str, str] | None = None,
        seconds: float,
        cancelled: Callable[[], bool] | None = None,
        on_output: Callable[[str], object] | None = None,
    ) -> Seen:
        """As ``running.watch`` does, without a Python that has everything to import first."""
        job.folder.mkdir(parents=True, exist_ok=True)
        words, notes = runnable(command, cwd, job.folder)
        run = self._warm.watch(cwd, words[1:], job, env)
        told = {"exit_code": run.code, "notes": [*notes, *run.seen.notes]}
        return run.seen.model_copy(update=told)
