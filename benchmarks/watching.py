"""What watching costs a training script: alone, observed, and as a round with a model put in.

A small MLP, whose step takes under a millisecond, and a CNN. One torch thread. Times are the processor
time of the training thread: the quickest stretch of 16 steps of several runs that take turns. Of a large
model the memory is compared: the most that any process of the run had, end included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import options, report, say

from fedops.scalize.observing.records import Job
from fedops.scalize.observing.running import watch

PROMISED_MICROSECONDS, PROMISED_SHARE, PROMISED_ONCE = 50.0, 0.03, 0.3
WAYS = ("alone", "observed", "round")
#: How many models more than alone may be in memory.
PROMISED_MODELS = {"alone": 0.0, "observed": 2.0, "round": 1.0}
#: Of the large model: 8192 x 8192 and 8192 numbers of four bytes.
LARGE_KIB = 4 * (8192 * 8192 + 8192) / 1024
SCRIPT = """
import json, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

kind, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
if kind == "MLP":
    sides = [32] + [64] * 5 + [10]
    layers = [part for a, b in zip(sides, sides[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    shape = (32,)
elif kind == "large":
    layers, shape = [nn.Linear(8192, 8192)], (8192,)
else:
    layers = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(8):
        layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    shape = (3, 16, 16)
model = nn.Sequential(*layers)
optimizer = torch.optim.SGD(model.parameters(), 0.01)
loss_of = nn.CrossEntropyLoss()
count = 64 if kind == "large" else 512
data = TensorDataset(torch.randn(count, *shape), torch.randint(10, (count,)))
model.train()

def step(x, y):
    optimizer.zero_grad()
    loss_of(model(x), y).backward()
    optimizer.step()

loader, times = DataLoader(data, batch_size=32), []
while len(times) <= steps:
    iterator = iter(loader)
    while True:
        began = time.thread_time()
        try:
            x, y = next(iterator)
        except StopIteration:
            break
        step(x, y)
        times.append(time.thread_time() - began)
# A busy machine slows stretches of steps; the quickest stretch of a pass is what a step takes.
stretches = [times[start : start + 16] for start in range(16, len(times) - 16, 16)] or [times]
print(json.dumps({"first": times[0], "rest": min(map(sum, stretches)) / 16}))
"""


def main() -> None:
    arguments = options(__doc__.splitlines()[0]).parse_args()
    runs = 1 if arguments.quick else 5
    sizes = {"MLP": 800, "CNN": 80} if arguments.quick else {"MLP": 3000, "CNN": 300}
    with tempfile.TemporaryDirectory(prefix="fedops-watching-") as folder:
        (Path(folder) / "main.py").write_text(SCRIPT)
        rows = [
            row for kind, steps in sizes.items() for row in measure(Path(folder), kind, steps, runs)
        ]
        rows += measure_memory(Path(folder))
    result = {
        "benchmark": "watching",
        "what": "processor time of a training step, in microseconds, and of the first one",
        "rows": rows,
        "notes": [
            f"promised: {PROMISED_MICROSECONDS:g} us a step, or {PROMISED_SHARE:.0%} of steps over 5 ms;"
            f" {PROMISED_ONCE} s once; one model more in a round, two when it is observed"
        ],
    }
    columns = (
        "Model",
        "Way",
        "Step us",
        "Added us",
        "Added percent",
        "Once s",
        "Added models",
        "Kept",
    )
    report(result, arguments.json, columns)


def measure(folder: Path, kind: str, steps: int, runs: int) -> list[dict[str, Any]]:
    """One row for each way. The least of ``runs``, which take turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(runs):
        for way in WAYS:
            say(f"{kind} {way}, {number + 1} of {runs}")
            found[way].append(run(folder, kind, steps, way))
    least = {
        way: {part: min(one[part] for one in times) for part in ("first", "rest")}
        for way, times in found.items()
    }
    return [row(kind, way, least) for way in WAYS]


def row(kind: str, way: str, least: dict[str, dict[str, float]]) -> dict[str, Any]:
    step, alone = least[way]["rest"], least["alone"]["rest"]
    added, once = step - alone, least[way]["first"] - least["alone"]["first"]
    allowed = alone * PROMISED_SHARE if alone > 0.005 else PROMISED_MICROSECONDS / 1e6
    return {
        "model": kind,
        "way": way,
        "step_us": step * 1e6,
        "added_us": added * 1e6,
        "added_percent": 100 * added / alone,
        "once_s": once,
        "added_models": "-",
        "kept": "yes" if added <= allowed and once <= PROMISED_ONCE else "no",
    }


def measure_memory(folder: Path) -> list[dict[str, Any]]:
    """One row for each way: how many models more than alone were in memory at most."""
    rows: list[dict[str, Any]] = []
    for way in WAYS:
        say(f"large {way}")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            peak = fresh.submit(peak_of_children, folder, way).result()
        alone = rows[0]["peak_kib"] if rows else peak
        models = (peak - alone) / LARGE_KIB
        rows.append(
            {
                **dict.fromkeys(("step_us", "added_us", "added_percent", "once_s"), "-"),
                "model": "large",
                "way": way,
                "peak_kib": peak,
                "added_models": models,
                "kept": "yes" if models <= PROMISED_MODELS[way] + 0.1 else "no",
            }
        )
    return rows


def peak_of_children(folder: Path, way: str) -> int:
    """KiB. Only right in a process that has had no other children."""
    run(folder, "large", 3, way)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def run(folder: Path, kind: str, steps: int, way: str) -> dict[str, float]:
    command = [sys.executable, "main.py", kind, str(steps)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if way == "alone":
        said = subprocess.run(
            command, cwd=folder, env=env, check=True, capture_output=True, text=True
        )
        return dict(json.loads(said.stdout))
    lines: list[str] = []
    observed = folder / f"observed-{kind}"
    job = Job(folder=observed)
    if way == "round":
        job = Job(folder=folder / f"round-{kind}", model=observed / "v0.safetensors", writable=[])
    watch(command, folder, job, env=env, seconds=600, on_output=lines.append)
    return dict(json.loads(lines[-1]))


if __name__ == "__main__":
    main()
