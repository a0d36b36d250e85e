"""The upload slots of all processes that serve one database: a row each, until a moment in its time."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import text

from fedops.server.database.database import SLOTS as GIVING_OUT
from fedops.server.database.database import Database
from fedops.server.peers import notice_encoding
from fedops.server.protocol.slot_book import SLOT_SECONDS

#: One process at a time, so that no slot is given out twice; one that stands still loses its turn. Nobody
#: misses a slot that a power failure takes.
_TAKE_TURN = text(
    "SELECT set_config('synchronous_commit', 'off', true), "
    "set_config('idle_in_transaction_session_timeout', '5s', true), "
    f"pg_advisory_xact_lock({GIVING_OUT})"
)
_NOW = "extract(epoch FROM statement_timestamp())::double precision"
#: Who asks for a slot may have a row that ran out: that one is written anew, and so not removed.
_EXCHANGE = text(f"""
WITH live AS MATERIALIZED (
  SELECT assignment FROM upload_slots WHERE until > {_NOW} AND NOT assignment = ANY(CAST(:released AS text[]))
), gone AS (
  DELETE FROM upload_slots
  WHERE (until <= {_NOW} OR assignment = ANY(CAST(:released AS text[])))
    AND NOT assignment = ANY(CAST(:wanted AS text[]))
  RETURNING assignment
), kept AS (
  UPDATE upload_slots SET until = {_NOW} + :seconds
  WHERE assignment = ANY(CAST(:kept AS text[])) AND assignment IN (SELECT assignment FROM live)
  RETURNING assignment
), given AS (
  INSERT INTO upload_slots (assignment, until)
  SELECT assignment, {_NOW} + :seconds
  FROM unnest(CAST(:wanted AS text[])) WITH ORDINALITY AS asked (assignment, place)
  WHERE assignment NOT IN (SELECT assignment FROM live)
  ORDER BY place LIMIT greatest(0, :slots - (SELECT count(*) FROM live))
  ON CONFLICT (assignment) DO UPDATE SET until = excluded.until
  RETURNING assignment
)
SELECT ARRAY(SELECT assignment FROM kept UNION ALL SELECT assignment FROM given),
       (SELECT count(*) FROM live), (SELECT count(*) FROM gone)
""")
_SAY = text("SELECT pg_notify(:channel, :said)")


@dataclass
class Wishes:
    """What a process wants of the table at a time. What is released counts before what is wanted."""

    released: set[str] = field(default_factory=set)
    renewed: set[str] = field(default_factory=set)
    #: In the order in which slots are given.
    wanted: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.released or self.renewed or self.wanted)


class SlotTable:
    """``me``: the life of this process, by which it knows its own words. Used by one thread."""

    def __init__(self, db: Database, me: str, slots: int, seconds: float = SLOT_SECONDS) -> None:
        self.slots = slots
        self._db = db
        self._me = me
        self._seconds = seconds

    def exchange(self, wishes: Wishes) -> frozenset[str]:
        """Do all of it at once. Who of those that were renewed or wanted has a slot now.

        When slots were all taken and one is free, the others hear it.
        """
        given = {
            "released": list(wishes.released),
            "kept": [*wishes.renewed, *wishes.wanted],
            "wanted": list(wishes.wanted),
            "slots": self.slots,
            "seconds": self._seconds,
        }
        with self._db.aside() as session:
            session.execute(_TAKE_TURN)
            held, live, gone = session.execute(_EXCHANGE, given).one()
            if gone and live + gone >= self.slots:
                said = notice_encoding.say(self._me, notice_encoding.SLOTS)
                session.execute(_SAY, {"channel": notice_encoding.CHANNEL, "said": said})
        return frozenset(held)
