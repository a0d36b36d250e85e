"""Code on its way to devices: sources, commits, rollouts, what each device is to run; and FedOps itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import CommitStatus, DeploymentStatus, RolloutStatus, UpgradeStatus
from fedops.server.database.tables.base import Base, BigId


class SourceRow(Base):
    """Where the code of a task comes from."""

    __tablename__ = "sources"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    #: Without credentials: those are the server's environment's, and never kept.
    url: Mapped[str] = mapped_column(Text)
    ref: Mapped[str] = mapped_column(Text, default="")
    subfolder: Mapped[str] = mapped_column(Text, default="")
    poll_seconds: Mapped[float]
    #: core.contracts.RolloutPolicy.
    policy: Mapped[dict[str, Any]]
    #: The commit that the ref names, as far as known.
    commit: Mapped[str | None] = mapped_column(String(64))
    #: Nothing newer is rolled out by itself.
    pinned: Mapped[str | None] = mapped_column(String(64))
    #: When it was looked at last, and when it is to be looked at next. None: not by itself.
    looked_at: Mapped[float | None]
    look_at: Mapped[float | None]
    #: Why it could not be read last time.
    problem: Mapped[str] = mapped_column(Text, default="")
    changed_at: Mapped[float]


class CommitRow(Base):
    """A commit of a task's source, and what is known of it."""

    __tablename__ = "commits"
    __table_args__ = (UniqueConstraint("task", "commit"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"))
    commit: Mapped[str] = mapped_column(String(64))
    status: Mapped[CommitStatus]
    status_since: Mapped[float]
    reason: Mapped[str] = mapped_column(Text, default="")
    subject: Mapped[str] = mapped_column(Text, default="")
    author: Mapped[str] = mapped_column(Text, default="")
    authored_at: Mapped[float | None]
    seen_at: Mapped[float]
    #: The app's folder in it, as it was when it was found.
    subfolder: Mapped[str] = mapped_column(Text, default="")
    bundle: Mapped[str | None] = mapped_column(ForeignKey("bundles.sha256"))
    #: The commit with its files as a Git pack.
    pack: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    #: The parameter contract of its model.
    fingerprint: Mapped[str] = mapped_column(String(64), default="")
    #: What it names itself, as requirements.
    requirements: Mapped[list[str]]
    #: core.contracts.CommitChanges.
    changes: Mapped[dict[str, Any]]
    #: How often its check began: one that takes the server down with it is not begun for ever.
    checks: Mapped[int] = mapped_column(Integer, default=0)


class PackagesRow(Base):
    """The packages of a commit on one platform."""

    __tablename__ = "packages"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    commit: Mapped[str] = mapped_column(String(64), primary_key=True)
    platform: Mapped[str] = mapped_column(String(80), primary_key=True)
    #: core.contracts.Packages.
    packages: Mapped[dict[str, Any]]
    at: Mapped[float]


class RolloutRow(Base):
    """A commit on its way to the devices of a task. The newest of a task is the one that counts."""

    __tablename__ = "rollouts"
    __table_args__ = (
        Index(
            "uq_rollouts_current_task",
            "task",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), index=True)
    commit: Mapped[str] = mapped_column(String(64))
    status: Mapped[RolloutStatus]
    status_since: Mapped[float]
    #: The newest wave, from 1; 0: nobody is asked yet.
    wave: Mapped[int] = mapped_column(Integer, default=0)
    #: Since when it is judged.
    wave_since: Mapped[float]
    #: Up to which wave a person has allowed it.
    approved: Mapped[int] = mapped_column(Integer, default=0)
    #: Why devices may not switch now; "": they may.
    hold: Mapped[str] = mapped_column(Text, default="")
    why: Mapped[str] = mapped_column(Text, default="")
    #: What is asked of devices when it is stopped.
    previous: Mapped[str | None] = mapped_column(String(64))
    #: core.contracts.RolloutPolicy, as it was when it began.
    policy: Mapped[dict[str, Any]]
    #: Of the commit, counted up to have it tried again.
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class DeploymentRow(Base):
    """What a device is to run for a task, and what it says of that."""

    __tablename__ = "deployments"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    #: None: its owner's own folder, or it runs something and nothing is asked of it.
    desired: Mapped[str | None] = mapped_column(String(64))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    rollout: Mapped[int | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    wave: Mapped[int | None] = mapped_column(Integer)
    #: How long it waits before it fetches. Seconds.
    after_seconds: Mapped[float] = mapped_column(default=0.0)
    status: Mapped[DeploymentStatus]
    status_since: Mapped[float]
    reason: Mapped[str] = mapped_column(Text, default="")
    stalled: Mapped[bool] = mapped_column(default=False)
    #: What it runs, and since when, by its own word.
    actual: Mapped[str | None] = mapped_column(String(64))
    actual_since: Mapped[float | None]
    #: core.contracts.DeploymentReport, the newest.
    report: Mapped[dict[str, Any]]
    reported_at: Mapped[float | None]


class HookRow(Base):
    """A call of a Git host that was heard: a copy of it is not heard again."""

    __tablename__ = "hooks"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    size: Mapped[int] = mapped_column(BigInteger, default=0)


class UpgradeRow(Base):
    """The server's release of FedOps on its way to devices. The newest is the one that counts."""

    __tablename__ = "upgrades"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    release: Mapped[str] = mapped_column(String(64))
    #: 1 until it ends, then None: there is one at most that has not ended.
    live: Mapped[int | None] = mapped_column(Integer, unique=True)
    #: Devices that come later are asked, too.
    everyone: Mapped[bool]
    status: Mapped[RolloutStatus]
    status_since: Mapped[float]
    #: The newest wave, from 1; 0: nobody is asked yet.
    wave: Mapped[int] = mapped_column(Integer, default=0)
    #: Since when it is judged.
    wave_since: Mapped[float]
    why: Mapped[str] = mapped_column(Text, default="")
    #: ``canary``, ``further``, ``judged_seconds`` and ``wave_seconds`` of core.contracts.DeviceUpgrade.
    policy: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class DeviceUpgradeRow(Base):
    """A device of an upgrade, and how far it is."""

    __tablename__ = "device_upgrades"

    upgrade: Mapped[int] = mapped_column(ForeignKey("upgrades.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    #: None: it is in none, as it is not asked yet or came late.
    wave: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[UpgradeStatus]
    since: Mapped[float]
    reason: Mapped[str] = mapped_column(Text, default="")
