"""FedAvg.start over clients that do no work; notes when each round begins and when the last one ends."""

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
    """Run the rounds and write the moments (``time.time()``) as a JSON list."""
    ticks: list[float] = []

    class Ticking(FedAvg):
        def configure_train(self, *args, **kwargs):
            ticks.append(time.time())
            return super().configure_train(*args, **kwargs)

    config = context.run_config
    nodes, rounds = int(config["nodes"]), int(config["rounds"])
    strategy = Ticking(
        fraction_evaluate=float(config["evaluate"]),
        min_train_nodes=nodes,
        min_evaluate_nodes=nodes if config["evaluate"] else 0,
        min_available_nodes=nodes,
    )
    arrays = ArrayRecord(initial(str(config["size"])))
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=rounds)
    ticks.append(time.time())
    Path(str(config["out"])).write_text(json.dumps(ticks))
