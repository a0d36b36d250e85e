"""What the database says of a run when it is over, and whether that is what it must be."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Row = tuple[int | None, str, str | None, str]


@dataclass(frozen=True)
class Account:
    """One run, as it is on record."""

    run_id: int
    status: str
    text: str
    rounds: int
    committed: int
    #: Of each round in order: the digest of the model it made.
    models: list[str | None]
    #: Digest of the version that the run made.
    final: str | None
    version: int | None
    #: Round -> how often the log says that it was committed.
    commits: Counter[int]
    redone: int
    #: Metric rows as (round, source, device, name).
    metrics: Counter[Row]
    #: When something was made that stays: rounds committed, the run's end. Seconds of the epoch.
    progress: list[float]
    #: Round -> devices that were aggregated.
    took_part: dict[int, tuple[str, ...]]
    #: How often a device was asked to train again what it had delivered.
    retrained: int
    #: Rounds whose model was found damaged, so that they were done again.
    stepped_back: Counter[int]


@dataclass
class Verdict:
    """What is wrong with a run, counted."""

    lost: int = 0
    counted_twice: int = 0
    redone: int = 0
    retrained: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    digest_mismatches: int = 0
    versions_wrong: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.notes


class Ledger:
    """Reads the server's database beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)) as db:
            yield db

    def account(self, run_id: int) -> Account:
        with self._open() as db:
            task, status, text, rounds, committed, version, ended = db.execute(
                "select task, status, text, rounds, committed_rounds, version, ended_at"
                " from runs where id = ?",
                (run_id,),
            ).fetchone()
            found = db.execute(
                "select round, model, begun, committed_at from rounds where run_id = ? order by round",
                (run_id,),
            ).fetchall()
            commits = db.execute(
                "select subject from events where run_id = ? and name = 'round.committed'",
                (run_id,),
            ).fetchall()
            final = db.execute(
                "select sha256 from model_versions where task = ? and version = ? and run_id = ?",
                (task, version, run_id),
            ).fetchone()
            times = [row[3] for row in found if row[3]] + ([ended] if ended else [])
            return Account(
                run_id=run_id,
                status=status,
                text=text,
                rounds=rounds,
                committed=committed,
                models=[row[1] for row in found],
                final=final[0] if final else None,
                version=version,
                commits=Counter(int(subject.split()[1]) for (subject,) in commits),
                redone=sum(row[2] - 1 for row in found),
                metrics=_metrics(db, run_id),
                progress=sorted(times),
                took_part=_took_part(db, run_id),
                retrained=_retrained(db, run_id),
                stepped_back=_stepped_back(db, run_id),
            )

    def newest(self, run_id: int, what: str) -> str | None:
        """The digest of the run's last model, or of the update that was delivered last as a file."""
        query = {
            "model": "select model from rounds where run_id = ? and committed_at is not null"
            " order by round desc",
            "update": "select blob from assignments where run_id = ? and kind = 'train'"
            " and blob is not null order by delivered_at desc",
        }[what]
        with self._open() as db:
            found = db.execute(f"{query} limit 1", (run_id,)).fetchone()
        return found[0] if found else None

    def versions(self) -> dict[tuple[str, int], str]:
        """(task, version) -> digest of all versions there are."""
        with self._open() as db:
            rows = db.execute("select task, version, sha256 from model_versions").fetchall()
        return {(task, version): sha256 for task, version, sha256 in rows}


def _metrics(db: sqlite3.Connection, run_id: int) -> Counter[Row]:
    return Counter(
        db.execute(
            "select m.round, m.source, d.name, m.name from metrics m"
            " left join devices d on d.id = m.device_id where m.run_id = ?",
            (run_id,),
        ).fetchall()
    )


def _took_part(db: sqlite3.Connection, run_id: int) -> dict[int, tuple[str, ...]]:
    rows = db.execute(
        "select p.round, d.name from participations p join devices d on d.id = p.device_id"
        " join rounds r on r.run_id = p.run_id and r.round = p.round and r.attempt = p.attempt"
        " where p.run_id = ? and p.status = 'replied' order by p.round, d.name",
        (run_id,),
    ).fetchall()
    found: dict[int, tuple[str, ...]] = {}
    for round_, name in rows:
        found[round_] = (*found.get(round_, ()), name)
    return found


def _retrained(db: sqlite3.Connection, run_id: int) -> int:
    return int(
        db.execute(
            "select count(*) from assignments a join assignments b on a.run_id = b.run_id"
            " and a.round = b.round and a.device_id = b.device_id and a.kind = b.kind"
            " and a.model = b.model where a.run_id = ? and a.delivered_at is not null"
            " and a.status in ('uploaded', 'checked') and b.offered_at > a.delivered_at",
            (run_id,),
        ).fetchone()[0]
    )


def _stepped_back(db: sqlite3.Connection, run_id: int) -> Counter[int]:
    rows = db.execute(
        "select subject from events where run_id = ? and name = 'checkpoint.damaged'", (run_id,)
    ).fetchall()
    return Counter(int(subject.split()[1]) for (subject,) in rows)


def judge(
    run: Account,
    reference: Account,
    before: dict[tuple[str, int], str],
    after: dict[tuple[str, int], str],
    damaged: int = 0,
) -> Verdict:
    """Compare a disturbed run with an undisturbed one; ``before`` and ``after`` are all versions.

    ``damaged``: how many delivered updates were, which may be asked for again.
    """
    verdict, say = Verdict(redone=run.redone), []
    if run.status != "completed" or run.committed != run.rounds:
        verdict.lost = 1
        say.append(f"it is {run.status} after {run.committed} of {run.rounds} rounds: {run.text}")
    commits = run.commits - run.stepped_back
    verdict.counted_twice = sum(n - 1 for n in commits.values() if n > 1)
    verdict.counted_twice += sum(n not in run.commits for n in range(1, run.committed + 1))
    if verdict.counted_twice:
        say.append(f"rounds were committed so often: {dict(run.commits)}")
    verdict.retrained = max(run.retrained - damaged, 0)
    if verdict.retrained:
        say.append(f"{run.retrained} deliveries were asked for again, {damaged} were damaged")
    missing = reference.metrics.keys() - run.metrics.keys()
    doubled = {row: n for row, n in run.metrics.items() if n > 1}
    verdict.rows_lost, verdict.rows_doubled = len(missing), sum(doubled.values()) - len(doubled)
    if missing:
        say.append(f"metrics are missing: {sorted(missing, key=str)[:4]}")
    if doubled:
        say.append(f"metrics are there twice: {sorted(doubled, key=str)[:4]}")
    if run.took_part == reference.took_part and run.models != reference.models:
        verdict.digest_mismatches = 1
        say.append(f"models {run.models} instead of {reference.models}")
    if run.final is not None and run.final != run.models[-1]:
        verdict.digest_mismatches = 1
        say.append("the version is not the model of the last round")
    if run.took_part != reference.took_part:
        say.append(f"not all took part: {run.took_part}")
    if any(after.get(key) != sha256 for key, sha256 in before.items()):
        verdict.versions_wrong += 1
        say.append("a version changed or vanished")
    if len(after) != len(before) + (run.status == "completed"):
        verdict.versions_wrong += 1
        say.append(f"{len(after) - len(before)} versions were made by one run")
    verdict.notes = say
    return verdict
