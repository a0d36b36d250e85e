"""The deprecated gRPC path of Flower, for comparison: ``legacy.py server|client PORT ROUNDS``."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
import warnings

import flwr as fl
from stockbench.model import initial

NODES = 2


class Idle(fl.client.NumPyClient):
    """Sends back what it got."""

    def fit(self, parameters, config):
        return parameters, 1, {}

    def evaluate(self, parameters, config):
        return 0.0, 1, {}


class Ticking(fl.server.strategy.FedAvg):
    """FedAvg that notes when each round begins."""

    ticks: list[float]

    def configure_fit(self, *args, **kwargs):
        self.ticks.append(time.monotonic())
        return super().configure_fit(*args, **kwargs)


def server(address: str, rounds: int) -> None:
    """Print the seconds of each round as a JSON list."""
    strategy = Ticking(
        min_fit_clients=NODES,
        min_evaluate_clients=NODES,
        min_available_clients=NODES,
        initial_parameters=fl.common.ndarrays_to_parameters(initial()),
    )
    strategy.ticks = []
    config = fl.server.ServerConfig(num_rounds=rounds)
    fl.server.start_server(server_address=address, config=config, strategy=strategy)
    strategy.ticks.append(time.monotonic())
    ticks = strategy.ticks
    sys.stdout.write(json.dumps([b - a for a, b in itertools.pairwise(ticks)]) + "\n")


def main() -> None:
    """One of the two sides."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    side, port, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    address = f"127.0.0.1:{port}"
    if side == "server":
        server(address, rounds)
    else:
        fl.client.start_client(server_address=address, client=Idle().to_client())


if __name__ == "__main__":
    main()
