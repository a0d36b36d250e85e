"""What the server makes of a device, and what the Client Manager makes of that."""

import logging

import pytest

from fedops.client.device.data_dir import Identity
from fedops.client.manager.standing import Standing
from fedops.core.contracts import Work
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound
from fedops.core.states import Enrolment

ADA = Identity("http://server", "id", "ada", "secret")


class World:
    def __init__(self) -> None:
        self.ended: list[FedOpsError] = []
        self.standing = Standing(ADA, "http://server", self.ended.append)

    def hear(self, enrolment: Enrolment, *problems: str) -> None:
        self.standing.hear(
            Work(revision=1, enrolment=enrolment, tasks=[], runs=[], problems=list(problems))
        )


@pytest.fixture
def world() -> World:
    return World()


def test_each_change_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fedops.client")
    world.hear(Enrolment.PENDING)
    world.hear(Enrolment.PENDING, "no task is ready")
    world.hear(Enrolment.APPROVED, "no task is ready", "its clock is wrong")
    world.hear(Enrolment.APPROVED)
    world.hear(Enrolment.APPROVED, "no task is ready")
    assert caplog.messages == [
        "waiting for an operator: 'fedops device approve ada'",
        "the server says: no task is ready",
        "the server says: its clock is wrong",
        "the server says: no task is ready",
    ]
    assert world.ended == []


@pytest.mark.parametrize("enrolment", [Enrolment.REJECTED, Enrolment.REVOKED])
def test_who_is_shut_out_ends_and_is_told_how_to_come_back(
    world: World, enrolment: Enrolment
) -> None:
    world.hear(enrolment)
    (error,) = world.ended
    assert isinstance(error, Forbidden)
    assert f"device 'ada' was {enrolment} by the operator; to join anew" in error.message


def test_a_server_that_does_not_know_the_call_is_named(world: World) -> None:
    world.standing.refused(NotFound("there is nothing at POST /api/v1/work"))
    (error,) = world.ended
    assert isinstance(error, Invalid)
    assert "the server at http://server is older than this device" in error.message


def test_another_refusal_ends_it_as_it_is(world: World) -> None:
    error = Conflict("no")
    world.standing.refused(error)
    assert world.ended == [error]
