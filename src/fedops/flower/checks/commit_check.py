"""A commit tried before it may be deployed: all of ``fedops check`` that this machine can tell.

``python -m fedops.flower.checks.commit_check QUESTION_FILE ANSWER_FILE``. A server has none of the devices'
data, and need not have the app's libraries: what only a device can tell is no reason to refuse a commit, and
is noted.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.checks.app_check import InARun
from fedops.flower.checks.check_question import read_question
from fedops.flower.checks.config_check import (
    WRONG_VALUES,
    NoData,
    anywhere,
    check_layer,
    check_section,
    is_certain,
)
from fedops.flower.components import load_client_app, load_server_app
from fedops.flower.flower_table import FlowerTable
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.check.check_process import Examination
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.manifest import Manifest, find_package, make_importable, read_manifest
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice
from fedops.storage.atomic_files import write_atomic

#: What an app's own code raises whichever machine it is on.
_OWN_MISTAKES = (*WRONG_VALUES, SyntaxError, NameError, ImportError, SystemExit)
_MISSING = re.compile(
    r"[Nn]o module (?:named )?'([\w.]+)'|cannot import name '\w+' from '([\w.]+)'"
)
_NO_DATA = "no data of the app can be had on the server, so no training was tried; the canary tells"
_OWN_COMMAND = (
    "the app is trained by a command of its own, which the server never runs; the canary tells"
)
_NO_MODEL = "the app has no model step of its own, so no model was built; the canary tells"


class DataIfAny(Project):
    """A project on a machine that may have none of the data."""

    def load_data(self) -> DataSplit:
        try:
            return super().load_data()
        except (Exception, SystemExit) as error:  # an app may raise anything, or end the process
            raise NoData(str(error)) from error


class InACommit(InARun):
    """What the round engine looks at first, unless the app brings its own."""

    def look_at(self, project: Project) -> None:
        check_section(project.config.xai)
        if not project.manifest.own_server_app:
            super().look_at(project)


class CommitExamination(Examination):
    """``fedops check`` of an app under a task's config. ``keep`` is called with what is known so far."""

    def __init__(
        self, app_dir: Path, plain: dict[str, Any], keep: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(app_dir, InACommit())
        self._plain = plain
        self._keep = keep

    def run(self) -> dict[str, Any]:
        """The report: ``problems`` that are certain, and ``notes`` on what could not be told."""
        try:
            self._examine()
        except (Exception, SystemExit) as error:  # an app may raise anything, or end the process
            self._judge(error)
        self.report["ok"] = not self.report["problems"]
        self._keep(self.report)
        return self.report

    def _examine(self) -> None:
        manifest = read_manifest(self.app_dir)
        make_importable(manifest)
        self._import_components(manifest)
        project = self._open()
        if project.config.script is not None:
            self._describe(project.make_adapter(self._seed(project)))
            self.report["notes"].append(_OWN_COMMAND)
        elif project.call("model") is None:
            self.report["notes"].append(_NO_MODEL)
        else:
            self._run()

    def _import_components(self, manifest: Manifest) -> None:
        """The ClientApp that devices of Flower load, and the ServerApp where it plays the rounds."""
        table = FlowerTable.of(self.app_dir)
        if table.clientapp:
            load_client_app(table.clientapp, (self.app_dir,))
        if table.serverapp and manifest.own_server_app:
            load_server_app(table.serverapp, (self.app_dir,))

    def _open(self) -> Project:
        return DataIfAny.open(self.app_dir).with_config(anywhere(self._plain))

    def _data(self, project: Project, built: ModelAdapter) -> DataSplit | None:
        check_layer(project.config, built)
        self._keep({**self.report, "ok": True})
        try:
            split = project.load_data()
        except NoData:
            self.report["notes"].append(_NO_DATA)
            return None
        if not split.examples:
            self.report["notes"].append(_NO_DATA)
            return None
        return split

    # --- judging -------------------------------------------------------------------------------

    def _judge(self, error: BaseException) -> None:
        text = self._words(error)
        missing = self._foreign_module(text)
        if missing is not None:
            self.report["notes"].append(f"not imported here: {missing}; the canary tells")
        elif isinstance(error, NoData):
            self.report["notes"].append(
                "the model is made to fit the data, which only devices have, so it was not built; the canary "
                "tells"
            )
        elif self._is_certain(error):
            self.report["problems"].append(text)
        else:
            self.report["notes"].append(f"not judged here: {text}; the canary tells")

    def _words(self, error: BaseException) -> str:
        if isinstance(error, FedOpsError):
            text = error.message
        else:
            ended = isinstance(error, SystemExit)
            what = "the project ended the process that imported it" if ended else "the check failed"
            text = f"{what}: {import_advice(error, [self.app_dir])}"
        # Where it was unpacked means nothing to whoever reads this.
        return text.replace(f"{self.app_dir}{os.sep}", "").replace(str(self.app_dir), "the app")

    def _foreign_module(self, text: str) -> str | None:
        """What the text says of a module that is not the app's own."""
        found = _MISSING.search(text)
        if found is None:
            return None
        name = found[1] or found[2]
        manifest = read_manifest(self.app_dir)
        top = name.partition(".")[0]
        own = {package.partition(".")[0] for package in manifest.packages}
        return None if top in own or find_package(top, manifest.folders) else found[0]

    def _is_certain(self, error: BaseException) -> bool:
        if isinstance(error, FedOpsError):
            return is_certain(error) or self._own_import_failed(error)
        return isinstance(error, _OWN_MISTAKES)

    def _own_import_failed(self, error: FedOpsError) -> bool:
        """A module of the app's own is missing: that it names no library, somebody asked before."""
        return isinstance(error, Invalid) and _MISSING.search(error.message) is not None


def main(question: str, answer: str) -> None:
    """Examine what the file ``question`` names, and write the report into the file ``answer``."""
    asked = read_question(question)

    def keep(report: dict[str, Any]) -> None:
        write_atomic(Path(answer), json.dumps(report).encode(), 0o600, durable=False)

    CommitExamination(Path(asked["app_dir"]), asked["config"], keep).run()
    os._exit(0)  # without waiting for threads that an app has started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
