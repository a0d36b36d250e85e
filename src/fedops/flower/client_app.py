"""A device's work as Flower's ClientApp does it: from an instruction with its files to a result in a file.

The app's own ClientApp is called with the message that the instruction stands for, so message types with
actions, queries, mods and ``context.state`` are what they are on Flower's own runtime. A FedOps app hands
the message on to ``answer``, which finds the warm model and data of this process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from fedops.core.contracts import Instruction, ParameterContract
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
    EVAL_METRICS,
    HEADER,
    METRICS,
    TrainingOrder,
    message_type_of,
)
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.states import ProcessStatus
from fedops.flower.codec.compat import (
    APP_RAISED,
    LOAD_FAILED,
    SERVER_NODE,
    has_functions,
    make_message,
    take_task_identity,
)
from fedops.flower.codec.context_state import ContextMemory, RunStates
from fedops.flower.codec.messages import PACKED, in_pieces, packed_pieces, packed_record
from fedops.flower.codec.records import from_array, from_record_dict, to_array, to_record_dict
from fedops.flower.components import load_client_app
from fedops.flower.failure_reason import in_one_line, short, why_failed
from fedops.flower.flower_table import FlowerTable
from fedops.flower.run_config import taken_out
from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.flow.installed_app import app_folder
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.storage.payloads import (
    Payload,
    RawArray,
    assemble,
    blobs_of,
    check_document,
    write_payload,
)
from fedops.storage.tensors import Tensors, load, pack, unpack
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import ClientProject, LocalTrainer, LocalUpdate
from fedops.trainer.readiness import data_places

logger = logging.getLogger("fedops.training")

Handler = Callable[[Message, Context], Message]
#: What the device's owner makes of the config of an order.
Adjust = Callable[[dict[str, Any]], dict[str, Any]]


# --- messages of FedOps' own rounds ------------------------------------------------------------


class ClientHandler:
    """Answers the messages of FedOps' own rounds, one at a time, with a model that stays loaded.

    Understands both forms of them: tensors as arrays (on a device), and packed in few objects (on
    Flower's own nodes, whose cost is per object).
    """

    def __init__(self, project: ClientProject, device: Device) -> None:
        self.trainer = LocalTrainer(project, device)

    def warm_up(self) -> None:
        """Load the model of the app as it is configured here."""
        self.trainer.warm_up()

    def __call__(self, message: Message, context: Context) -> Message:
        """The reply. What goes wrong in training is raised."""
        order = TrainingOrder.from_values(dict(message.content.config_records.get(CONFIG, {})))
        update = self.trainer(order, _tensors_of(message.content), message.metadata.message_type)
        return _reply(message, update)


def _tensors_of(content: RecordDict) -> Tensors:
    if PACKED in content.array_records:
        return unpack(b"".join(packed_pieces(content)))
    found: Tensors = {}
    for name, array in content.array_records.get(ARRAYS, ArrayRecord()).items():
        value = from_array(array, name)
        if isinstance(value, RawArray):
            raise Invalid(f"tensor '{name}' of the message is of a kind that no model here has")
        found[name] = value
    return found


def _reply(message: Message, update: LocalUpdate) -> Message:
    content = RecordDict({HEADER: ConfigRecord(update.header.values())})
    if update.tensors is not None and PACKED in message.content.array_records:
        content[PACKED] = packed_record(in_pieces(pack(update.tensors)))
    elif update.tensors is not None:
        arrays = {name: to_array(tensor) for name, tensor in update.tensors.items()}
        content[ARRAYS] = ArrayRecord(arrays)
    for name, measured in ((METRICS, update.trained), (EVAL_METRICS, update.evaluated)):
        if measured is not None:
            content[name] = MetricRecord(dict(measured.values()))
    return Message(content, reply_to=message)


# --- who answers a FedOps app's messages in this process ---------------------------------------

_here: list[Handler] = []


def answer_by(handler: Handler) -> None:
    """From now on ``answer`` gives every message of this process to this handler."""
    _here[:] = [handler]


def answer(message: Message, context: Context, app_dir: Path) -> Message:
    """Train or evaluate as a FedOps device does: on one, or on a node of stock Flower."""
    if _here:
        return _here[-1](message, context)
    return _on_plain_node(app_dir, node_name(context), node_part(context))(message, context)


@lru_cache(maxsize=8)
def _on_plain_node(app_dir: Path, name: str, part: tuple[str, ...]) -> Handler:
    """Model and data stay loaded in this process, of the nodes that it served last."""
    return make_handler(Project.open(app_folder(app_dir), part), name)


def make_handler(project: ClientProject, name: str) -> Handler:
    """What answers the messages of a plain Flower node."""
    device = Device(name)
    handler = ClientHandler(project, device)
    if project.config.xai.enabled:
        logger.info("explanations are made by FedOps devices only: [xai] is not used here")

    def handle(message: Message, context: Context) -> Message:
        device.memory = ContextMemory(context.state)
        return handler(message, context)

    return handle


def node_name(context: Context) -> str:
    """What the node is called. With a part of the data its name, and so its seed, is always the same."""
    return f"client-{context.node_config.get('partition-id', context.node_id)}"


def node_part(context: Context) -> tuple[str, ...]:
    """Which part of the data this node takes, where Flower says so (in a simulation)."""
    node = context.node_config
    if "partition-id" not in node or "num-partitions" not in node:
        return ()
    return (
        f"dataset.partition.of={node['num-partitions']}",
        f"dataset.partition.index={node['partition-id']}",
    )


# --- a device's work ---------------------------------------------------------------------------


@dataclass(frozen=True)
class WorkResult:
    """How a piece of work ended. ``done``: the result is in its file."""

    outcome: Literal["done", "refused", "failed", "cancelled"]
    reason: str = ""
    #: Flower's error code, for ``failed``.
    code: int = 0
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Trial:
    """Why a round could not be done here ("": it could), and for which model it was tried."""

    reason: str = ""
    contract: ParameterContract | None = None


class DeviceApp:
    """An app's ClientApp on a device. ``states``: where what it keeps of runs lies; ``node_config``: what the
    device's owner gives to apps of plain Flower.
    """

    def __init__(
        self,
        project: Project,
        device: Device,
        *,
        states: Path | None = None,
        adjust: Adjust | None = None,
        node_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._project = project
        self._given = dict(node_config or {})
        self._device = device
        self._states = RunStates(states) if states else None
        self._adjust = adjust
        self._table = FlowerTable.of(project.app_dir)
        self._handler = ClientHandler(project, device)
        self._app: Handler | None = None
        answer_by(self._handler)

    def warm_up(self) -> None:
        """Load the app and its model, so that the first work finds them."""
        try:
            if not self._plays_alone:
                self._handler.warm_up()
            self._app = self._loaded()
        except FedOpsError as error:  # a run's config may say more, and its try is reported
            logger.warning("%s", error)
            self._device.report.event("app_problem", error.message)

    def load(self) -> bool:
        """Import the app's ClientApp. Returns whether FedOps itself calls its model and data steps."""
        self._app = self._loaded()
        return self._app is self._handler or self._project.is_whole

    def try_out(self, config: Mapping[str, Any] | None) -> Trial:
        """Whether a round under this config could be done here. None: as it is configured here."""
        try:
            return self._tried(config)
        except FedOpsError as error:
            return Trial(short(error.message))
        except (Exception, SystemExit) as error:
            traceback.print_exception(error)
            return Trial(in_one_line(error))

    def _tried(self, config: Mapping[str, Any] | None) -> Trial:
        if self._app is None:
            self._app = self._loaded()
        if self._app is not self._handler and not self._project.is_whole:
            return Trial()  # it loads its model and data by itself
        if config is not None and self._adjust is not None:
            config = self._adjust(dict(config))
        found = self._handler.trainer.try_out(config)
        return Trial(contract=found)

    @property
    def _plays_alone(self) -> bool:
        """An app of plain Flower loads its model and data by itself."""
        return self._project.manifest.own_server_app and not self._project.is_whole

    def forget_data(self) -> None:
        """Load the data anew when it is needed next."""
        self._handler.trainer.forget_data()

    def places(self, config: Mapping[str, Any] | None) -> list[Path]:
        """Where the data lies under this config, as far as that can be told."""
        try:
            project = self._project if config is None else self._project.with_config(config)
        except FedOpsError:
            project = self._project
        return data_places(project.config)

    def handle(self, instruction: Instruction, files: Mapping[str, Path], out: Path) -> WorkResult:
        """Do what an instruction says. ``files``: of the blobs it names, by sha256. Raises nothing."""
        self._device.work_key = instruction.work_key or instruction.id
        try:
            return self._handled(instruction, files, out)
        except Cancelled:
            return WorkResult("cancelled")
        except (Exception, SystemExit) as error:
            if self._device.cancelled.is_set():
                return WorkResult("cancelled")
            return self._failed(instruction, error)

    def _handled(
        self, instruction: Instruction, files: Mapping[str, Path], out: Path
    ) -> WorkResult:
        if self._app is None:
            self._app = self._loaded()
        payload, run_config = taken_out(_payload(instruction, files), self._table.config)
        payload = self._owned(payload)
        run_id, node_id = instruction.run_id or 0, node_id_of(self._device.name)
        message = _message(instruction, payload, node_id)
        take_task_identity(run_id, node_id)
        state = self._states.before(run_id, self._device.work_key) if self._states else RecordDict()
        context = Context(run_id, node_id, self._node_config(), state, run_config)
        self._say_working(instruction)
        reply = self._app(message, context)
        if self._device.cancelled.is_set():
            return WorkResult("cancelled")
        return self._written(reply, context, out)

    def _written(self, reply: Message, context: Context, out: Path) -> WorkResult:
        if reply.has_error():
            return WorkResult("failed", short(reply.error.reason or ""), reply.error.code)
        payload = from_record_dict(reply.content)
        if refused := str(payload.configs.get(HEADER, {}).get("refused", "")):
            return WorkResult("refused", short(refused))
        if self._states is not None:  # before the result: who has that never does the work again
            self._states.keep(context.run_id, self._device.work_key, context.state)
        written = write_payload(payload, out, durable=False)  # the Client Manager sees to that
        return WorkResult("done", sha256=written.sha256, size=written.size)

    def _loaded(self) -> Handler:
        if not self._table.clientapp:
            return self._handler
        make_importable(self._project.manifest)
        found = load_client_app(self._table.clientapp, self._project.manifest.folders)
        return found if has_functions(found) else self._handler

    def _owned(self, payload: Payload) -> Payload:
        """The payload, with the config of an order within what the device's owner allows."""
        config = payload.configs.get(CONFIG, {})
        if self._adjust is None or "config-json" not in config:
            return payload
        wanted = json.dumps(self._adjust(json.loads(str(config["config-json"]))))
        changed = {**payload.configs, CONFIG: {**config, "config-json": wanted}}
        return Payload(payload.arrays, payload.metrics, changed)

    def _node_config(self) -> dict[str, Any]:
        partition = self._project.config.dataset.partition
        named: dict[str, Any] = {"device": self._device.name, **self._given}
        if partition is not None and partition.index is not None and partition.of is not None:
            named |= {"partition-id": partition.index, "num-partitions": partition.of}
        return named

    def _say_working(self, instruction: Instruction) -> None:
        evaluates = instruction.kind.partition(".")[0] == "evaluate"
        status = ProcessStatus.EVALUATING if evaluates else ProcessStatus.TRAINING
        run_id, round_ = instruction.run_id or 0, instruction.round or 0
        self._device.report.working(status, instruction.task, run_id, round_)

    def _failed(self, instruction: Instruction, error: BaseException) -> WorkResult:
        if not isinstance(error, FedOpsError):
            traceback.print_exception(error)
        reason = str(error) if isinstance(error, FedOpsError) else why_failed(error)
        labels = {"run_id": instruction.run_id, "round": instruction.round}
        self._device.report.event("training_failed", reason, **labels)
        code = LOAD_FAILED if self._app is None else APP_RAISED
        return WorkResult("failed", reason, code)


def node_id_of(device: str) -> int:
    """The Flower node id of a device: always the same for a name, and below 2**63."""
    digest = hashlib.sha256(device.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1 or 1


def _payload(instruction: Instruction, files: Mapping[str, Path]) -> Payload:
    document = check_document(instruction.content)
    others = {ref.sha256: load(files[ref.sha256]) for ref in blobs_of(document).values()}
    return assemble(document, {}, others)


def _message(instruction: Instruction, payload: Payload, node_id: int) -> Message:
    return make_message(
        to_record_dict(payload),
        run_id=instruction.run_id or 0,
        message_id=instruction.id,
        src=SERVER_NODE,
        dst=node_id,
        group_id=instruction.group_id,
        kind=message_type_of(instruction.kind),
        ttl=max(instruction.seconds_left, 1.0),
    )
