"""``config.toml`` of an app around a watched command: every key with the evidence for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fedops.config.script_table import Script
from fedops.scalize.discovery.choices import Choice
from fedops.scalize.discovery.observed.look import shown
from fedops.scalize.discovery.observed.proposal import ScriptProposal
from fedops.scalize.discovery.templates import _inline

_HEAD = """\
# How this project is trained federatedly: in each round a device runs the project's own command, with the
# global model put in. Written by `fedops init` from one run of
#   {command}
# Change what is wrong, then run `fedops check`. All keys: docs/reference/config.md of FedOps.
num_rounds = 3
task_id = "task_id"  # stands for the only ready task of the server
"""
_TAIL = """\
# Devices of one run must agree on the name.
[dataset]
name = {name}

[server.strategy]
_target_ = "flwr.serverapp.strategy.FedAvg"
"""
_PATHS = "# Where they are on this machine. A device's owner writes their own: [script.paths] in device.toml."


def config_text(proposal: ScriptProposal, dataset: str) -> str:
    """The file's text. ``dataset`` is the name that devices agree on."""
    script = proposal.script
    assert script is not None
    parts = [
        _HEAD.format(command=shown(proposal.look.command)),
        "\n".join(["[script]", *_script(script, {c.key: c for c in proposal.choices}, proposal)]),
    ]
    if script.paths:
        rows = [f"{name} = {_inline(path)}" for name, path in script.paths.items()]
        parts.append("\n".join([_PATHS, "[script.paths]", *rows]))
    parts.append(_TAIL.format(name=_inline(dataset)))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _script(
    script: Script, choices: Mapping[str, Choice], proposal: ScriptProposal
) -> Iterator[str]:
    words = ", ".join(_inline(word) for word in script.command)
    yield from _commented("command", f"[{words}]", _about_command(proposal))
    length = "passes" if script.passes or not script.steps else "steps"
    yield from _value(script, length, choices.get("epochs") or choices.get("steps"))
    if script.models or len(proposal.look.seen.models) > 1:
        yield from _value(script, "models", choices.get("models"))
    yield from _value(script, "result", choices.get("result"))
    if "schedule" in choices:
        yield from _value(script, "schedule", choices["schedule"])
    yield from _value(script, "seed", choices.get("seed"))
    yield f"put_in = {script.put_in}"
    if script.evaluation_mode:
        yield "evaluation_mode = true"
    yield f"max_seconds = {_inline(script.max_seconds)}"


def _about_command(proposal: ScriptProposal) -> str:
    parts = [f"{model.name} ({model.where})" for model in proposal.models if model.where]
    return f"It trains {', '.join(parts)}." if parts else ""


def _value(script: Script, key: str, choice: Choice | None) -> Iterator[str]:
    return _commented(key, _inline(getattr(script, key)), _reason(choice) if choice else "")


def _commented(key: str, value: Any, why: str) -> Iterator[str]:
    yield from (f"# {row}" for row in why.splitlines())
    yield f"{key} = {value}"


def _reason(choice: Choice) -> str:
    place = f" ({choice.where})" if choice.where else ""
    text = f"{choice.why}{place}"
    return text[:1].upper() + text[1:] + "."
