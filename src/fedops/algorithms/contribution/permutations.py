"""Shapley values as the mean of marginals over orders in which clients join (guided truncation, GTG).

Guided: in a cycle of n orders each client comes first once, and the others follow in random order. What a
client adds when it comes first is the same in every order, and counts 1/n; the other orders count the rest.
Truncated: once the clients that joined achieve what all achieve, within a tolerance, the rest of the order
counts as nothing; that favours whoever joined early, so it is counted and said, and what is missing to v(N)
is shared equally:  phi_i + (v(N) - sum of phi) / n. (Rescaling by the positive part alone would not sum to
v(N) once any value is negative.)
Skipped: when the whole round achieves no more than ``skip_below``, all values are 0.

Liu and others 2022 (GTG-Shapley); Castro and others 2009 (sampled orders).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedops.algorithms.contribution.coalitions import Booleans, Floats
from fedops.algorithms.contribution.estimate import Estimate, sampled_estimate
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.core.reasons.durations import pluralised

Order = Sequence[int]


@dataclass(frozen=True)
class Rules:
    """When an order, a round and the whole sampling end."""

    #: Once the clients that joined miss less than this share of v(N) to it, the order ends; 0: never.
    tolerance: float = 1e-3
    #: A round that moves the utility by no more than this has no values; 0: never.
    skip_below: float = 0.0
    #: From so many orders on, it is looked whether the values still change ...
    least_orders: int = 30
    #: ... between now and so many orders ago ...
    window: int = 10
    #: ... by more than this share of their mean size.
    change: float = 0.05
    #: More orders than this are not drawn, even if they cost nothing.
    most_orders: int = 2_000


@dataclass
class Marginals:
    """What clients added in each order so far."""

    rows: list[Floats] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    truncated: int = 0

    def mean(self, until: int | None = None) -> Floats:
        """One row a client, of the first ``until`` orders."""
        return np.asarray(np.mean(self.rows[:until], axis=0))


def guided_orders(players: int, rng: np.random.Generator) -> Iterator[Order]:
    """Without end. In each cycle of n orders, every client comes first once."""
    while True:
        for first in rng.permutation(players):
            others = [player for player in rng.permutation(players) if player != first]
            yield [int(first), *(int(player) for player in others)]


def guided_permutations(
    game: Game, max_evaluations: int, rng: np.random.Generator, rules: Rules | None = None
) -> Estimate:
    """Shapley values from orders, until they no longer change or the budget is used up."""
    rules = rules or Rules()
    if max_evaluations < game.players + 1:
        raise BudgetExceeded(f"'guided_permutations' needs {game.players + 1} evaluations at least")
    limit = game.evaluations + min(max_evaluations, game.remaining)
    whole = game.gains([game.grand])[0]
    if abs(whole[0]) <= rules.skip_below:
        note = f"the round changed the utility by {whole[0]:.2g}, so all values are taken to be 0"
        table = np.zeros((game.players, len(whole)))
        errors = np.full(game.players, abs(whole[0]))
        return sampled_estimate("guided_permutations", table, errors, game.evaluations, (note,))
    marginals = Marginals()
    for order in guided_orders(game.players, rng):
        unaffordable = game.evaluations + game.cost_of(prefixes(order)) > limit
        if unaffordable or len(marginals.rows) >= rules.most_orders or settled(marginals, rules):
            break
        add_order(marginals, game, order, rules.tolerance * abs(whole[0]))
    return estimate_of(marginals, game)


def estimate_of(marginals: Marginals, game: Game) -> Estimate:
    """The mean of the marginals, completed to v(N)."""
    whole = game.gains([game.grand])[0]
    table = share_the_rest(guided_mean(marginals), whole)
    errors = standard_errors(marginals)
    notes = _notes(marginals, game.players)
    return sampled_estimate("guided_permutations", table, errors, game.evaluations, notes)


def prefixes(order: Order) -> list[int]:
    """The coalitions that an order runs through, the empty one first."""
    return list(itertools.accumulate((1 << player for player in order), initial=0))


def add_order(marginals: Marginals, game: Game, order: Order, tolerance: float = 0.0) -> None:
    """Let clients join in this order, until those that joined achieve what all do within ``tolerance``."""
    coalitions = prefixes(order)
    whole, before = game.payoff(game.grand), game.payoff(0)
    row = np.zeros((game.players, len(whole)))
    for player, coalition in zip(order, coalitions[1:], strict=True):
        if tolerance > 0 and np.abs(whole - before).max() < tolerance:
            marginals.truncated += 1
            break
        after = game.payoff(coalition)
        row[player] = after - before
        before = after
    marginals.rows.append(row)
    marginals.firsts.append(order[0])


def guided_mean(marginals: Marginals) -> Floats:
    """One row a client: the mean. Between full cycles, coming first counts 1/n all the same."""
    rows, first = np.stack(marginals.rows), np.array(marginals.firsts)
    players = rows.shape[1]
    means = marginals.mean()
    if len(rows) < players:
        return means
    for player in range(players):
        later = rows[first != player, player]
        if len(later):
            own = rows[first == player, player].mean(0)
            means[player] = (own + (players - 1) * later.mean(0)) / players
    return means


def share_the_rest(table: Floats, whole: Floats) -> Floats:
    """The values, each with an equal share of what is missing to v(N)."""
    return np.asarray(table + (whole - table.sum(0)) / len(table))


def settled(marginals: Marginals, rules: Rules) -> bool:
    """Whether the values have stopped to change. Sizes are compared, so that none is divided by."""
    orders = len(marginals.rows)
    if orders < max(rules.least_orders, len(marginals.rows[0]) if orders else 0, rules.window + 1):
        return False
    now, then = marginals.mean()[:, 0], marginals.mean(orders - rules.window)[:, 0]
    return bool(np.abs(now - then).mean() <= rules.change * np.abs(now).mean())


def standard_errors(marginals: Marginals) -> Floats:
    """Of ``guided_mean``, widened for few orders as Student's distribution is."""
    rows, first = np.stack(marginals.rows)[:, :, 0], np.array(marginals.firsts)
    players = rows.shape[1]
    if len(rows) < 2:
        return np.full(players, rows[0].std())
    return np.array([_standard_error(rows[:, i], first == i, players) for i in range(players)])


def _standard_error(marginals: Floats, first: Booleans, players: int) -> float:
    """Once everybody came first, coming first adds no noise."""
    later, share = marginals[~first], (players - 1) / players
    if len(marginals) < players or len(later) < 2:
        later, share = marginals, 1.0
    widened = 1 + (1.6449**2 + 1) / (4 * (len(later) - 1))
    return float(widened * share * np.sqrt(later.var(ddof=1) / len(later)))


def _notes(marginals: Marginals, players: int) -> tuple[str, ...]:
    orders = len(marginals.rows)
    notes = [f"{pluralised(orders, 'order')} of the clients"]
    if marginals.truncated:
        notes.append(
            f"{marginals.truncated} of them were cut short, which favours whoever joined early"
        )
    if orders < 2:
        notes.append("a single order: the standard error is the spread of its marginals")
    elif orders < players:
        notes.append("no full cycle: not every client came first")
    return tuple(notes)
