"""When a process of the tests dies, the others and the one in its place make every test but that one."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from file_schedule import FileSchedule

FILES = {
    "one long, many of one": [6, 1, 1, 1, 1, 1],
    "all of one": [1, 1, 1, 1, 1],
    "all of three": [3, 3, 3, 3],
    "few": [4, 1],
}


class Process:
    """As a process of pytest-xdist: it begins with a test once it knows the next, or that there is none."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.tests: list[int] = []
        self.shutting_down = False
        self.alive = True

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        if not self.alive:
            raise OSError("cannot send (already closed?)")
        self.tests += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_go_on(self) -> bool:
        return self.alive and (len(self.tests) > 1 or (bool(self.tests) and self.shutting_down))


class Run:
    """All that two processes make, with a second between any two tests."""

    def __init__(self, files: list[int]) -> None:
        self.names = [
            f"test_{f}.py::test_{t}" for f, tests in enumerate(files) for t in range(tests)
        ]
        option = SimpleNamespace(tx=["popen", "popen"], loadscopereorder=True)
        config = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
        self.schedule = FileSchedule(cast(Any, config), cast(Any, _Silent()))
        self.processes: list[Process] = []
        self.made: list[str] = []
        self.looking: dict[Process, int] = {}
        self.replaced = 0
        for name in ("gw0", "gw1"):
            self.begin(name, seconds=0)
        self.tick()

    def begin(self, name: str, seconds: int = 2) -> None:
        process = Process(name)
        self.processes.append(process)
        self.schedule.add_node(cast(Any, process))
        self.looking[process] = seconds

    def has_found_tests(self, process: Process) -> None:
        self.schedule.add_node_collection(cast(Any, process), self.names)
        if self.schedule.collection_is_completed:
            self.schedule.schedule()

    def tick(self) -> None:
        for process, seconds in [*self.looking.items()]:
            self.looking[process] = seconds - 1
            if seconds == 0 and process.alive:
                self.has_found_tests(process)
        for process in [process for process in self.processes if process.can_go_on]:
            test = process.tests.pop(0)
            self.made.append(self.names[test])
            self.schedule.mark_test_complete(cast(Any, process), test)

    def dies(self, name: str, until_noticed: int) -> list[str]:
        """The test that it died in. A second is enough to begin another; its tests are looked for later."""
        process = next(process for process in self.processes if process.gateway.id == name)
        process.alive = False
        _tick(self, until_noticed)
        self.processes.remove(process)
        died_in = self.schedule.remove_node(cast(Any, process))
        self.begin(f"gw{2 + self.replaced}")
        self.replaced += 1
        return [died_in] if died_in else []


class _Silent:
    loadfilesched = staticmethod(lambda *_: None)
    loadscopesched = loadfilesched


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
@pytest.mark.parametrize("until_noticed", [0, 1])
@pytest.mark.parametrize("until_replaced", [0, 1, 3, 30])
@pytest.mark.parametrize("die", [["gw0"], ["gw1"], ["gw0", "gw1"], ["gw0", "gw2"]], ids="+".join)
def test_every_other_test_is_made_once(
    files: list[int], die: list[str], until_noticed: int, until_replaced: int
) -> None:
    for moment in range(sum(files)):
        run = Run(files)
        died_in: list[str] = []
        _tick(run, moment)
        for name in die:
            died_in += run.dies(name, until_noticed)
            _tick(run, until_replaced)
        _tick(run, 100)
        assert sorted([*run.made, *died_in]) == run.names, f"died after {moment} seconds"


def _tick(run: Run, seconds: int) -> None:
    for _ in range(seconds):
        run.tick()


def test_without_a_death_each_test_is_made_once() -> None:
    run = Run([6, 1, 1, 2])
    _tick(run, 100)
    assert sorted(run.made) == run.names
