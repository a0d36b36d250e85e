"""Whether a strategy goes with the rest of its config: said before a run, and not by its rounds."""

from __future__ import annotations

from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.engine.scoring.scoring_plan import OFF
from fedops.flower.strategies.robust_limits import too_few
from fedops.flower.strategies.strategy_adapter import RunStrategy


def require_suitable(strategy: RunStrategy, config: Config) -> None:
    """``Invalid`` when what else the config says would have no effect, or no round could make a model."""
    clients, rules = config.clients_per_round, config.server.contribution
    if clients and clients < strategy.least_replies:
        raise Invalid(
            f"[server.strategy] {too_few(strategy.name, strategy.least_replies, clients)} (clients_per_round)"
        )
    if rules.method != OFF and rules.policy == "downweight" and not strategy.weighs:
        raise Invalid(
            f"[server.contribution] policy = 'downweight' would change nothing: the strategy {strategy.name}"
            " gives no update a weight; take 'exclude' or 'report'"
        )
