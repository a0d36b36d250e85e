"""Flower's ClientApp: the same training that a FedOps device does, for stock Flower nodes."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedops.app import answer

APP_DIR = Path(__file__).resolve().parents[1]

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    return answer(message, context, APP_DIR)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return answer(message, context, APP_DIR)
