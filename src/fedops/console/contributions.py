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


NO_CLASSES = (
    "There are no values by class. They take validation data on the server, with whole numbers as labels"
    " of 20 classes at most."
)


def no_scores_of(run: c.RunRead, round_: int) -> str:
    """Why there is nothing to be shown of this round."""
    if absent := _absent(run, round_):
        return absent
    rules = run.config.get("server", {}).get("contribution", {})
    said = f"Round {round_} of run {run.id} was not to be scored"
    if rules.get("method", "none") == "none":
        return f"{said}: its config has no method in [server.contribution]."
    if round_ % rules.get("every", 1):
        return f"{said}: only every {rules['every']} rounds one is."
    return f"{said}. If that was to stay within a tenth of the time, the next scored round says so."


def no_selection_of(run: c.RunRead, round_: int) -> str:
    """The same, of whom the round chose."""
    return _absent(run, round_) or f"It is not stored whom round {round_} of run {run.id} chose."


def _absent(run: c.RunRead, round_: int) -> str:
    """What is to be said of a round that is not there."""
    if round_ < run.first_round:
        return f"Run {run.id} begins with round {run.first_round}: round {round_} is of run {run.parent}."
    if round_ <= run.committed_rounds:
        return ""
    if run.ended_at is not None:
        return f"Run {run.id} has no round {round_}: it ended after round {run.committed_rounds}."
    return (
        f"Run {run.id} has not come to round {round_}: it is at round {run.committed_rounds + 1}."
    )


def standings_table(found: c.ContributionsRead) -> RenderableType:
    """The clients of a task over all scored rounds."""
    if found.run_id is None:
        return NOTHING
    titles = ("DEVICE", "VALUE", "±", "A ROUND", "ROUNDS", "INTEGRITY", "FOUND")
    rows = [
        (
            one.device,
            _signed(one.value if one.rounds else None),
            number(one.value_error if one.rounds else None),
            _signed(one.mean_value),
            str(one.rounds),
            or_dash(None if one.integrity is None else f"{one.integrity:+.1f}"),
            _found(one.findings),
        )
        for one in found.clients
    ]
    return table_of(titles, rows, right=("VALUE", "±", "A ROUND", "ROUNDS", "INTEGRITY"))


def by_class_table(
    clients: Sequence[c.ClientStanding] | Sequence[c.ClientScore],
) -> RenderableType:
    """What each client gives to each class of the validation data, and to which it gives most of all."""
    valued = [one for one in clients if one.by_class]
    if not valued:
        return NO_CLASSES
    classes = valued[0].classes or [str(i + 1) for i in range(len(valued[0].by_class))]
    most = [max(values) for values in zip(*(one.by_class for one in valued), strict=True)]
    rows = [
        (one.device, *(f"{value:+.3f}" for value in one.by_class), _first_in(one, classes, most))
        for one in valued
    ]
    return table_of(("DEVICE", *classes, "MOST OF ALL IN"), rows, right=classes)


def _first_in(
    one: c.ClientStanding | c.ClientScore, classes: Sequence[str], most: Sequence[float]
) -> str:
    values = zip(classes, one.by_class, most, strict=True)
    return " ".join(label for label, own, best in values if own == best > 0)


def basis_line(found: c.ContributionsRead) -> str:
    """What the numbers rest on, in one line."""
    if found.run_id is None:
        return ""
    on = found.basis.get("measured on", "nothing")
    metric = f"by the {found.basis['metric']}, " if "metric" in found.basis else ""
    return f"As of round {found.round} of run {found.run_id}, {metric}measured on {on}."


def round_scores_view(
    rounds: Sequence[c.RoundScoresRead], *, by_class: bool = False
) -> Iterator[RenderableType]:
    """The scored rounds of a run, the oldest first."""
    if not rounds:
        yield NOTHING
    for one in reversed(rounds):
        yield Text(_how(one))
        if one.scores:
            yield by_class_table(one.scores) if by_class else _scores_table(one)


def _how(one: c.RoundScoresRead) -> str:
    if one.scored_at is None:
        later = "was not scored: the run ended" if one.run_ended else "is not scored yet"
        return f"Round {one.round} {later}."
    share = "" if one.share is None else f" ({one.share:.0%} of the round"
    share += "" if one.run_share is None else f", {one.run_share:.1%} of the run until then"
    share += ")" if share else ""
    said = f"Round {one.round}: {_measured(one) if one.scores else 'no scores'}"
    return f"{said}, {one.seconds:.2f} s{share}{f'; {one.note}' if one.note else ''}"


def _measured(one: c.RoundScoresRead) -> str:
    method = one.method or "directions of the updates only"
    measured = f"{one.evaluations} evaluations on {one.examples} examples"
    if one.plan.evaluated_by == "clients":
        measured = f"{one.evaluations} models, evaluated by its clients"
    return f"{method}, {measured if one.evaluations else 'no evaluations'}"


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
