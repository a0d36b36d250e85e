"""The one place for what FedOps uses of Flower beyond its public API: checked against each release by a test.

Flower's own constructor of a message works in its own processes only, and its ``Grid`` and strategies name
classes that it does not export.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flwr.app import Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import ServerApp
from flwr.supercore.exit import add_exit_handler
from flwr.supercore.run import Run
from flwr.supercore.run import RunNotRunningException as RunNotRunning
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "APP_RAISED",
    "LOAD_FAILED",
    "NODE_UNAVAILABLE",
    "SERVER_NODE",
    "NodeInfo",
    "Run",
    "RunNotRunning",
    "build_fab",
    "make_message",
    "node_info",
    "on_exit",
    "run_info",
    "take_task_identity",
]

#: Flower's codes for what went wrong: the app raised; it could not be loaded; nobody answered.
APP_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
LOAD_FAILED = int(ErrorCode.LOAD_CLIENT_APP_EXCEPTION)
NODE_UNAVAILABLE = int(ErrorCode.NODE_UNAVAILABLE)

#: The node id that stands for the ServerApp.
SERVER_NODE = 1


def make_message(
    content: RecordDict,
    *,
    run_id: int,
    message_id: str,
    src: int,
    dst: int,
    group_id: str,
    kind: str,
    ttl: float,
) -> Message:
    """A message in any process. ``kind`` is its message type, ``ttl`` is in seconds."""
    metadata = Metadata(
        run_id=run_id,
        message_id=message_id,
        src_node_id=src,
        dst_node_id=dst,
        reply_to_message_id="",
        group_id=group_id,
        created_at=time.time(),
        ttl=ttl,
        message_type=kind,
    )
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload,no-any-return]


def take_task_identity(run_id: int, node_id: int, task_id: int = 0) -> None:
    """Let the apps of this process build messages themselves, as Flower's own processes do."""
    TaskIdentity.run_id, TaskIdentity.node_id = run_id, node_id
    TaskIdentity.task_id = task_id


def run_info(run_id: int) -> Run:
    """What a ``Grid`` says of the run it belongs to."""
    return Run.create_empty(run_id)


def node_info(node_id: int, name: str = "") -> NodeInfo:
    """What a ``Grid`` says of one of its nodes."""
    return NodeInfo(node_id=node_id, name=name)


def on_exit(leave: Callable[[], None]) -> None:
    """Call ``leave`` when Flower ends this process, before it does so by force."""
    add_exit_handler(leave, run_before_force_exit=True)


def build_fab(app_dir: Path, changed: Mapping[str, bytes | Path]) -> bytes:
    """An app's folder as one file that Flower can run. ``changed`` files are added or take the place of
    those of the same path.

    Raises:
        ValueError, OSError: Flower does not accept it.
    """
    from flwr.cli.build import build_fab_from_files  # Flower's command line takes half a second
    from flwr.cli.utils import collect_files

    files = {**collect_files(app_dir.expanduser().resolve()), **changed}
    return bytes(build_fab_from_files(files)[0])


def has_functions(app: ClientApp) -> bool:
    """Whether anything was registered with a ClientApp: some apps have one to be complete, and no more."""
    return app._call is not None or bool(app._registered_funcs)


def has_main(app: ServerApp) -> bool:
    """Whether a ServerApp has a main of its own, and is not of the former kind that plays a strategy."""
    return app._main is not None
