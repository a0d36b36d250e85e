"""Scripts of a few lines, each watched in a child forked from one process that has the frameworks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import INJECTED, OUTPUT
from fedops.storage import tensors

_WARM = Path(__file__).with_name("warm_parent.py")
#: What most of the scripts begin with: a model, its data and the loop's parts.
BEGIN = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(torch.relu(self.norm(self.a(x))))

x = torch.randn(32, 4)
y = (x[:, 0] > 0).long()
train = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
valid = DataLoader(TensorDataset(x[:12], y[:12]), batch_size=8)
model = Net()
loss_of = nn.CrossEntropyLoss()

def epoch(optimizer, model=model):
    model.train()
    for bx, by in train:
        optimizer.zero_grad()
        loss_of(model(bx), by).backward()
        optimizer.step()
"""


class Warm:
    """Runs scripts one after the other. ``close`` it."""

    def __init__(self, folder: Path, modules: Sequence[str] = ("torch", "torch._dynamo")) -> None:
        self.folder = folder
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, str(_WARM), str(INJECTED), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch"},
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(10)

    def run(self, text: str, begin: str = BEGIN, **job: Any) -> Watched:
        """``job``: fields of ``Job`` but its folder."""
        self._number += 1
        place = self.folder / f"script-{self._number}"
        place.mkdir(parents=True)
        (place / "main.py").write_text(begin + textwrap.dedent(text))
        return self.again(place, **job)

    def again(self, place: Path, arguments: Sequence[str] = (), **job: Any) -> Watched:
        """The script in ``place`` with another job."""
        self._number += 1
        folder = self.folder / f"job-{self._number}"
        folder.mkdir()
        return self.watch(place, ["main.py", *arguments], Job(folder=folder, **job))

    def watch(
        self, place: Path, words: Sequence[str], job: Job, env: Mapping[str, str] | None = None
    ) -> Watched:
        """A script and its arguments in a folder. ``env``: what is set beside this process's own."""
        (job.folder / "job.json").write_text(job.model_dump_json())
        asked = {
            "job": str(job.folder / "job.json"),
            "argv": list(words),
            "cwd": str(place),
            "env": dict(env or {}),
            "output": str(job.folder / OUTPUT),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Watched(place, job.folder, int(self._read()))


class Watched:
    """What one run left."""

    def __init__(self, place: Path, folder: Path, code: int) -> None:
        self.place, self.folder, self.code = place, folder, code
        self.output = (folder / OUTPUT).read_text()
        found = [*folder.glob("seen.json"), *folder.glob("unclaimed-*.json")]
        assert found, f"no answer (status {code}): {self.output}"
        self.seen = Seen.model_validate_json(found[0].read_bytes())
        faults = [note.text for note in self.seen.notes if note.kind == "hook_failed"]
        assert not faults, faults

    def tensors(self, stem: str) -> tensors.Tensors:
        return tensors.load(self.folder / f"{stem}.safetensors")

    @property
    def kinds(self) -> dict[str, str]:
        """Notes: weight by kind."""
        return {note.kind: note.weight for note in self.seen.notes}
