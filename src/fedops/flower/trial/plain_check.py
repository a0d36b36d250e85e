"""``fedops check`` of an app of plain Flower: its components are imported and play with a few clients."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedops.core.errors import FedOpsError
from fedops.flower.app_package import build_bundle
from fedops.flower.codec.compat import has_functions, has_main
from fedops.flower.components import load_client_app, load_server_app
from fedops.flower.flower_table import FlowerTable
from fedops.flower.trial.trial_federation import Trial
from fedops.flower.trial.trial_report import TrialQuestion, TrialReport
from fedops.processes.spawn import die_with_parent
from fedops.scalize.discovery.source.source_files import python_files
from fedops.scalize.flow.manifest import Manifest, make_importable, read_manifest
from fedops.scalize.flow.target_import import import_advice

#: With how many clients it is tried, until its ServerApp has enough.
_CLIENTS = (2, 10)
_PLAYS = (
    "its own ServerApp plays the rounds: FedOps runs and watches it, and keeps no versions of its model; the "
    "model is what it saves itself"
)
_PARTS = (
    "the clients of this check had 'partition-id' and 'num-partitions' in their node config; on a device its "
    "owner sets them: --set dataset.partition.index=0 --set dataset.partition.of=2"
)


def is_plain(app_dir: Path) -> bool:
    """Whether it is an app of plain Flower. What is wrong with it is said by whoever examines it."""
    try:
        return read_manifest(app_dir).plain_config is not None
    except FedOpsError:
        return False


class PlainExamination:
    """One look at the app: from its ``pyproject.toml`` to a round of its own."""

    def __init__(self, app_dir: Path) -> None:
        self.app_dir = app_dir
        self.report: dict[str, Any] = {
            "app": str(app_dir),
            "problems": [],
            "notes": [],
            "steps": [],
        }

    def run(self) -> dict[str, Any]:
        """The report; the first thing that is wrong ends it."""
        try:
            self._run()
        except FedOpsError as error:
            self.report["problems"].append(error.message)
        except (Exception, SystemExit) as error:
            words = import_advice(error, [self.app_dir])
            self.report["problems"].append(f"the check failed: {words}")
        self.report["ok"] = not self.report["problems"]
        return self.report

    def _run(self) -> None:
        manifest = read_manifest(self.app_dir)
        self.report["app"] = manifest.app_name
        build_bundle(self.app_dir)  # what is tried here can be a task
        table = FlowerTable.of(self.app_dir)
        with _working_folder(self.app_dir):
            make_importable(manifest)
            self._describe(table, manifest)
            played = self._played(_one_round(table.config))
        self.report["problems"] += played.problems
        self.report["seconds"] = played.seconds
        self.report["notes"] += [_PLAYS, *([_PARTS] if _asks_for_part(self.app_dir) else [])]

    def _describe(self, table: FlowerTable, manifest: Manifest) -> None:
        roots = manifest.folders
        client = load_client_app(table.clientapp, roots)
        server = load_server_app(table.serverapp, roots)
        former = "" if has_main(server) else ", of Flower's former kind (strategy and config)"
        nothing = "" if has_functions(client) else ", with nothing registered"
        config = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.config.items())
        self.report["steps"] += [
            "an app of plain Flower, run as it is",
            f"clientapp: {table.clientapp}{nothing}",
            f"serverapp: {table.serverapp}{former}",
            f"run config: {config or 'none'}",
        ]

    def _played(self, overrides: list[str]) -> TrialReport:
        """With as many clients as it needs, of those that are tried."""
        for clients in _CLIENTS:
            question = TrialQuestion(
                app_dir=str(self.app_dir), clients=clients, examples=0, overrides=overrides
            )
            trial = Trial(question)
            report = trial.run()
            if trial.waited_for_more is None:
                break
        replies = f"{trial.replies} replies"
        changed = f" ({', '.join(overrides)})" if overrides else ""
        self.report["steps"].append(f"tried with {report.clients} clients{changed}: {replies}")
        return report


def _asks_for_part(app_dir: Path) -> bool:
    """Whether the app's code looks which part of the data it is to take."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in python_files(app_dir))
    return any("partition-id" in text for text in texts)


def _one_round(config: Any) -> list[str]:
    """A check takes one round where the run config says how many there are."""
    return [
        f"run_config.{key}=1"
        for key, value in config.items()
        if "round" in key and type(value) is int and value > 1
    ]


@contextmanager
def _working_folder(app_dir: Path) -> Iterator[None]:
    """A folder that shows what is in the app's, so that what the app writes does not land there."""
    with tempfile.TemporaryDirectory(prefix="fedops-check-") as folder:
        for entry in app_dir.iterdir():
            (Path(folder) / entry.name).symlink_to(entry)
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main(app_dir: str, answer: str) -> None:
    """Examine the app, and write the report as JSON into the file ``answer``."""
    die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    file = Path(answer).resolve()
    report = PlainExamination(Path(app_dir)).run()
    file.write_text(json.dumps(report), encoding="utf-8")
    os._exit(0)  # without waiting for threads that the app has started
