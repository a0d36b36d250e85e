"""FedAvg.start until the global model is accurate enough; notes when and how accurate each one was."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from fedopsmnist.models import MNISTClassifier, evaluate
from flwr.app import ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stockmnist.exercise import read_data, read_exercise, read_initial

app = ServerApp()


class TargetReached(Exception):
    """Ends ``FedAvg.start``, which knows no other end than its last round."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds, evaluate each model on the test images, and write what was noted as JSON."""
    config = context.run_config
    folder = Path(str(config["folder"]))
    how, test = read_exercise(folder), read_data(folder, "test")
    nodes, model = len(how.seeds), MNISTClassifier()
    moments: list[float] = []
    accuracies: list[float] = []
    examples: list[dict[int, int]] = []

    class Noting(FedAvg):
        def aggregate_train(self, server_round: int, replies: Iterable[Message]):
            replies = list(replies)
            said = [reply.content["metrics"] for reply in replies if not reply.has_error()]
            examples.append({int(m["partition-id"]): int(m["num-examples"]) for m in said})
            return super().aggregate_train(server_round, replies)

    def judge(round_: int, arrays: ArrayRecord) -> MetricRecord | None:
        if round_ == 0:
            return None
        model.load_state_dict(arrays.to_torch_state_dict())
        found = evaluate(model, test, how.batch_size, torch.device("cpu"))
        moments.append(time.time())
        accuracies.append(found["accuracy"])
        if found["accuracy"] >= how.target:
            raise TargetReached
        return MetricRecord(found)

    strategy = Noting(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    initial = ArrayRecord(read_initial(folder))
    with suppress(TargetReached):
        strategy.start(grid, initial, num_rounds=how.rounds, evaluate_fn=judge)
    noted = {"moments": moments, "accuracies": accuracies, "examples": examples}
    Path(str(config["out"])).write_text(json.dumps(noted))
