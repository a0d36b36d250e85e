"""The database, table by table. SQL on them lives in the use-case modules beside this one.

Times are POSIX seconds, durations seconds. What is derived (presence, "active") is not stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Enum,
    Integer,
    MetaData,
)
from sqlalchemy.orm import DeclarativeBase

from fedops.core.states import (
    AssignmentStatus,
    AttemptStatus,
    ChannelKind,
    CommitStatus,
    DeploymentStatus,
    Enrolment,
    FailureReason,
    FiringStatus,
    NotificationStatus,
    ParticipationStatus,
    Role,
    RolloutStatus,
    RunStatus,
    ServingStatus,
    TaskStatus,
    TokenKind,
    UpgradeStatus,
)

#: SQLite counts up only columns declared INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


def _enum(kind: type[StrEnum]) -> Enum:
    """A text column that holds the values of an enumeration."""
    return Enum(kind, native_enum=False, length=40, values_callable=lambda e: [m.value for m in e])


class Base(DeclarativeBase):
    """Naming all constraints lets a migration change them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own interface)
        float: Double(),
        dict[str, Any]: JSON(none_as_null=True),
        dict[str, str]: JSON(none_as_null=True),
        dict[str, float]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[int]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
        TokenKind: _enum(TokenKind),
        Role: _enum(Role),
        RunStatus: _enum(RunStatus),
        AttemptStatus: _enum(AttemptStatus),
        AssignmentStatus: _enum(AssignmentStatus),
        Enrolment: _enum(Enrolment),
        FailureReason: _enum(FailureReason),
        ParticipationStatus: _enum(ParticipationStatus),
        TaskStatus: _enum(TaskStatus),
        CommitStatus: _enum(CommitStatus),
        RolloutStatus: _enum(RolloutStatus),
        FiringStatus: _enum(FiringStatus),
        DeploymentStatus: _enum(DeploymentStatus),
        ServingStatus: _enum(ServingStatus),
        UpgradeStatus: _enum(UpgradeStatus),
        ChannelKind: _enum(ChannelKind),
        NotificationStatus: _enum(NotificationStatus),
    }
