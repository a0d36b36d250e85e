"""A client that sends back what it got."""

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One example, no work."""
    content = RecordDict(
        {"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}
    )
    return Message(content=content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """One example, no work."""
    content = RecordDict({"metrics": MetricRecord({"num-examples": 1, "eval_loss": 0.0})})
    return Message(content=content, reply_to=message)
