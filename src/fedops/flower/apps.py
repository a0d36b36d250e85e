"""Where Flower's apps come in: the client side, and the bundle that holds both sides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message
from flwr.cli.build import build_fab_from_files
from flwr.cli.utils import collect_files

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.context_memory import ContextMemory
from fedops.flower.device import Device
from fedops.flower.handler import ClientHandler
from fedops.scalize.carry import carried_files
from fedops.scalize.project import Project
from fedops.scalize.secrecy import config_without_secret

logger = logging.getLogger("fedops.engine")


# --- the client side ---------------------------------------------------------------------------


def make_handler(project: Project, device: Device | str) -> Callable[[Message, Context], Message]:
    """What answers a device's messages. Model and data stay loaded between them.

    A ``Device`` is one of ours: its app's model is loaded now, and what is wrong with it is reported. A
    name stands for a plain Flower node.

    Raises:
        Invalid: ``[xai]`` asks for what cannot be done with this model and data.
    """
    if isinstance(device, str):
        return _on_plain_node(project, Device(device))
    handler = ClientHandler(project, device)
    try:
        handler.warm_up()
    except FedOpsError as error:
        logger.warning("%s", error)
        device.report.event("app_problem", error.message)
        return handler
    handler.prepare_explanations()
    return handler


def _on_plain_node(project: Project, device: Device) -> Callable[[Message, Context], Message]:
    handler = ClientHandler(project, device)
    if project.config.xai.enabled:
        logger.info("explanations are made by FedOps devices only: [xai] is not used here")

    def handle(message: Message, context: Context) -> Message:
        device.memory = ContextMemory(context.state)
        return handler(message, context)

    return handle


# --- the bundle --------------------------------------------------------------------------------


def build_bundle(app_dir: Path) -> bytes:
    """The app as one file that Flower can run: its code and config, no data.

    Raises:
        Invalid: it is no app folder, or Flower does not accept it.
    """
    project = Project.open(app_dir)  # says what is wrong with it in our words
    changed = {**carried_files(app_dir), **config_without_secret(project)}
    try:
        files = collect_files(app_dir.expanduser().resolve())
        return bytes(build_fab_from_files({**files, **changed})[0])
    except (ValueError, OSError) as error:
        raise Invalid(f"{app_dir} cannot be bundled as a Flower app: {error}") from None
