"""A proposal as a person reads it: what was seen, what was chosen and why, and what to know."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fedops.scalize.discovery.observed.look import shown
from fedops.scalize.discovery.observed.proposal import ScriptProposal
from fedops.scalize.observing.records import Seen, SeenLoader, SeenModel, SeenOptimizer

_MOST_SETTINGS = 6


def lines_of(proposal: ScriptProposal) -> list[str]:
    """One line for each thing."""
    seen = proposal.look.seen
    lines = [f"seen: {shown(proposal.look.command)}: {_run(seen)}"]
    lines += [_model(model) for model in seen.models]
    lines += [_optimizer(optimizer) for optimizer in seen.optimizers]
    lines += [_loader(loader) for loader in seen.loaders if loader.trains or loader.evaluates]
    lines += [choice.line() for choice in proposal.choices]
    if proposal.script:
        lines.append(f"in each round: {shown(proposal.script.command)}")
    lines += [f"note: {note.text}{_place(note.where)}" for note in proposal.notes]
    lines += [f"differs: {difference.line()}" for difference in proposal.differences]
    return [*lines, *(f"problem: {problem}" for problem in proposal.problems)]


def _run(seen: Seen) -> str:
    return ", ".join(_run_parts(seen))


def _run_parts(seen: Seen) -> Iterator[str]:
    yield _count(seen.steps, "step")
    if seen.passes:
        yield _count(seen.passes, "pass", "passes")
    if seen.examples is not None:
        yield _count(seen.examples, "example")
    if len(seen.losses) > 1:
        scaled = " (scaled)" if seen.scaled_losses else ""
        yield f"loss {seen.losses[0]:.4g} to {seen.losses[1]:.4g}{scaled}"
    yield f"{seen.seconds:.1f} s"


def _model(model: SeenModel) -> str:
    values = sum(prod(tensor.shape) for tensor in model.tensors if not tensor.tied_to)
    size = f"{_count(values, 'value')} in {_count(len(model.tensors), 'tensor')}"
    return f"model {model.name}: {model.framework}, {size}{_place(model.where)}"


def _optimizer(optimizer: SeenOptimizer) -> str:
    kind = optimizer.kind.rpartition(".")[2]
    settings = [f"{name} {value}" for name, value in optimizer.settings.items()]
    shown_settings = f" ({', '.join(settings[:_MOST_SETTINGS])})" if settings else ""
    held = f" of {', '.join(optimizer.models)}" if optimizer.models else ""
    schedulers = f", with {', '.join(optimizer.schedulers)}" if optimizer.schedulers else ""
    return f"optimizer{held}: {kind}{shown_settings}{schedulers}{_place(optimizer.where)}"


def _loader(loader: SeenLoader) -> str:
    does = "training" if loader.trains else "validation"
    size = "without a length" if loader.examples is None else _count(loader.examples, "example")
    batches = f" in batches of {loader.batch_size}" if loader.batch_size else ""
    kind = loader.kind.rpartition(".")[2]
    return f"{does} data: {kind}, {size}{batches}{_place(loader.where)}"


def _place(where: str) -> str:
    return f" ({where})" if where else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
