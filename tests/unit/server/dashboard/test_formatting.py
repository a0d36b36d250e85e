"""What the dashboard writes."""

from fedops.core.contracts import (
    DeviceInfo,
    DeviceRead,
    ParticipationRead,
    ProcessReport,
    RoundRead,
)
from fedops.core.states import Enrolment, ParticipationStatus, ProcessStatus
from fedops.server.dashboard import formatting


def device(online: bool, status: ProcessStatus, round_: int | None = None) -> DeviceRead:
    return DeviceRead(
        id="d",
        name="pi-3",
        enrolment=Enrolment.APPROVED,
        online=online,
        last_seen_at=0,
        last_seen_seconds=1,
        tasks=[],
        process=ProcessReport(status=status, round=round_),
        info=DeviceInfo(),
        created_at=0,
        why="",
    )


def round_(number: int, accuracy: float | None, reason: str | None = None) -> RoundRead:
    status = ParticipationStatus.DROPPED if reason else ParticipationStatus.REPLIED
    part = ParticipationRead(
        device="pi-3",
        status=status,
        selection="all",
        reason=reason,
        examples=1,
        seconds=1,
        bytes_up=1,
        metrics={},
    )
    return RoundRead(
        round=number,
        attempt=1,
        started_at=0,
        committed_at=1,
        seconds=2.34,
        overhead_seconds=0,
        timing={},
        metrics={} if accuracy is None else {"accuracy": accuracy},
        participations=[part],
    )


def test_a_device_shows_what_it_does() -> None:
    assert formatting.device_doing(device(False, ProcessStatus.TRAINING, 3)) == "offline"
    assert formatting.device_doing(device(True, ProcessStatus.TRAINING, 3)) == "training, round 3"
    assert formatting.device_doing(device(True, ProcessStatus.BACKOFF)) == "backoff"


def test_trouble_has_its_own_colour() -> None:
    colours = {
        formatting.device_colour(device(True, status))
        for status in (ProcessStatus.IDLE, ProcessStatus.TRAINING, ProcessStatus.FATAL)
    }
    assert len(colours | {formatting.device_colour(device(False, ProcessStatus.IDLE))}) == 4


def test_rounds_are_listed_newest_first_with_what_went_wrong() -> None:
    rows = formatting.round_rows([round_(1, 0.5), round_(2, None, "offline")])
    assert [row["round"] for row in rows] == [2, 1]
    assert rows[0]["clients"] == "0 of 1"
    assert rows[0]["notes"] == "pi-3: offline"
    assert (rows[0]["accuracy"], rows[1]["accuracy"]) == ("–", "50.0 %")


def test_the_curve_leaves_a_gap_where_nothing_was_measured() -> None:
    options = formatting.curve([round_(1, 0.5), round_(2, None)])
    assert options["xAxis"]["data"] == [1, 2]
    assert options["series"][0]["data"] == [0.5, None]
