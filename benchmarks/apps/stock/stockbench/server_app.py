"""FedAvg.start over clients that do no work; notes when each round begins and ends."""

import itertools
import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stockbench.model import initial

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and write the seconds of each."""
    ticks: list[float] = []

    class Ticking(FedAvg):
        def configure_train(self, *args, **kwargs):
            ticks.append(time.monotonic())
            return super().configure_train(*args, **kwargs)

    nodes, rounds = int(context.run_config["nodes"]), int(context.run_config["rounds"])
    strategy = Ticking(min_train_nodes=nodes, min_evaluate_nodes=nodes, min_available_nodes=nodes)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(initial()), num_rounds=rounds)
    ticks.append(time.monotonic())
    seconds = [after - before for before, after in itertools.pairwise(ticks)]
    Path(str(context.run_config["out"])).write_text(json.dumps(seconds))
