"""Contributions and selections as rich tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from fedops.console.format import moment, number, or_dash, table_of
from fedops.core import contracts as c

#: In one sentence of a table there is room for so much. Characters.
_ROOM = 90
NOTHING = (
    "No round is scored yet. The rounds of a run are scored if its config says so:"
    " '--set server.contribution.method=auto'."
)


def standings_table(found: c.ContributionsRead) -> RenderableType:
    """The clients of a task over all scored rounds."""
    if found.run_id is None:
        return NOTHING
    titles = ("DEVICE", "VALUE", "±", "A ROUND", "ROUNDS", "INTEGRITY", "FOUND")
    rows = [
        (
            one.device,
            _signed(one.value),
            number(one.value_error),
            _signed(one.mean_value),
            str(one.rounds),
            or_dash(None if one.integrity is None else f"{one.integrity:+.1f}"),
            _found(one.findings),
        )
        for one in found.clients
    ]
    return table_of(titles, rows, right=("VALUE", "±", "A ROUND", "ROUNDS", "INTEGRITY"))


def basis_line(found: c.ContributionsRead) -> str:
    """What the numbers rest on, in one line."""
    if found.run_id is None:
        return ""
    on = found.basis.get("measured on", "nothing")
    return f"As of round {found.round} of run {found.run_id}, measured on {on}."


def round_scores_view(rounds: Sequence[c.RoundScoresRead]) -> Iterator[RenderableType]:
    """The scored rounds of a run, the oldest first."""
    if not rounds:
        yield NOTHING
    for one in reversed(rounds):
        yield Text(_how(one))
        if one.scores:
            yield _scores_table(one)


def _how(one: c.RoundScoresRead) -> str:
    if one.scored_at is None:
        return f"Round {one.round} is not scored yet."
    method = one.method or "directions of the updates only"
    share = "" if one.share is None else f" ({one.share:.0%} of the round"
    share += "" if one.run_share is None else f", {one.run_share:.1%} of the run until then"
    share += ")" if share else ""
    measured = f"{one.evaluations} evaluations on {one.examples} examples"
    if one.plan.evaluated_by == "clients":
        clients = f"{one.evaluations} models, evaluated by its clients"
        measured = clients if one.evaluations else "no evaluations"
    said = f"Round {one.round}: {method}, {measured}"
    return f"{said}, {one.seconds:.2f} s{share}{f'; {one.note}' if one.note else ''}"


def _scores_table(one: c.RoundScoresRead) -> RenderableType:
    titles = ("DEVICE", "VALUE", "±", "DIG-FL", "CGSV", "INTEGRITY", "FOUND")
    rows = [
        (
            score.device,
            _signed(score.value),
            number(score.value_error),
            _signed(score.dig_fl),
            _signed(score.cgsv),
            or_dash(None if score.integrity is None else f"{score.integrity:+.1f}"),
            _found(score.findings),
        )
        for score in one.scores
    ]
    return table_of(titles, rows, right=("VALUE", "±", "DIG-FL", "CGSV", "INTEGRITY"))


def selections_view(found: Sequence[c.SelectionRead]) -> Iterator[RenderableType]:
    """Each try of a round, the oldest first."""
    if not found:
        yield "No clients were chosen yet."
    for one in reversed(found):
        again = f", try {one.retry + 1}" if one.retry else ""
        chosen = sum(decision.chosen for decision in one.decisions)
        of = f"{chosen} of {len(one.decisions)} candidates"
        yield Text(f"Round {one.round}{again}, {moment(one.at)}: {of}")
        yield _decisions_table(one.decisions)


def _decisions_table(decisions: Sequence[c.SelectionDecision]) -> RenderableType:
    titles = ("DEVICE", "CHOSEN", "SCORE", "MADE OF", "WHY")
    rows = [
        (
            one.device,
            "yes" if one.chosen else "no",
            number(one.score),
            " ".join(f"{name}={value:.3g}" for name, value in one.parts.items()),
            one.reason,
        )
        for one in sorted(decisions, key=lambda one: (not one.chosen, one.device))
    ]
    return table_of(titles, rows, right=("SCORE",))


def _signed(value: float | None) -> str:
    return or_dash(None if value is None else f"{value:+.4f}")


def _found(findings: Sequence[c.IntegrityFinding]) -> str:
    said = "; ".join(f"{one.kind}: {one.evidence}" for one in findings)
    return said if len(said) <= _ROOM else f"{said[: _ROOM - 3]}..."
