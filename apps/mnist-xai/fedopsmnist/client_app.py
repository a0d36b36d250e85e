"""Flower's ClientApp: the same training that a FedOps device does, for stock Flower nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

APP_DIR = Path(__file__).resolve().parents[1]

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    return _handler(f"node-{context.node_id}")(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return _handler(f"node-{context.node_id}")(message, context)


@cache
def _handler(device: str) -> Callable[[Message, Context], Message]:
    """Model and data stay loaded for as long as the process lives."""
    from fedops.flower.apps import make_handler
    from fedops.flower.device import Device
    from fedops.scalize.project import Project

    return make_handler(Project.open(APP_DIR), Device(device))
