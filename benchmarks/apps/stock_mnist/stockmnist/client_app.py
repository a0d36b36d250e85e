"""A client that trains the demo's model on its part of the data, with the demo's own train function."""

from pathlib import Path

import torch
from fedopsmnist.models import MNISTClassifier
from fedopsmnist.models import train as train_model
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stockmnist.exercise import read_data, read_exercise

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round's training of the node's part."""
    folder = Path(str(context.run_config["folder"]))
    part = int(context.node_config["partition-id"])
    round_ = int(message.content["config"]["server-round"])
    how, data = read_exercise(folder), read_data(folder, f"part-{part}")
    model = MNISTClassifier()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    device, seed = torch.device("cpu"), how.seeds[part][round_ - 1]
    metrics = train_model(model, data, how.epochs, how.batch_size, how.learning_rate, device, seed)
    said = MetricRecord({"num-examples": len(data), "partition-id": part, **metrics})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": said})
    return Message(content=content, reply_to=message)
