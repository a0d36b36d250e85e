"""A real Git repository on disk, with an app in it that can be changed, broken and pushed by force."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

PYPROJECT = """
[project]
name = "points"
version = "{version}"
license = "Apache-2.0"
dependencies = [{dependencies}]

[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "points.client_app:server"
clientapp = "points.client_app:app"
[tool.flwr.app.config]
mode = "client"

[tool.fedops]
package = "points"
config = "points/config.toml"
[tool.fedops.flow]
data = "points.parts.load_data"
"""
CLIENT_APP = """
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

app, server = ClientApp(), ServerApp()
"""
PARTS = """
import numpy as np
from sklearn.linear_model import SGDClassifier

WIDTH = {width}

def load_data(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, WIDTH))
    return x, (x[:, 0] > 0).astype(int)

def model():
    return SGDClassifier(loss="log_loss")
"""
CONFIG = """
num_rounds = 1
clients_per_round = 1
random_seed = 3
[dataset]
features = {width}
classes = [0, 1]
[model]
_target_ = "points.parts.model"
"""


def app_files(
    *, version: str = "1.0.0", dependencies: tuple[str, ...] = (), width: int = 3, **other: str
) -> dict[str, str]:
    """An app that passes ``fedops check``. ``other``: files by path, with ``__`` for a slash."""
    listed = ", ".join(f'"{one}"' for one in dependencies)
    files = {
        "pyproject.toml": PYPROJECT.format(version=version, dependencies=listed),
        "points/__init__.py": "",
        "points/client_app.py": CLIENT_APP,
        "points/parts.py": PARTS.format(width=width),
        "points/config.toml": CONFIG.format(width=width),
    }
    return files | {path.replace("__", "/"): text for path, text in other.items()}


class GitRepository:
    """Of one folder. Every commit is made by the same person."""

    def __init__(self, folder: Path, branch: str = "main", names: str = "sha1") -> None:
        """``names``: how Git names what is in it: ``sha1``, ``sha256``."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", f"--initial-branch={branch}", f"--object-format={names}")

    @property
    def url(self) -> str:
        return str(self.folder)

    def git(self, *words: str, data: bytes | None = None) -> str:
        """What a Git in this folder prints."""
        person = {f"GIT_{who}_{what}": value for who in _WHO for what, value in _PERSON.items()}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words],
            input=data,
            capture_output=True,
            env={**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, files: dict[str, str | bytes | None], below: str = "") -> None:
        """Write files, or (None) remove them."""
        for path, content in files.items():
            file = self.folder / below / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(
        self, message: str, files: dict[str, str | bytes | None] | None = None, below: str = ""
    ) -> str:
        """Commit all there is, with these files; returns the commit's name."""
        self.write(files or {}, below)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def commit_app(self, message: str, below: str = "", **changed: Any) -> str:
        """Commit the app of ``app_files``."""
        return self.commit(message, {**app_files(**changed)}, below)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def begin_anew(self, message: str, files: dict[str, str | bytes | None]) -> str:
        """Replace the history of the branch, as a push by force does."""
        branch = self.git("branch", "--show-current")
        self.git("checkout", "--quiet", "--orphan", "other")
        made = self.commit(message, files)
        self.git("branch", "--quiet", "--force", branch, made)
        self.git("checkout", "--quiet", branch)
        self.git("branch", "--quiet", "-D", "other")
        return made

    def blob(self, content: bytes) -> str:
        """An object with this content."""
        return self.git("hash-object", "-w", "--stdin", data=content)

    def commit_tree(self, *lines: str, message: str = "raw") -> str:
        """Commit a tree that no working copy could have: ``<mode> <kind> <object>\\t<name>`` each."""
        tree = self.git("mktree", data="".join(f"{line}\n" for line in lines).encode())
        return self._point(self.git("commit-tree", tree, "-m", message))

    def commit_raw_tree(self, *entries: tuple[str, str, str], message: str = "raw") -> str:
        """As ``commit_tree``, with names that Git itself refuses: (mode, name, object) each."""
        data = b"".join(
            f"{mode} {name}".encode() + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries
        )
        tree = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=data)
        return self._point(self.git("commit-tree", tree, "-m", message))

    def _point(self, commit: str) -> str:
        self.git("update-ref", f"refs/heads/{self.git('branch', '--show-current')}", commit)
        return commit


_WHO = ("AUTHOR", "COMMITTER")
_PERSON = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": "2026-01-02T03:04:05Z"}
