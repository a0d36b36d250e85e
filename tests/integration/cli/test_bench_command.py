"""``fedops device bench``: what is printed, and how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import Device, World, managing

from fedops.cli.insight import benches
from fedops.cli.main import main
from fedops.core import contracts as c
from fedops.core.states import AssignmentStatus as A
from fedops.storage.payloads import Payload, pack_payload

Ended = Callable[..., tuple[int, str, str]]
MEASURED = c.BenchMeasured(
    examples=6_000,
    epochs=1,
    first_examples=10,
    first_seconds=0.1,
    chunk_examples=60,
    chunk_seconds=0.6,
    wanted_examples=600,
    model_bytes=4_000,
    download_seconds=0.25,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        made.task()
        yield made


@pytest.fixture
def ended(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ended:
    monkeypatch.setenv("FEDOPS_TOKEN", world.operator_token())
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as over:
            main(["device", "bench", "mnist", *words, "--server", world.url])
        found = capsys.readouterr()
        return int(str(over.value.code)), found.out, found.err

    return run


def doing(device: Device, act: Callable[[str], object]) -> threading.Thread:
    """The device, which does this with the next benchmark that it is offered."""

    def work() -> None:
        act(device.take(wait=20.0).id)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def row(out: str, device: str) -> list[str]:
    return next(line for line in out.splitlines() if line.startswith(f"{device} ")).split()


def test_the_table_has_all_devices_also_those_that_are_left_out(world: World, ended: Ended) -> None:
    devices = world.ready_devices("quick", "away", "broken")
    world.clock.advance(600)
    for name in ("quick", "broken"):
        devices[name].poll()
    world.step()
    result = pack_payload(Payload(metrics={c.BENCH: MEASURED.values()}))
    quick = doing(devices["quick"], lambda id_: devices["quick"].deliver(id_, result))
    end = c.WorkEnd(outcome="failed", reason="the app failed: no such column")
    broken = doing(devices["broken"], lambda id_: devices["broken"].end(id_, end))
    code, out, _ = ended("--fraction", "0.1")
    quick.join()
    broken.join()
    assert code == 0, "one of them could"
    assert "quick: a round takes about 60.5 s\n" in out
    assert "broken: failed: the app failed: no such column\n" in out
    assert row(out, "quick")[:6] == ["quick", "6000", "60", "0.6", "0.5", "60.5"]
    assert "the limit of time ended it at 60 of 600 examples" in out
    assert "left out: offline, last seen 10 min ago" in out
    code, shown, _ = ended("--show", "--json")
    found = c.BenchesRead.model_validate(json.loads(shown))
    assert [(one.device, one.status) for one in found.benches] == [
        ("broken", A.FAILED),
        ("quick", A.CHECKED),
    ]
    assert code == 0


def test_it_fails_when_no_device_could_be_timed(world: World, ended: Ended) -> None:
    assert ended("--show")[:2] == (0, "No device was timed yet: leave out --show to do it.\n")
    assert ended()[:2] == (1, "Task 'mnist' has no approved device.\n")
    (device,) = world.ready_devices("a").values()
    end = c.WorkEnd(outcome="refused", reason="the app's ClientApp loads its own data")
    thread = doing(device, lambda id_: device.end(id_, end))
    code, out, _ = ended("--device", "a")
    thread.join()
    assert code == 1
    assert "a: refused: the app's ClientApp loads its own data" in out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--device", "b"], "task 'mnist' has no approved device 'b'; it has: a"),
        (["--fraction", "0"], "fraction"),
        (["--fraction", "1.5"], "fraction"),
    ],
)
def test_what_cannot_be_asked_is_said(
    world: World, ended: Ended, words: list[str], why: str
) -> None:
    world.ready_devices("a")
    code, _, err = ended(*words)
    assert code != 0
    assert why in err
    assert world.operator.benches("mnist").benches == []


def test_ctrl_c_leaves_the_benchmarks_and_says_how_to_look_at_them(
    world: World, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready_devices("a")

    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benches.time, "sleep", pressed)
    code, _, err = ended()
    assert code == 130
    assert err == (
        "fedops: the benchmarks go on; 'fedops device bench mnist --show' shows how they are\n"
    )
    code, out, _ = ended("--show")
    assert "has not fetched its work yet" in out
