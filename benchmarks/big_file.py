"""A large file each way over a link of 200 Mbit/s and 100 ms, against a raw TCP copy over the same link.

A run's model goes down and its update goes up, with the calls that a device's Client Manager makes. The
shaper is a process of its own; the raw copy goes through one with the same settings.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from common import HERE, options, report, say
from fleet import enrol, pipe
from idle import APP, QUIET, TASK
from light_model import Model, document_of, payload_of

from fedops.api_client import BlobClient, WorkClient, blocks_of
from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS, CONFIG
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.demo.federation import Federation
from fedops.processes.spawn import spawn
from fedops.storage.atomic_files import sha256_of
from fedops.storage.payloads import blobs_of, values_of

RATE_BITS, ROUND_TRIP_SECONDS = 200e6, 0.1
#: The width of a model of 1 GB, and of 200 MB.
WIDTH, QUICK_WIDTH = 283_770, 56_750
MUST_SHARE = 0.8
_BLOCK = bytes(1 << 18)


@contextmanager
def shaped(port: int) -> Iterator[int]:
    """The port of a link to a port of loopback."""
    script = HERE.parent / "tests" / "acceptance" / "shaper.py"
    command = [sys.executable, str(script), str(port), "--rate", str(RATE_BITS)]
    command += ["--round-trip", str(ROUND_TRIP_SECONDS)]
    process = spawn(command, stdout=subprocess.PIPE)
    try:
        yield int(json.loads(pipe(process.stdout).readline())["port"])
    finally:
        pipe(process.stdin).close()
        process.wait()
        pipe(process.stdout).close()


# --- raw TCP ---------------------------------------------------------------------------------


@contextmanager
def raw_server() -> Iterator[int]:
    """Takes ``up N`` and N bytes, or ``down N`` and sends as many; says when it is done."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with closing(connection), connection.makefile("rwb") as file:
            way, count = file.readline().split()
            if way == b"up":
                _read(file, int(count))
                file.write(b"done\n")
            else:
                _write(file, int(count))


def raw_copy(port: int, way: str, count: int) -> float:
    """Seconds of a copy."""
    begin = time.monotonic()
    with (
        closing(socket.create_connection(("127.0.0.1", port))) as connection,
        connection.makefile("rwb") as file,
    ):
        file.write(f"{way} {count}\n".encode())
        file.flush()
        if way == "up":
            _write(file, count)
            file.readline()
        else:
            _read(file, count)
    return time.monotonic() - begin


def _read(file: Any, count: int) -> None:
    while count and (block := file.read1(min(count, 1 << 18))):
        count -= len(block)


def _write(file: Any, count: int) -> None:
    for start in range(0, count, len(_BLOCK)):
        file.write(_BLOCK[: count - start])
    file.flush()


# --- a run of one device over the link -------------------------------------------------------


class Device:
    """One device with the calls of a Client Manager, step by step."""

    def __init__(self, url: str, name: str, token: str, place: Path) -> None:
        self._name, self._place = name, place
        self._work = WorkClient(url, token=token)
        self._blobs = BlobClient(url, token=token)
        self._poll = c.WorkPoll(life="bench", tasks=[TASK], wait=5.0)
        self._process = c.ProcessReport(status="idle")

    def await_offer(self) -> c.Offer:
        """Poll until there is work."""
        body = self._poll.model_copy(update={"process": self._process})
        while True:
            work = self._work.work(body)
            if work.offers:
                return work.offers[0]
            body = body.model_copy(update={"after": work.revision})

    def present(self) -> None:
        """Show that the device is there and has the task."""
        self._work.work(self._poll.model_copy(update={"process": self._process, "wait": 0.0}))

    def download(self, blob: c.BlobRef) -> tuple[Path, float]:
        """The model's file and the seconds that it took to come."""
        path, begin = self._place / "model.safetensors", time.monotonic()
        with self._blobs.download(blob.sha256) as part, path.open("wb") as file:
            for block in part.blocks():
                file.write(block)
        return path, time.monotonic() - begin

    def upload(self, assignment: str, path: Path) -> float:
        """Seconds from the first byte to the answer that it is safe."""
        head = c.UploadHead(assignment=assignment, sha256=sha256_of(path))
        size = path.stat().st_size
        while not self._work.slot(assignment, c.SlotRequest(size=size)).granted:
            time.sleep(0.1)
        begin = time.monotonic()
        upload = self._blobs.create_upload(head, size, blocks_of(path))
        if upload.offset != size:
            raise SystemExit(f"{upload.offset} of {size} bytes arrived")
        return time.monotonic() - begin

    def do(self, offer: c.Offer) -> dict[str, float]:
        """The assignment, from the instruction to the delivery."""
        instruction = self._work.instruction(offer.id)
        blob = blobs_of(instruction.content)[ARRAYS]
        model, down = self.download(blob)
        order = values_of(instruction.content, CONFIG, "config") or {}
        made = Model.of(model.read_bytes())
        update = self._place / "update.safetensors"
        with update.open("wb") as file:
            file.writelines(
                made.update(document_of(payload_of(self._name, order, trained=True), made))
            )
        del made
        return {"bytes": float(blob.size), "down": down, "up": self.upload(offer.id, update)}


def federated(place: Path, width: int) -> dict[str, float]:
    """Bytes, and seconds down and up, of a round with one device behind the link."""
    with Federation(place, QUIET) as federation:
        federation.start_server()
        federation.create_task(TASK, APP)
        ((name, token),) = enrol(federation, 1).items()
        with shaped(federation.port) as port, federation.operator() as operator:
            device = Device(f"http://127.0.0.1:{port}", name, token, place)
            device.present()
            overrides = ["num_rounds=1", "clients_per_round=1", f"model.width={width}"]
            run = operator.start_run(TASK, c.RunStart(overrides=overrides))
            found = device.do(device.await_offer())

            def ended() -> c.RunRead | None:
                device.present()
                current = operator.run(run.id)
                return current if current.status in RUN_TERMINAL else None

            end = federation.until("the run to end", ended, seconds=300.0)
    if end.status is not RunStatus.COMPLETED:
        raise SystemExit(f"the run is {end.status}: {end.why}")
    return found


def main() -> None:
    """Exit code 1 when a way is slower than is promised."""
    chosen = options(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        say("a round of one device ...")
        found = federated(Path(place), QUICK_WIDTH if chosen.quick else WIDTH)
    size, rows = int(found["bytes"]), []
    for way in ("down", "up"):
        say(f"raw TCP, {way} ...")
        with raw_server() as target, shaped(target) as port:
            raw = raw_copy(port, way, size)
        rows.append(
            {
                "way": way,
                "mb": size / 1e6,
                "fedops_s": found[way],
                "raw_tcp_s": raw,
                "share": raw / found[way],
                "mbit_s": 8e-6 * size / found[way],
            }
        )
    share = min(row["share"] for row in rows)
    result = {
        "benchmark": "big_file",
        "what": f"{size / 1e6:.0f} MB each way at {RATE_BITS / 1e6:.0f} Mbit/s and "
        f"{1e3 * ROUND_TRIP_SECONDS:.0f} ms",
        "rows": rows,
        "share_of_raw_tcp": share,
        "ok": share >= MUST_SHARE,
        "notes": [f"Promised: {MUST_SHARE:.0%} of the rate of a raw TCP copy, each way."],
    }
    report(result, chosen.json, ("Way", "MB", "FedOps s", "Raw TCP s", "Share", "Mbit s"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
