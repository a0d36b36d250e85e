"""Memory of all the server's processes while they take and aggregate updates of a 45 MB model.

Counted are anonymous pages (``RssAnon``): what the processes hold. Mapped pages of files stand beside it;
the kernel may take those back at any time. The light devices wait two seconds before they deliver, so that
every round has a quiet time: what is above the least of it is what the round needs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from common import options, report, say
from idle import SIZES, WIDTH, light_federation, model_bytes, run_to_end
from server_side import MB, Memory, MemoryMeter, ProcessTree, memory_of, server_root

from fedops.core import contracts as c

MODEL_BYTES = model_bytes(WIDTH)
CLIENTS = (3, 12, 48)
MUST_MODELS = 2.0


def measure(place: Path, devices: int, rounds: int) -> dict[str, Any]:
    """From the first commit to the last."""
    with light_federation(place, devices, train_seconds=2.0) as (federation, fleet):
        tree = ProcessTree(server_root(federation))
        before = memory_of([one.pid for one in tree.processes()]).anonymous
        meter = MemoryMeter(tree)
        span: list[int] = []

        def look(run: c.RunRead) -> None:
            if 1 <= run.committed_rounds < rounds:
                span.append(len(meter.samples))

        with meter:
            overrides = [f"num_rounds={rounds}", f"clients_per_round={devices}", *SIZES["mb45"]]
            run_to_end(federation, overrides, look, pause=0.2)
        fleet.sound_tally()
    samples = meter.samples[span[0] : span[-1]]
    return {**_row(devices, samples), "before_the_run_mb": before / MB}


def _row(devices: int, samples: list[Memory]) -> dict[str, Any]:
    held = [sample.anonymous for sample in samples]
    above = max(held) - min(held)
    return {
        "clients": devices,
        "idle_mb": min(held) / MB,
        "peak_mb": max(held) / MB,
        "above_idle_mb": above / MB,
        "models": above / MODEL_BYTES,
        "mapped_files_mb": max(sample.files for sample in samples) / MB,
    }


def main() -> None:
    """A few clients and many, one after the other."""
    chosen = options(__doc__ or "").parse_args()
    rounds = 3 if chosen.quick else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for devices in CLIENTS:
            say(f"{devices} clients ...")
            rows.append(measure(Path(place) / str(devices), devices, rounds))
    result = {
        "benchmark": "aggregation_memory",
        "what": f"server side, {MODEL_BYTES / MB:.0f} MB model, anonymous memory",
        "rows": rows,
        "models_above_idle": {str(row["clients"]): row["models"] for row in rows},
        "model_bytes": MODEL_BYTES,
        "ok": all(row["models"] <= MUST_MODELS for row in rows),
        "notes": [f"Promised: at most {MUST_MODELS:.0f} models above idle, however many clients."],
    }
    columns = (
        "Clients",
        "Before the run MB",
        "Idle MB",
        "Peak MB",
        "Above idle MB",
        "Models",
        "Mapped files MB",
    )
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
