"""Two tiny apps of plain Flower, as files, which know nothing of FedOps: one of today, one of before."""

from pathlib import Path

PYPROJECT = """
[project]
name = "plain"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "plain.server_app:app"
clientapp = "plain.client_app:app"
[tool.flwr.app.config]
num-server-rounds = 2
step = 1.0
min-clients = 2
"""
CLIENT = """
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    part, step = context.node_config["partition-id"], context.run_config["step"]
    made = [array + step * (part + 1) for array in message.content["arrays"].to_numpy_ndarrays()]
    metrics = MetricRecord({"num-examples": part + 1})
    return Message(RecordDict({"arrays": ArrayRecord(made), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message, context):
    value = float(message.content["arrays"].to_numpy_ndarrays()[0].sum())
    metrics = MetricRecord({"num-examples": 1, "value": value})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
"""
SERVER = """
import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    strategy = FedAvg(min_train_nodes=2, min_available_nodes=config["min-clients"])
    initial = ArrayRecord([np.zeros(3)])
    result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=config["num-server-rounds"])
    np.save("final.npy", result.arrays.to_numpy_ndarrays()[0])
"""
OLD_CLIENT = """
from flwr.client import ClientApp, NumPyClient


class Adder(NumPyClient):
    def __init__(self, part, step):
        self.part, self.step = part, step

    def fit(self, parameters, config):
        return [array + self.step * (self.part + 1) for array in parameters], self.part + 1, {}

    def evaluate(self, parameters, config):
        return 0.0, 1, {"value": float(parameters[0].sum())}


def client_fn(context):
    return Adder(context.node_config["partition-id"], context.run_config["step"]).to_client()


app = ClientApp(client_fn=client_fn)
"""
OLD_SERVER = """
import numpy as np
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


class Keeping(FedAvg):
    def aggregate_fit(self, server_round, results, failures):
        made = super().aggregate_fit(server_round, results, failures)
        np.save("final.npy", parameters_to_ndarrays(made[0])[0])
        return made


def server_fn(context):
    config = context.run_config
    strategy = Keeping(
        min_available_clients=config["min-clients"],
        initial_parameters=ndarrays_to_parameters([np.zeros(3)]),
    )
    return ServerAppComponents(
        strategy=strategy, config=ServerConfig(num_rounds=config["num-server-rounds"])
    )


app = ServerApp(server_fn=server_fn)
"""


def write_plain_app(folder: Path, *, old: bool = False) -> Path:
    (folder / "plain").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "plain" / "__init__.py").touch()
    (folder / "plain" / "client_app.py").write_text(OLD_CLIENT if old else CLIENT)
    (folder / "plain" / "server_app.py").write_text(OLD_SERVER if old else SERVER)
    return folder
