"""Flower's ClientApp: the same training that a FedOps device does, for stock Flower nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedops.flower.apps import make_handler
from fedops.scalize.project import Project

APP_DIR = Path(__file__).resolve().parents[1]

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    return _handler(_name(context), _part(context))(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return _handler(_name(context), _part(context))(message, context)


@lru_cache(maxsize=8)
def _handler(name: str, part: tuple[str, ...]) -> Callable[[Message, Context], Message]:
    """Model and data stay loaded in this process, of the nodes that it served last."""
    return make_handler(Project.open(APP_DIR, part), name)


def _name(context: Context) -> str:
    """What the node is called. With a part of the data its name, and so its seed, is always the same."""
    return f"client-{context.node_config.get('partition-id', context.node_id)}"


def _part(context: Context) -> tuple[str, ...]:
    """Which part of the data this node takes, where Flower says so (in a simulation)."""
    node = context.node_config
    if "partition-id" not in node or "num-partitions" not in node:
        return ()
    return (
        f"dataset.partition.of={node['num-partitions']}",
        f"dataset.partition.index={node['partition-id']}",
    )
