"""Commits of small apps for a fake server to deploy, and waiting for what becomes of them on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_processes import Device
from fake_manager import FakeServer, eventually

from fedops.core.contracts import BlobRef, DesiredDeployment
from fedops.flower.app_package import build_bundle

PYPROJECT = """
[project]
name = "light"
version = "1.0.0"
dependencies = []
[tool.fedops]
package = "light"
config = "light/config.toml"
[tool.flwr.app]
publisher = "fedops"
[tool.flwr.app.components]
serverapp = "light.client:app"
clientapp = "light.client:app"
"""
#: An app that loads its model and data by itself. Its marks say which processes imported it.
CLIENT = """
import sys
from pathlib import Path
from flwr.clientapp import ClientApp

TEXT = {text!r}
program = "training" if "fedops.client.training.main" in sys.orig_argv else "trial"
with open({marks!r}, "a") as file:
    file.write(program + " " + TEXT + "\\n")
{fault}
app = ClientApp()

@app.train()
def train(message, context):
    raise ValueError("it does not train")
"""


def write_app(
    folder: Path, text: str, marks: Path, fault: str = "", beside: Mapping[str, str] | None = None
) -> Path:
    """The app as it is at one commit.

    ``fault``: code that runs when it is imported. ``beside``: further files and their text.
    """
    (folder / "light").mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "light" / "config.toml").write_text('task_id = "mnist"\nmodel_type = "Pytorch"\n')
    (folder / "light" / "__init__.py").write_text("")
    code = CLIENT.format(text=text, marks=str(marks), fault=fault)
    (folder / "light" / "client.py").write_text(code)
    for name, content in (beside or {}).items():
        (folder / name).write_text(content)
    return folder


def offer(server: FakeServer, data: bytes) -> BlobRef:
    """A blob of the server's."""
    ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    server.blobs[ref.sha256] = data
    return ref


def wish_of(server: FakeServer, app: Path, commit: str, **values: Any) -> DesiredDeployment:
    """What the server would want to have an app run as this commit."""
    bundle = offer(server, build_bundle(app))
    return DesiredDeployment(task="mnist", commit=commit, bundle=bundle, **values)


class Deploying:
    """A device whose code comes from its fake server."""

    def __init__(self, device: Device, folder: Path) -> None:
        self.device = device
        self.server = device.server
        self._folder = folder
        self.marks = folder / "marks"

    def want(
        self, text: str, fault: str = "", beside: Mapping[str, str] | None = None, **values: Any
    ) -> str:
        """Ask for a commit of the light app; returns its name."""
        commit = hashlib.sha1(text.encode()).hexdigest()
        app = write_app(self._folder / f"source-{text}", text, self.marks, fault, beside)
        wish = wish_of(self.server, app, commit, **values)
        self.server.bump(deployments=[wish.model_dump(mode="json")])
        return commit

    @property
    def report(self) -> dict[str, Any]:
        """What the server was told last."""
        told: list[dict[str, Any]] = self.server.last.get("deployments", [])
        return told[0] if told else {}

    def until(self, status: str, commit: str, seconds: float = 40.0) -> dict[str, Any]:
        """Wait until the server was told that this commit is in this status."""
        eventually(
            lambda: (self.report.get("status"), self.report.get("commit")) == (status, commit),
            seconds,
            lambda: f"not {status}: {self.report}\n{self.device.started[-1].text}",
        )
        return self.report

    def imported(self) -> list[str]:
        """Which programs imported the app of which commit."""
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def current(self) -> str:
        """The commit that the link names."""
        return (self.device.home / "deployments" / "mnist" / "current").resolve().name
