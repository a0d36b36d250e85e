"""Every pair of states of every machine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import StrEnum

import pytest

from fedops.core.errors import Conflict
from fedops.core.states import (
    ATTEMPT_TRANSITIONS,
    ENROLMENT_TRANSITIONS,
    PROCESS_TRANSITIONS,
    RUN_TERMINAL,
    RUN_TRAINING,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    AttemptStatus,
    Enrolment,
    InvalidTransition,
    ProcessStatus,
    RunStatus,
    TaskStatus,
    advance,
    can_advance,
)

#: The design's words, independent of the tables under test: "a b c: d e" means a, b and c may go to d and e.
DESIGN = {
    RunStatus: """
        pending: starting
        starting: running
        running: completed
        starting running paused: resuming
        resuming: running
        starting running resuming: pausing
        pending pausing: paused
        pending: stopped
        starting running pausing paused resuming: stopping
        stopping: stopped completed
        pending starting running pausing paused resuming stopping: failed
    """,
    AttemptStatus: """
        starting: running
        starting running: ended lost cancelled
    """,
    Enrolment: """
        pending: approved rejected removed
        approved: quarantined revoked removed
        quarantined: approved revoked removed
        rejected: removed
        revoked: removed
    """,
    ProcessStatus: """
        stopped: starting
        starting: idle
        idle: training evaluating
        training: idle evaluating
        evaluating: idle training
        starting idle training evaluating: backoff
        backoff: starting
        starting idle training evaluating backoff: fatal stopped
        fatal: starting stopped
    """,
    TaskStatus: """
        draft: ready archived
        ready: archived
        archived: ready draft
    """,
}
TABLES: dict[type[StrEnum], Mapping[StrEnum, frozenset[StrEnum]]] = {
    RunStatus: RUN_TRANSITIONS,
    AttemptStatus: ATTEMPT_TRANSITIONS,
    Enrolment: ENROLMENT_TRANSITIONS,
    ProcessStatus: PROCESS_TRANSITIONS,
    TaskStatus: TASK_TRANSITIONS,
}


def _edges(machine: type[StrEnum]) -> set[tuple[StrEnum, StrEnum]]:
    lines = [line.split(":") for line in DESIGN[machine].split("\n") if line.strip()]
    return {
        (machine(before), machine(after))
        for befores, afters in lines
        for before in befores.split()
        for after in afters.split()
    }


PAIRS = [
    pytest.param(machine, before, after, id=f"{machine.__name__}-{before}-{after}")
    for machine in TABLES
    for before, after in itertools.product(machine, machine)
]


@pytest.mark.parametrize(("machine", "before", "after"), PAIRS)
def test_every_pair(machine: type[StrEnum], before: StrEnum, after: StrEnum) -> None:
    table = TABLES[machine]
    allowed = before == after or (before, after) in _edges(machine)
    assert can_advance(table, before, after) is allowed
    if allowed:
        assert advance(table, before, after) is after
        return
    with pytest.raises(InvalidTransition, match=f"from '{before}' to '{after}'") as raised:
        advance(table, before, after)
    assert isinstance(raised.value, Conflict)
    for possible in table[before]:
        assert possible in raised.value.message


@pytest.mark.parametrize("machine", TABLES, ids=lambda machine: machine.__name__)
def test_tables_are_complete_and_closed(machine: type[StrEnum]) -> None:
    table = TABLES[machine]
    assert set(table) == set(machine)
    assert all(after <= set(machine) for after in table.values())
    assert all(state not in after for state, after in table.items())


def _reachable(table: Mapping[StrEnum, frozenset[StrEnum]], start: StrEnum) -> set[StrEnum]:
    seen, todo = {start}, [start]
    while todo:
        fresh = table[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen


@pytest.mark.parametrize("machine", TABLES, ids=lambda machine: machine.__name__)
def test_every_state_is_reached_from_the_first(machine: type[StrEnum]) -> None:
    assert _reachable(TABLES[machine], next(iter(machine))) == set(machine)


@pytest.mark.parametrize("machine", [RunStatus, AttemptStatus])
def test_every_state_leads_to_an_end(machine: type[StrEnum]) -> None:
    table = TABLES[machine]
    ends = {state for state, after in table.items() if not after}
    assert ends
    assert all(_reachable(table, state) & ends for state in machine)


def test_the_groups_of_run_states() -> None:
    assert frozenset({"completed", "stopped", "failed"}) == RUN_TERMINAL
    assert not RUN_TRAINING & {
        *RUN_TERMINAL,
        RunStatus.PENDING,
        RunStatus.STOPPING,
        RunStatus.PAUSED,
    }
